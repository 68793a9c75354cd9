"""The whole way, with the real LiteLLM: calls that end, calls in flight, and what may be on disk."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.semconv import litellm as names
from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import Program, received, run, until

_CANARY = "the-prompt-that-must-not-be-on-disk"

_PREAMBLE = f"""
import asyncio, faulthandler, os, signal, sys, threading
faulthandler.dump_traceback_later(140, exit=True)
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import otel_llm_bridge
otel_llm_bridge.instrument()
import litellm
def call(model="openai/gpt-4o-mini", **more):
    return litellm.completion(model=model, messages=[{{"role": "user", "content": "{_CANARY}"}}],
                              api_base=os.environ["PROVIDER"] + "/v1", api_key="sk-canary-key", max_retries=0, **more)
async def acall(**more):
    return await litellm.acompletion(model="openai/gpt-4o-mini", messages=[{{"role": "user", "content": "{_CANARY}"}}],
                                     api_base=os.environ["PROVIDER"] + "/v1", api_key="sk-canary-key", max_retries=0, **more)
"""


#: LiteLLM's import alone takes half a minute on a machine that is busy.
_IMPORT = 150.0


def _environ(provider: FakeProvider, folder: Path) -> dict[str, str]:
    return {"PROVIDER": provider.url, "OTEL_LLM_BRIDGE_SPOOL_DIR": str(folder / "spool")}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGTERM)\nthreading.Event().wait(10)"], ids=["exit", "SIGTERM"])
def test_calls_arrive_when_the_program_ends(end: str, tmp_path: Path, receiver: Receiver, provider: FakeProvider) -> None:
    """Sync and async calls made just before the end are at the receiver, without a spool."""
    body = f"call()\nasyncio.run(acall())\n{end}\n"
    environ = {**_environ(provider, tmp_path), "OTEL_LLM_BRIDGE_SPOOL_DIR": ""}
    ended = run(body, tmp_path, receiver, preamble=_PREAMBLE, environ=environ, timeout=_IMPORT)
    assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"] * 2, ended.errors


@pytest.mark.slow
def test_a_killed_program_leaves_its_calls_and_none_of_their_content(tmp_path: Path, receiver: Receiver, provider: FakeProvider) -> None:
    """After SIGKILL the next start delivers the finished call and the interrupted one; prompt and key were never on disk."""
    receiver.fault = Fault.refuse(503)
    body = """
    call()
    print("first", flush=True)
    def hang():
        os.environ["PROVIDER"] = os.environ["SILENT"]
        call()
    threading.Thread(target=hang, daemon=True).start()
    threading.Event().wait()
    """
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {**_environ(provider, tmp_path), "SILENT": "http://127.0.0.1:%d" % silent.getsockname()[1]}
        with Program(body, tmp_path, receiver, preamble=_PREAMBLE, environ=environ) as program:
            program.wait_for("first", _IMPORT)
            silent.settimeout(60)
            accepted, _ = silent.accept()
            ended = program.send(signal.SIGKILL).wait()
            accepted.close()
    assert ended.status == -signal.SIGKILL
    on_disk = b"".join(file.read_bytes() for file in (tmp_path / "spool" / "traces").iterdir())
    assert b"gpt-4o-mini" in on_disk
    assert _CANARY.encode() not in on_disk and b"sk-canary-key" not in on_disk
    receiver.fault = Fault.none
    run("", tmp_path, receiver, environ=environ)
    until(lambda: len(received(receiver)) == 2, 20, "two spans")
    assert {span.attributes.get(names.SPAN_OUTCOME) for span in receiver.store.spans()} >= {names.OUTCOME_INTERRUPTED}
    (cut,) = [span for span in receiver.store.spans() if span.attributes.get(names.SPAN_OUTCOME) == names.OUTCOME_INTERRUPTED]
    assert (cut.name, cut.status_code, cut.attributes["gen_ai.request.model"]) == ("chat gpt-4o-mini", "ERROR", "gpt-4o-mini")

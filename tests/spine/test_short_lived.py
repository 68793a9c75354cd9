"""Short-lived programs: what LiteLLM issue 8842 loses arrives at a real OTLP receiver."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer.receiver import Receiver

_SET_UP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""

#: when the provider is made -> the program's head
_HEADS = {
    "before the import": f"{_SET_UP}\nimport otel_llm_bridge; otel_llm_bridge.instrument()\nimport litellm",
    "after the import": f"import otel_llm_bridge; otel_llm_bridge.instrument()\nimport litellm\n{_SET_UP}",
    "before, instrumented last": f"{_SET_UP}\nimport litellm\nimport otel_llm_bridge; otel_llm_bridge.instrument()",
    "never: our own pipeline": "import litellm, otel_llm_bridge; otel_llm_bridge.instrument()",
}

_CALLBACK = """
import asyncio, os, sys
from litellm.integrations.custom_logger import CustomLogger

class Mine(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        await asyncio.sleep(0)
        with open(os.environ["CALLBACKS"], "a") as file:
            file.write(kwargs["litellm_call_id"] + "\\n")

litellm.callbacks = [Mine()]
asked = dict(model="group", messages=[{"role": "user", "content": "x"}])
router = litellm.Router(model_list=[{
    "model_name": "group",
    "litellm_params": {"model": "openai/gpt-4o-mini", "api_base": os.environ["PROVIDER"], "api_key": "sk-test"},
}])
"""


def run(program: str, receiver: Receiver, provider: FakeProvider, tmp_path: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run ``program`` in a child that exports to ``receiver``."""
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PROVIDER": f"{provider.url}/v1",
        "CALLBACKS": str(tmp_path / "callbacks"),
    }
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def callbacks(tmp_path: Path) -> list[str]:
    """The calls for which the user's own callback has run."""
    file = tmp_path / "callbacks"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("loops", [1, 3, 50])
@pytest.mark.parametrize("head", _HEADS)
def test_issue_8842(head: str, loops: int, provider: FakeProvider, tmp_path: Path) -> None:
    """N loops of one Router call, and exit straight after: N logical and N inference spans, N user callbacks."""
    program = f"{_HEADS[head]}\n{_CALLBACK}\nfor _ in range({loops}): asyncio.run(router.acompletion(**asked))"
    with Receiver() as receiver:
        done = run(program, receiver, provider, tmp_path)
        assert done.returncode == 0, done.stderr
        spans = receiver.store.spans()
    assert len([span for span in spans if span.name == "litellm.router group"]) == loops
    assert len([span for span in spans if span.name == "chat gpt-4o-mini"]) == loops
    assert len(callbacks(tmp_path)) == len(set(callbacks(tmp_path))) == loops


@pytest.mark.parametrize("head", ["after the import", "never: our own pipeline"])
def test_200_concurrent_calls(head: str, provider: FakeProvider, tmp_path: Path) -> None:
    """200 concurrent calls and exit: 200 of 200, each once."""
    program = f"""{_HEADS[head]}
{_CALLBACK}
async def main():
    sdk = dict(asked, model="openai/gpt-4o-mini", api_base=os.environ["PROVIDER"], api_key="sk-test")
    await asyncio.gather(*(litellm.acompletion(**sdk) for _ in range(200)))
asyncio.run(main())
"""
    with Receiver() as receiver:
        done = run(program, receiver, provider, tmp_path)
        assert done.returncode == 0, done.stderr
        spans = receiver.store.spans()
    assert len(spans) == len({span.span_id for span in spans}) == 200


_ENDS = {
    "sys.exit in the coroutine": "async def main():\n    await call()\n    sys.exit(3)\nasyncio.run(main())",
    "an exception that nobody catches": "async def main():\n    await call()\n    raise RuntimeError\nasyncio.run(main())",
    "SIGTERM to itself": "import signal\nasync def main():\n    await call()\n    os.kill(os.getpid(), signal.SIGTERM)\n    await asyncio.sleep(60)\nasyncio.run(main())",
    "SIGINT to itself": "import signal\nasync def main():\n    await call()\n    os.kill(os.getpid(), signal.SIGINT)\n    await asyncio.sleep(60)\nasyncio.run(main())",
    "a stream still held": "stream = litellm.completion(**sdk, stream=True)\nnext(stream)",
    # Its request is out: a process that ends while LiteLLM still imports in a thread may hang in Python's import lock, also without us.
    "a call in flight in a thread": "import threading\nfrom otel_llm_bridge.demo.provider import FakeProvider\nown = FakeProvider().start()\nslow = dict(sdk, model='openai/slow-60000ms', api_base=own.api_base)\nthreading.Thread(target=lambda: litellm.completion(**slow), daemon=True).start()\nassert own.wait_until(lambda own: own.requests, 60)",
    "a child of multiprocessing": "import multiprocessing\nchild = multiprocessing.get_context('fork').Process(target=lambda: litellm.completion(**sdk)); child.start(); child.join()",
    "a forked child": "pid = os.fork()\nif not pid:\n    litellm.completion(**sdk)\n    sys.exit(0)\nos.waitpid(pid, 0)",
}  # fmt: skip
_CODES = {"sys.exit in the coroutine": 3, "an exception that nobody catches": 1, "SIGTERM to itself": -15, "SIGINT to itself": -2}


@pytest.mark.parametrize("end", _ENDS)
def test_however_the_program_ends(end: str, provider: FakeProvider, tmp_path: Path) -> None:
    """The span arrives, once, and the program ends with the exit status that it has without us."""
    program = f"""{_HEADS["never: our own pipeline"]}
{_CALLBACK}
sdk = dict(asked, model="openai/gpt-4o-mini", api_base=os.environ["PROVIDER"], api_key="sk-test", max_retries=0)
def call(): return litellm.acompletion(**sdk)
{_ENDS[end]}
"""
    with Receiver() as receiver:
        done = run(program, receiver, provider, tmp_path)
        spans = receiver.store.spans()
    assert done.returncode == _CODES.get(end, 0), done.stderr
    (span,) = spans
    assert span.name.startswith("chat ")
    marks = {"a stream still held": "litellm.stream.outcome", "a call in flight in a thread": "litellm.outcome"}
    if end in marks:
        assert span.attributes[marks[end]] == "process_exit"
    if end == "a stream still held":
        assert span.attributes["litellm.stream.chunks"] == 1 and span.attributes["gen_ai.usage.input_tokens"] > 0


@pytest.mark.skipif(version("litellm").startswith("1.80."), reason="LiteLLM 1.80 delivers the one call of this program itself")
def test_the_control_sees_the_loss(provider: FakeProvider, tmp_path: Path) -> None:
    """Without the bridge, LiteLLM's own ``otel`` callback delivers nothing in the same program: the tests can see loss."""
    program = f"import litellm\n{_SET_UP}\n{_CALLBACK}\nlitellm.callbacks = ['otel']\nasyncio.run(router.acompletion(**asked))"
    with Receiver() as receiver:
        run(program, receiver, provider, tmp_path)
        assert [span for span in receiver.store.spans() if "litellm_request" in span.name] == []

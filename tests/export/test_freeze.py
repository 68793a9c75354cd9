"""`flush_after`, for platforms that freeze a process once its handler has returned: nothing is left to do by then."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer.receiver import Receiver

from .support import Program, until

_PROGRAM = """
import asyncio, os, signal, sys, threading
import otel_llm_bridge
otel_llm_bridge.instrument()
import litellm
from litellm.integrations.custom_logger import CustomLogger
from otel_llm_bridge import callbacks

def ran(what):
    os.write(1, f"{what}\\n".encode())  # a line at once: the callbacks run in several threads

async def slow(event):
    await asyncio.sleep(0.2)
    ran(event.point)

class Own(CustomLogger):
    async def async_log_success_event(self, *args, **told):
        await asyncio.sleep(0.2)
        ran("litellm")

goes_on = threading.Event()
def held(event):
    goes_on.wait(60)

ASKED = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "api_base": os.environ["PROVIDER"], "api_key": "k"}

async def answer():
    return (await litellm.acompletion(**ASKED)).choices[0].message.role

@otel_llm_bridge.flush_after(timeout=float(os.environ["TIMEOUT"]))
def plain():
    return litellm.completion(**ASKED).choices[0].message.role

@otel_llm_bridge.flush_after(timeout=float(os.environ["TIMEOUT"]))
def with_a_loop():
    return asyncio.run(answer())

@otel_llm_bridge.flush_after(timeout=float(os.environ["TIMEOUT"]))
async def awaited():
    return await answer()

kept = asyncio.new_event_loop()

@otel_llm_bridge.flush_after(timeout=float(os.environ["TIMEOUT"]))
def with_a_kept_loop():
    return kept.run_until_complete(answer())
"""

#: The handler, and how the platform calls it.
HANDLERS = {
    "plain": "plain()",
    "with a loop of its own": "with_a_loop()",
    "async": "kept.run_until_complete(awaited())",
    "with a loop that is kept": "with_a_kept_loop()",
}
_FREEZE = "os.kill(os.getpid(), signal.SIGSTOP)\n"


@pytest.fixture
def frozen_after(tmp_path: Path, receiver: Receiver, provider: FakeProvider) -> Any:
    """Start a program, and wait until it is stopped."""

    def start(body: str, timeout: float) -> Program:
        environ = {
            "PROVIDER": provider.api_base,
            "TIMEOUT": str(timeout),
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        return Program(body, tmp_path, receiver, preamble=_PROGRAM, environ=environ)

    return start


def wait_until_frozen(program: Program) -> None:
    """Returns in the moment in which the program is stopped."""

    def stopped() -> bool:
        found = os.waitid(os.P_PID, program.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG)
        assert found is None or found.si_code == os.CLD_STOPPED, program.errors()
        return found is not None

    until(stopped, 150, "the freeze")


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
def test_all_is_done_before_the_freeze(handler: str, frozen_after: Any, receiver: Receiver) -> None:
    """Stopped right after its handler, the process has run the callbacks, ours and LiteLLM's, and its span has arrived."""
    body = f"""
for mode in ("background", "tracked"):
    callbacks.register(slow, mode=mode, key=mode)
litellm.callbacks = [Own()]
assert {handler} == "assistant"
{_FREEZE}"""
    with frozen_after(body, 60) as program:
        wait_until_frozen(program)
        assert sorted(program.output().split()) == ["litellm", "success", "success"], program.errors()
        assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]


def test_nothing_is_given_up(frozen_after: Any, receiver: Receiver) -> None:
    """A callback that takes longer leaves the flush its part of the time, and is completed when the process goes on."""
    body = f"""
callbacks.register(held, mode="background")
assert plain() == "assistant"
{_FREEZE}
goes_on.set()
assert callbacks.drain(60).complete
import json
print(json.dumps(callbacks.stats()), flush=True)
"""
    with frozen_after(body, 8) as program:
        wait_until_frozen(program)
        assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]
        program.send(signal.SIGCONT)
        ended = program.wait(60)
    assert (ended.status, "otel_llm_bridge" in ended.errors) == (0, False), ended.errors
    stats = json.loads(ended.output)
    assert (stats["accepted"], stats["completed"], stats["dropped"]) == (1, 1, {})

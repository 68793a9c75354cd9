"""A fault of ours at the end of an event loop stays there: the loop ends as it would without us, with its result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from otel_llm_bridge import callbacks, guard
from otel_llm_bridge.callbacks import loops
from otel_llm_bridge.callbacks.dispatch import Dispatcher
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import rescue_batches
from otel_llm_bridge.litellm.rescue import NAME, Own

from ..conftest import MESSAGES, eventually
from .switch import clean, switched_on

#: What runs when a loop ends, or is seen for the first time.
STEPS: list[Callable[..., Any]] = [
    Dispatcher.known_host,
    loops.install, loops.watch, loops.hide, loops.drain_before_end, loops._drain, loops._due, loops._guarded,
    Own.watch, Own.pending, Own.drain, Own._unfinished, Own._bound_to, Own._queued,
    rescue_batches._held,
]  # fmt: skip


def _fails(*_args: Any, **_kwargs: Any) -> None:
    raise ValueError("on purpose")


async def _afails(*_args: Any, **_kwargs: Any) -> None:
    raise ValueError("on purpose")


class Slow(CustomLogger):
    """A logger of the user's with which the end of the loop has something to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    async def async_log_success_event(self, *_args: Any, **_told: Any) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        self.seen += 1


@pytest.fixture
def own(the_dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """The bridge is on as users have it: its faults are reported."""
    monkeypatch.setattr(guard, "_seen", set())
    logger = Slow()
    clean()
    litellm.callbacks = [logger]
    with switched_on(strict=False):
        yield logger
    clean()


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The places of which a fault was reported."""
    return [record.args[0] for record in caplog.records if record.levelno == logging.WARNING and "internal fault" in record.msg]  # type: ignore[index, misc]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__qualname__)
def test_the_result_is_kept(
    step: Callable[..., Any], own: Slow, provider: FakeProvider, openai_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """Whichever step fails, ``asyncio.run`` returns what the program has computed, and the fault is reported once."""

    async def main() -> str:
        response = await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
        return str(response.choices[0].message.content)

    expected = asyncio.run(main())
    assert own.seen == 1
    assert faults(caplog) == []
    with monkeypatch.context() as patched:
        # In place: some of them are held by those who call them.
        patched.setattr(step, "__code__", (_afails if asyncio.iscoroutinefunction(step) else _fails).__code__)
        assert asyncio.run(main()) == expected
    assert len(faults(caplog)) == 1


def test_others_are_drained(
    own: Slow, openai_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """LiteLLM's worker may have a queue of another make one day: its drain fails, and ours is not kept from its work."""

    class Queue:
        """Put, get and size as documented, and nothing of asyncio's inside."""

        def __init__(self, queue: Any) -> None:
            self._of_asyncio = queue

        def __getattr__(self, name: str) -> Any:
            if name == "_queue":
                raise AttributeError(name)
            return getattr(self._of_asyncio, name)

    done: list[int] = []
    over: list[int] = []

    async def ours(event: Any) -> None:
        while not over:
            await asyncio.sleep(0)
        done.append(1)

    callbacks.register(ours, mode="tracked")

    async def main() -> str:
        response = await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
        await eventually(lambda: GLOBAL_LOGGING_WORKER._bound_loop is asyncio.get_running_loop())
        monkeypatch.setattr(GLOBAL_LOGGING_WORKER, "_queue", Queue(GLOBAL_LOGGING_WORKER._queue))
        over.append(1)
        return str(response.choices[0].message.content)

    assert asyncio.run(main())
    assert done == [1]
    assert faults(caplog) == [f"end of an event loop: {NAME}"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_passes(kind: type[BaseException], own: Slow, openai_kwargs: dict[str, Any]) -> None:
    """Ctrl-C during the drain ends the program; the loop is closed all the same."""
    ended: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        ended.append(asyncio.get_running_loop())
        await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)

    def pressed(_loop: asyncio.AbstractEventLoop) -> bool:
        raise kind

    async def nothing(_loop: asyncio.AbstractEventLoop, _seconds: float) -> None: ...

    loops.at_loop_end("a test", pressed, nothing)
    try:
        with pytest.raises(kind):
            asyncio.run(main())
    finally:
        loops.forget("a test")
    assert ended[0].is_closed()

"""Random sequences of calls, streams and cancellations: order, exactly once, and the sum of the figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_llm_bridge import callbacks
from otel_llm_bridge.callbacks.dispatch import Dispatcher

from .conftest import told

MODES = st.sampled_from(["inline", "tracked", "background"])
KINDS = st.sampled_from(["sync", "async"])
#: What one call does: how many chunks it has, how it ends, and whether its end is told again.
CALLS = st.tuples(st.integers(0, 3), st.sampled_from(["success", "failure", "cancel", "left"]), st.booleans(), st.booleans())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(registrations=st.lists(st.tuples(MODES, KINDS, st.booleans()), min_size=1, max_size=4), calls=st.lists(CALLS, max_size=6))
def test_sequences(make_dispatcher: Callable[..., Dispatcher], registrations: list[Any], calls: list[Any]) -> None:
    """Each callback sees each call's points in their order, each once, whatever others do and wherever it fails."""
    dispatcher = make_dispatcher()
    seen: list[list[Any]] = [[] for _ in registrations]
    expected: dict[int, list[Any]] = {}

    def make(index: int, kind: str, fails: bool) -> Any:
        def note(event: Any) -> None:
            seen[index].append((event.kwargs["n"], event.point, event.kwargs.get("chunk")))
            if fails:
                raise ValueError

        async def note_async(event: Any) -> None:
            await asyncio.sleep(0)
            note(event)

        return note if kind == "sync" else note_async

    for index, (mode, kind, fails) in enumerate(registrations):
        callbacks.register(make(index, kind, fails), on=["pre_call", "stream_chunk", "both"], mode=mode)

    async def one(number: int, chunks: int, end: str, again: bool, is_async: bool) -> None:
        call = callbacks.begin(is_async=is_async)
        point = "failure" if end in ("failure", "cancel") else "success"
        expected[number] = [("pre_call", None), *(("stream_chunk", chunk) for chunk in range(chunks)), (point, None)]
        call.emit("pre_call", told(n=number))
        for chunk in range(chunks):
            call.emit("stream_chunk", told(n=number, chunk=chunk))
            if is_async:
                await asyncio.sleep(0)
        call.emit(point, told(n=number), waited=end != "left")
        if again:
            call.emit("success", told(n=number))
        if is_async and end == "cancel":
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        await call.asettle()

    async def main() -> None:
        await asyncio.gather(*(one(n, *call) for n, call in enumerate(calls)), return_exceptions=True)

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())
    assert callbacks.drain(20).complete
    for notes in seen:
        for number, points in expected.items():
            assert [(point, chunk) for n, point, chunk in notes if n == number] == points
    stats = dispatcher.stats()
    assert stats["accepted"] == len(registrations) * sum(map(len, expected.values()))
    assert stats["accepted"] == stats["completed"] + stats["failed"]


@pytest.mark.parametrize("seed", range(3))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), bound=st.integers(1, 6))
def test_the_sum_holds(make_dispatcher: Callable[..., Dispatcher], seed: int, sizes: list[int], bound: int) -> None:
    """With full queues and time-outs, too, what was accepted is the sum of what has become of it."""
    dispatcher = make_dispatcher(callbacks_queue_size=bound)

    async def hook(event: Any) -> None:
        await asyncio.sleep(0.001 if event.kwargs["n"] % 2 else 30)

    callbacks.register(hook, mode="tracked", timeout=0.01)

    async def main() -> None:
        for size in sizes:
            for number in range(size):
                callbacks.begin(is_async=True).emit("success", told(n=number + seed))
            await asyncio.sleep(0)

    asyncio.run(main())
    stats = dispatcher.stats()
    assert stats["accepted"] == sum(sizes)
    assert stats["accepted"] == stats["completed"] + stats["timed_out"] + stats["pending"] + sum(stats["dropped"].values())
    assert stats["pending"] == 0

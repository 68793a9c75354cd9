"""Tracked callbacks are completed before their loop closes, whoever closes it and however."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import uvloop

from otel_llm_bridge import callbacks
from otel_llm_bridge.callbacks import loops
from otel_llm_bridge.callbacks.dispatch import Dispatcher

from .conftest import told

Main = Callable[[], Coroutine[Any, Any, None]]


def _by_hand(main: Main) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def _by_hand_with_cancellation(main: Main) -> None:
    """What many programs do themselves at the end."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _runner(main: Main) -> None:
    with asyncio.Runner() as runner:
        runner.run(main())
        runner.run(asyncio.sleep(0))


def _uvloop_runner(main: Main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _uvloop_by_hand(main: Main) -> None:
    loop = uvloop.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def _thread(main: Main) -> None:
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(30)


def _left_open(main: Main) -> None:
    """A notebook, or a program that never closes its loop: the end of the process drains it."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    assert callbacks.drain(10).complete
    loop.close()


ENDS: dict[str, Callable[[Main], None]] = {
    "asyncio.run": lambda main: asyncio.run(main()),
    "asyncio.run, debug": lambda main: asyncio.run(main(), debug=True),
    "asyncio.Runner": _runner,
    "uvloop.run": lambda main: uvloop.run(main()),
    "asyncio.Runner with uvloop": _uvloop_runner,
    "anyio.run": lambda main: anyio.run(main),
    "anyio.run with uvloop": lambda main: anyio.run(main, backend_options={"use_uvloop": True}),
    "loop.close": _by_hand,
    "uvloop, loop.close": _uvloop_by_hand,
    "a thread": _thread,
    "left open": _left_open,
}

if not hasattr(asyncio, "Runner"):  # before Python 3.11
    del ENDS["asyncio.Runner"], ENDS["asyncio.Runner with uvloop"]

HOW = {
    "return": None,
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "an error": RuntimeError("on purpose"),
    "CancelledError": asyncio.CancelledError(),
}


class Hooks:
    """A hook with work of its own under it, as real ones have."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.done = 0

    async def hook(self, event: Any) -> None:
        # Sub-tasks are listed by asyncio.all_tasks(): cancelled first, unless the drain comes before.
        await asyncio.gather(asyncio.sleep(self.delay), asyncio.to_thread(time.sleep, self.delay / 2))
        self.done += 1


@pytest.mark.parametrize("delay", [0, 0.2])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_ends(dispatcher: Dispatcher, end: Callable[[Main], None], delay: float) -> None:
    """Whichever way a loop is run and ended, all hooks that had been started have run."""
    hooks = Hooks(delay)
    callbacks.register(hooks.hook, mode="tracked")

    async def main() -> None:
        for _ in range(3):
            callbacks.begin(is_async=True).emit("success", told())

    end(main)
    assert hooks.done == 3


@pytest.mark.parametrize("tasks_below", [False, True])
def test_program_cancels_all(dispatcher: Dispatcher, tasks_below: bool) -> None:
    """A program that cancels all tasks itself does not reach our hooks; it does reach tasks that a hook has started.

    Such a hook is counted as cancelled.
    """
    done = []

    async def hook(event: Any) -> None:
        await (asyncio.gather(asyncio.sleep(0.05)) if tasks_below else asyncio.sleep(0.05))
        done.append(1)

    callbacks.register(hook, mode="tracked")

    async def main() -> None:
        callbacks.begin(is_async=True).emit("success", told())
        await asyncio.sleep(0)

    _by_hand_with_cancellation(main)
    stats = callbacks.stats()
    assert stats["accepted"] == 1
    assert (len(done), stats["dropped"]) == ((0, {"cancelled": 1}) if tasks_below else (1, {}))


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
def test_how(dispatcher: Dispatcher, how: BaseException | None) -> None:
    """However the main coroutine ends, all hooks have run, and the caller sees the same end."""
    hooks = Hooks(0.1)
    callbacks.register(hooks.hook, mode="tracked")

    async def main() -> None:
        callbacks.begin(is_async=True).emit("success", told())
        if how is not None:
            raise how

    with contextlib.ExitStack() as stack:
        if how is not None:
            stack.enter_context(pytest.raises(type(how)))
        asyncio.run(main())
    assert hooks.done == 1


def test_control() -> None:
    """Without us the same hook as a referenced task is lost: the test above can see loss."""
    done, tasks = [], []

    async def hook() -> None:
        await asyncio.sleep(0.1)
        done.append(1)

    async def main() -> None:
        tasks.append(asyncio.ensure_future(hook()))

    asyncio.run(main())
    assert (len(tasks), done) == (1, [])


def test_emitted_during_cancellation(dispatcher: Dispatcher) -> None:
    """A call that the closing loop itself cancels still tells its callback."""
    hooks = Hooks(0.1)
    callbacks.register(hooks.hook, on="failure", mode="tracked")
    keep = []

    async def work() -> None:
        call = callbacks.begin(is_async=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            call.emit("failure", told())
            raise

    async def main() -> None:
        keep.append(asyncio.ensure_future(work()))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert hooks.done == 1


@pytest.mark.parametrize("end", ["asyncio.run", "uvloop.run", "loop.close"])
def test_hung(make_dispatcher: Any, end: str) -> None:
    """A hook that hangs costs the loop's end the budget and no more; it is counted, what waits behind it still runs."""
    make_dispatcher(exit_timeout=0.5)
    done = []

    async def hook(event: Any) -> None:
        if event.kwargs["n"] == 1:
            await asyncio.Event().wait()
        done.append(event.kwargs["n"])

    callbacks.register(hook, on=["pre_call", "success"], mode="tracked")

    async def main() -> None:
        call = callbacks.begin(is_async=True)
        call.emit("pre_call", told(n=1))
        call.emit("success", told(n=2))

    begun = time.monotonic()
    ENDS[end](main)
    assert time.monotonic() - begun < 5
    assert callbacks.drain(10).complete
    assert done == [2]
    assert callbacks.stats()["dropped"] == {"loop_closed": 1}


@pytest.mark.parametrize("runs", [1, 4])
@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine function"])
def test_one_that_always_hangs(make_dispatcher: Any, is_async: bool, runs: int, caplog: pytest.LogCaptureFixture) -> None:
    """A loop that had to cut a callback off is one failure of it: after so many loops in a row none waits for it any more."""
    make_dispatcher(callbacks_unplug_after=3, exit_timeout=0.05)
    begun: list[int] = []
    over = threading.Event()

    def hang(event: Any) -> None:
        begun.append(event.kwargs["loop"])
        over.wait(30)

    async def ahang(event: Any) -> None:
        begun.append(event.kwargs["loop"])
        await asyncio.get_running_loop().create_future()

    callbacks.register(ahang if is_async else hang, mode="tracked")

    async def main(number: int) -> None:
        for _ in range(runs):
            callbacks.begin(is_async=True).emit("success", told(loop=number))

    for number in range(6):
        asyncio.run(main(number))
    over.set()
    assert begun == [number for number in range(3) for _ in range(runs)]
    stats = callbacks.stats()
    assert (stats["dropped"], [*stats["unplugged"].values()]) == ({"loop_closed": 3 * runs}, ["loop_closed"])
    assert "is unplugged: it has failed 3 times in a row (loop_closed)" in caplog.text


def test_one_that_hangs_now_and_then(make_dispatcher: Any) -> None:
    """A run that comes to its end in between starts the count again."""
    make_dispatcher(callbacks_unplug_after=2, exit_timeout=0.05)

    async def hook(event: Any) -> None:
        if event.kwargs["hangs"]:
            await asyncio.get_running_loop().create_future()

    callbacks.register(hook, mode="tracked")

    async def main(hangs: bool) -> None:
        callbacks.begin(is_async=True).emit("success", told(hangs=hangs))

    for hangs in (True, False, True, False, True):
        asyncio.run(main(hangs))
    stats = callbacks.stats()
    assert (stats["completed"], stats["dropped"], stats["unplugged"]) == (2, {"loop_closed": 3}, {})


def test_many_loops(dispatcher: Dispatcher) -> None:
    """Background hooks outlive any number of loops; tracked ones never leak into the next."""
    background, tracked = Hooks(0.05), Hooks(0.01)
    callbacks.register(background.hook, mode="background")
    callbacks.register(tracked.hook, mode="tracked")

    async def main() -> None:
        callbacks.begin(is_async=True).emit("success", told())

    for number in range(20):
        asyncio.run(main())
        assert tracked.done == number + 1
    assert callbacks.drain(10).complete
    assert background.done == 20


def test_nothing_pending(dispatcher: Dispatcher) -> None:
    """A loop without callbacks ends as it does without us: not one more iteration."""
    loop = asyncio.new_event_loop()
    loops.drain_before_end(loop)
    loop.close()


def test_hidden(dispatcher: Dispatcher) -> None:
    """Our tasks are not among ``asyncio.all_tasks()``, and are not collected while nobody else refers to them."""
    import gc

    hooks = Hooks(0.05)
    callbacks.register(hooks.hook, mode="tracked")

    async def main() -> None:
        callbacks.begin(is_async=True).emit("success", told())
        await asyncio.sleep(0)
        own = {task for task in asyncio.all_tasks() if "_execute" in repr(task)}
        assert not own
        gc.collect()

    asyncio.run(main())
    assert hooks.done == 1


def test_uninstall() -> None:
    """The standard library's function is as it was after uninstalling."""
    loops.uninstall()
    code = asyncio.runners._cancel_all_tasks.__code__  # type: ignore[attr-defined]
    loops.install()
    assert asyncio.runners._cancel_all_tasks.__code__ is not code  # type: ignore[attr-defined]
    loops.uninstall()
    assert asyncio.runners._cancel_all_tasks.__code__ is code  # type: ignore[attr-defined]
    loops.install()

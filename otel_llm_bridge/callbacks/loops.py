"""The end of an event loop, whoever ends it: finish what is pending *before* its tasks are cancelled.

A strong reference does not save a task from ``asyncio.run``: it cancels every task that it knows of as soon
as the main coroutine is over. Four nets, each for those who get past the one before:

1. ``asyncio.runners._cancel_all_tasks`` is what ``asyncio.run``, ``asyncio.Runner``, and with them uvloop, anyio,
   uvicorn and pytest-asyncio, call first at the end. It is wrapped: drain, then cancel. uvloop and anyio have one of their
   own for Pythons without ``asyncio.Runner``.
2. Our tasks are not listed by ``asyncio.all_tasks()`` (`hide`), so that nobody else's "cancel everything"
   reaches them.
3. ``loop.shutdown_asyncgens()`` and 4. ``loop.close()`` are wrapped on the loop object itself, whatever its
   class: they drain as well.

A loop on which nothing is pending ends as it would without us; so does one at whose end a fault of ours comes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..guard import guarded, logger
from ..patching import Target, Undo, apply

#: ``await drain(loop, seconds)`` finishes what is pending on ``loop``, within about so many seconds.
Drain = Callable[[asyncio.AbstractEventLoop, float], Awaitable[None]]
#: Whether there is anything to drain on that loop.
Pending = Callable[[asyncio.AbstractEventLoop], bool]

_CANCEL_ALL: Final = tuple(Target(module, "_cancel_all_tasks") for module in ("asyncio.runners", "uvloop", "anyio._backends._asyncio"))
#: What a fault of ours is reported for.
_WHERE: Final = "end of an event loop"

_drains: dict[str, tuple[Pending, Drain]] = {}
_watched: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
#: Those of `_CANCEL_ALL` whose module has been seen -> the way back, if they are there.
_undos: dict[Target, Undo | None] = {}
#: Seconds that the end of one loop may take; that of the setting ``exit_timeout``.
budget: float = 5.0


def at_loop_end(name: str, pending: Pending, drain: Drain) -> None:
    """Drain at the end of every loop, in the order of registration; the same name replaces the earlier one."""
    _drains[name] = (pending, drain)


def forget(name: str) -> None:
    """The opposite of `at_loop_end`."""
    _drains.pop(name, None)


def install() -> None:
    """Take part in the end of every loop. Nothing is imported: who runs a loop is loaded before it runs."""
    for target in _CANCEL_ALL:
        if target in _undos or target.module not in sys.modules:
            continue
        try:
            _undos[target] = apply(target, lambda _original: _before_cancelling)
        except (ImportError, AttributeError):
            _undos[target] = None
            logger.debug("%s is not there; the other nets hold", target)


def uninstall() -> None:
    """Take no part any longer in the end of loops that are not watched yet."""
    for undo in _undos.values():
        if undo is not None:
            undo()
    _undos.clear()


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Wrap the end of this very loop. Calling it again changes nothing."""
    install()
    if loop in _watched:
        return
    _watched.add(loop)
    # The loop refers to itself through these, which the garbage collector sees through.
    shutdown_asyncgens, close = loop.shutdown_asyncgens, loop.close

    async def drain_and_shutdown_asyncgens() -> None:
        with guarded(_WHERE):
            await _drain(loop)
        await shutdown_asyncgens()

    def drain_and_close() -> None:
        if loop.is_closed() or loop.is_running():
            close()
        else:
            _first(functools.partial(drain_before_end, loop), close)

    with contextlib.suppress(AttributeError):  # a loop class without a __dict__ has the other nets
        loop.shutdown_asyncgens = drain_and_shutdown_asyncgens  # type: ignore[method-assign]
        loop.close = drain_and_close  # type: ignore[method-assign]


def hide(task: asyncio.Task[Any]) -> None:
    """Take ``task`` off the list that ``asyncio.all_tasks()`` gives.

    ``_unregister_task`` is documented, for those who write their own task classes.
    """
    asyncio._unregister_task(task)


def drain_before_end(loop: asyncio.AbstractEventLoop) -> None:
    """Run ``loop``, which is not running, until nothing is pending on it, for at most `budget` seconds."""
    if not _due(loop):
        return
    task = loop.create_task(_drain(loop))
    try:
        hide(task)
    finally:
        loop.run_until_complete(task)


def _due(loop: asyncio.AbstractEventLoop) -> list[tuple[str, Drain]]:
    """The drains that have something to do. One that cannot say so is left out, and keeps no other one from its work."""
    due = []
    for name, (pending, drain) in list(_drains.items()):
        with guarded(f"{_WHERE}: {name}"):
            if pending(loop):
                due.append((name, drain))
    return due


async def _drain(loop: asyncio.AbstractEventLoop) -> None:
    end = time.monotonic() + budget
    # What is drained first may make work for the others.
    for _round in range(2):
        left = max(0.0, end - time.monotonic())
        await asyncio.gather(*[_guarded(name, drain, loop, left) for name, drain in _due(loop)])


async def _guarded(name: str, drain: Drain, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    with guarded(f"{_WHERE}: {name}"):
        await drain(loop, seconds)


def _first(ours: Callable[[], None], theirs: Callable[[], Any]) -> Any:
    """``theirs()``, which ends a loop, after ``ours()``: the boundary at which a fault of ours stops."""
    try:
        with guarded(_WHERE):
            ours()
    finally:
        # Also when Ctrl-C is pressed once more: then the loop ends at once.
        return_value = theirs()
    return return_value


def _before_cancelling(wrapped: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _first(functools.partial(drain_before_end, *args, **kwargs), functools.partial(wrapped, *args, **kwargs))

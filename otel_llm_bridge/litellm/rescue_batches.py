"""LiteLLM's loggers that collect events, and send them every few seconds: what they hold at the end is sent.

They send from a task on the event loop that they were made on, which dies with the loop. So each is made to send
before its loop ends, or, where that has ended long ago, before the one that ends now, or at the end of the process.
Never on any other loop: their client belongs to theirs, and what cannot be sent they throw away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from typing import Any, Final

from ..callbacks import loops, process_end
from ..export import lifetime
from ..guard import logger
from ..patching import Target, Undo
from .integrations import collected
from .rescue import call_after, own

_NAME: Final = "LiteLLM's batches"
#: What they call when they are made, to start that task.
_PERIODIC: Final = Target("litellm.integrations.custom_batch_logger", "CustomBatchLogger.periodic_flush")

#: Logger -> the loop that it was made on; ``None`` where there was none.
_homes: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.AbstractEventLoop] | None] = weakref.WeakKeyDictionary()


def install() -> list[Undo]:
    """Have those send that are made from now on. LiteLLM is loaded."""
    undo = call_after(_PERIODIC, _made)
    if undo is None:
        return []
    loops.at_loop_end(_NAME, lambda loop: bool(_held(loop)), _before_end)
    process_end.feeders[_NAME] = _at_the_end
    lifetime.after_fork_in_child(_after_fork_in_child)
    return [_uninstall, undo]


def _uninstall() -> None:
    loops.forget(_NAME)
    process_end.feeders.pop(_NAME, None)


def _made(_result: Any, instance: Any, *_call: Any) -> None:
    loop = asyncio._get_running_loop()
    _homes[instance] = None if loop is None else weakref.ref(loop)
    if loop is not None:
        loops.watch(loop)


def _held(ending: asyncio.AbstractEventLoop | None = None) -> list[Any]:
    """Loggers that hold events and are to send them on ``ending``, or, for ``None``, that nobody will make send."""
    found = []
    for one, its in list(_homes.items()):
        home = its() if its is not None else None
        gone = home is None or home.is_closed() or (ending is None and not home.is_running())
        if (gone or home is ending) and collected(one):
            found.append(one)
    return found


async def _before_end(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    end = time.monotonic() + seconds
    for one in _held(loop):
        held = len(one.log_queue)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(one.flush_queue(), max(0.0, end - time.monotonic()))
            continue
        logger.warning("%s: %s had no time to send %d events", _NAME, type(one).__name__, held)


def _after_fork_in_child() -> None:
    """What they hold is the parent's to send, and somebody may have held the lock."""
    for one in list(_homes):
        if isinstance(getattr(one, "log_queue", None), list):
            one.log_queue.clear()
        if getattr(one, "flush_lock", None) is not None:
            one.flush_lock = asyncio.Lock()


def _at_the_end() -> None:
    for one in _held():
        own().run(one.flush_queue())

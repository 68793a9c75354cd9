"""One run of a callback, and the lane in which runs follow each other in order."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..locks import rlock
from .points import Binding, Event
from .registry import Registration

if TYPE_CHECKING:
    from .hosts import Host

#: Told once for each run: the run, what became of it, its error.
Finished = Callable[["Run", str, "BaseException | None"], None]

#: What can become of a run. All but the first three are reasons for dropping.
COMPLETED, FAILED, TIMED_OUT = "completed", "failed", "timed_out"
LOOP_CLOSED, OUT_OF_TIME, CANCELLED, QUEUE_FULL, NO_THREAD, NO_LOOP, OWNER_GONE = (
    "loop_closed", "out_of_time", "cancelled", "queue_full", "no_thread", "no_loop", "owner_gone"
)  # fmt: skip

#: One lock for all lanes: it is held for a few instructions, and a lane may move from one host to another.
#: Re-entrant, because a finaliser may get here in the middle of them.
lock: Final = rlock()


def nowhere(error: Exception) -> str:
    """The reason for dropping what has no place to run, after ``error`` of the loop of ours."""
    return NO_LOOP if isinstance(error, OSError) else NO_THREAD


class Run:
    """One callback at one event."""

    __slots__ = ("binding", "context", "event", "finished", "late", "registration", "timeout")

    def __init__(self, registration: Registration, binding: Binding, event: Event, timeout: float) -> None:
        self.registration = registration
        self.binding = binding
        self.event = event
        self.timeout = timeout
        # Whatever the caller has in its context variables, the callback sees too.
        self.context = contextvars.copy_context()
        #: Why it is being cancelled, once it is.
        self.late = ""
        self.finished = False


class Lane:
    """Runs that must happen in order. It lives on a host, and moves to another one if that host's loop closes."""

    __slots__ = ("_waiting", "current", "host", "queue", "task")

    def __init__(self, host: Host) -> None:
        self.host = host
        self.queue: deque[Run] = deque()
        self.current: Run | None = None
        self.task: asyncio.Task[Any] | None = None
        self._waiting: list[Callable[[], None]] = []

    def append(self, run: Run) -> None:
        """Run it after all that were appended before."""
        with lock:
            self.queue.append(run)
            start = self not in self.host.lanes
            self.host.take(self)
        if start:
            self.host.call(self.next)

    @property
    def idle(self) -> bool:
        """Whether nothing is running or waiting."""
        return self not in self.host.lanes

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call ``then``, in any thread, once nothing is running or waiting; at once if that is so now."""
        with lock:
            if not self.idle:
                self._waiting.append(then)
                return
        then()

    def next(self) -> None:
        """Start the next run, if there is one. Called on the loop of the host."""
        with lock:
            self.task = None
            self.current = run = self.queue.popleft() if self.queue else None
        if run is not None:
            self.host.start(run, self)
        else:
            self.host.rest(self)

    def take_waiting(self) -> list[Callable[[], None]]:
        """Those who wait for this lane, to be called without the lock."""
        waiting, self._waiting = self._waiting, []
        return waiting

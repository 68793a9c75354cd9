"""Waiting for what is pending: on demand, at the end of a loop, and at the end of the process."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..export import lifetime
from ..guard import guarded, logger
from .dispatch import Dispatcher
from .hosts import Host, wait_for
from .lanes import OUT_OF_TIME


@dataclasses.dataclass(frozen=True)
class DrainReport:
    """What a drain has seen.

    Attributes:
        complete: nothing is pending any more.
        completed, failed, timed_out: runs that came to that end during the drain.
        dropped: runs that were dropped during the drain, by reason.
        pending: runs that are still going on or waiting, by callback.
        elapsed: seconds that the drain took.
    """

    complete: bool
    completed: int
    failed: int
    timed_out: int
    dropped: Mapping[str, int]
    pending: Mapping[str, int]
    elapsed: float


class _Begun:
    """A drain that has begun."""

    def __init__(self, dispatcher: Dispatcher, timeout: float | None) -> None:
        self._dispatcher = dispatcher
        self._at = time.monotonic()
        self._timeout = dispatcher.settings.exit_timeout if timeout is None else timeout
        self._before = dispatcher.totals()

    def rounds(self) -> Iterator[None]:
        """One to wait for what is pending, and one for what is sent thereupon."""
        yield
        if self._dispatcher.senders and not self._dispatcher.busy:
            for name, sender in list(self._dispatcher.senders.items()):
                with guarded(f"drain: {name}"):
                    sender()
            yield

    def left(self) -> float:
        return self._timeout - (time.monotonic() - self._at)

    def report(self) -> DrainReport:
        now, before = self._dispatcher.totals(), self._before
        dropped = {reason: count - before.dropped.get(reason, 0) for reason, count in now.dropped.items()}
        pending = self._dispatcher.pending()
        return DrainReport(
            complete=not pending,
            completed=now.completed - before.completed,
            failed=now.failed - before.failed,
            timed_out=now.timed_out - before.timed_out,
            dropped={reason: count for reason, count in dropped.items() if count},
            pending=pending,
            elapsed=time.monotonic() - self._at,
        )


def drain(dispatcher: Dispatcher, timeout: float | None = None) -> DrainReport:
    """Wait until no run is pending, on any loop but that of the calling thread, which cannot go on meanwhile."""
    begun = _Begun(dispatcher, timeout)
    here = asyncio._get_running_loop()
    for _round in begun.rounds():
        while (hosts := [host for host in list(dispatcher.busy) if host.loop is not here]) and (left := begun.left()) > 0:
            _drain_one(dispatcher, hosts[0], left)
    return begun.report()


async def adrain(dispatcher: Dispatcher, timeout: float | None = None) -> DrainReport:
    """Wait until no run is pending, on any loop."""
    begun = _Begun(dispatcher, timeout)
    for _round in begun.rounds():
        while (hosts := list(dispatcher.busy)) and (left := begun.left()) > 0:
            host = hosts[0]
            if host.loop.is_running():
                await host.drain(left)
            else:
                await _in_a_thread(lambda host=host, left=left: _drain_one(dispatcher, host, left), left, dispatcher)
    return begun.report()


async def drain_loop(dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """At the end of ``loop``: what does not come to its end in time is cancelled and counted.

    What has not begun by then goes on in the background.
    """
    host = dispatcher.known_host(loop)
    if host is not None and not await host.drain(seconds):
        for registration in host.close(dispatcher.background):
            dispatcher.overstayed(registration)


class ProcessEnd:
    """The end of the process, for callbacks. It comes in two parts, out of the one budget of `lifetime`.

    The first one is before Python stops its thread pools: a callback that uses ``asyncio.to_thread`` fails
    afterwards. Threads of the program may still make calls then, so the second one, at the very end, looks again.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        #: Called first: they hand over what nobody else will run.
        self.feeders: dict[str, Callable[[], None]] = {}

    def early(self, deadline: lifetime.Deadline) -> None:
        """Wait for what is pending now."""
        self._feed()
        if self._dispatcher.busy or self._dispatcher.senders:
            drain(self._dispatcher, deadline.remaining())

    def _feed(self) -> None:
        for name, feeder in list(self.feeders.items()):
            with guarded(f"end of the process: {name}"):
                feeder()

    def late(self, seconds: float) -> None:
        """Wait once more; what does not come to its end in time is counted, and said."""
        self._feed()
        self.last(seconds)

    def last(self, seconds: float) -> None:
        """The same for what has come since, such as the calls that the end of the process has ended."""
        dispatcher = self._dispatcher
        pending = drain(dispatcher, seconds).pending
        if pending:
            for host in list(dispatcher.busy):
                host.give_up(OUT_OF_TIME)
            logger.warning(
                "the process ends before these callbacks have run (%s): %s",
                OUT_OF_TIME,
                ", ".join(f"{name} ({count})" for name, count in pending.items()),
            )


def _drain_one(dispatcher: Dispatcher, host: Host, seconds: float) -> None:
    if host.loop.is_closed():
        host.close(dispatcher.background)
    elif host.loop.is_running():
        idle = threading.Event()
        host.when_idle(idle.set)
        idle.wait(seconds)
    else:
        # A loop that nobody runs: between two `run_until_complete`, or left for good.
        waiting = host.drain(seconds)
        try:
            host.loop.run_until_complete(waiting)
        except RuntimeError:  # somebody has begun to run it in this moment
            waiting.close()


async def _in_a_thread(function: Any, seconds: float, dispatcher: Dispatcher) -> None:
    def start(then: Any) -> None:
        dispatcher.workers.submit(lambda: (function(), then()))

    await wait_for(start, seconds)

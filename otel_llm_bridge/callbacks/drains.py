"""Waiting for what is pending: on demand, at the end of a loop, and at the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping

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
            # A thread runs one loop at a time.
            if here is not None or not _run(hosts[0], left):
                idle = threading.Event()
                _when_idle(dispatcher, hosts[0], left, idle.set)
                idle.wait(left)
    return begun.report()


async def adrain(dispatcher: Dispatcher, timeout: float | None = None) -> DrainReport:
    """Wait until no run is pending, on any loop."""
    begun = _Begun(dispatcher, timeout)
    for _round in begun.rounds():
        while (hosts := list(dispatcher.busy)) and (left := begun.left()) > 0:
            await wait_for(functools.partial(_when_idle, dispatcher, hosts[0], left), left)
    return begun.report()


def _run(host: Host, seconds: float) -> bool:
    """Run the loop of ``host``, if nobody does, until nothing is pending there: between two of its runs, or left for good.

    Returns:
        Whether it could be run.
    """
    if host.loop.is_closed() or host.loop.is_running():
        return False
    waiting = host.drain(seconds)
    try:
        host.loop.run_until_complete(waiting)
    except RuntimeError:  # somebody has begun to run it, or closed it, in this moment
        waiting.close()
        return False
    return True


def _when_idle(dispatcher: Dispatcher, host: Host, seconds: float, then: Callable[[], None]) -> None:
    """Call ``then`` once nothing is pending on ``host``. A loop that nobody runs is run meanwhile, in a thread of its own."""

    def run() -> None:
        if _run(host, seconds):
            then()
        else:
            host.when_idle(then)

    if host.loop.is_closed():
        host.close(dispatcher.background)
        then()
        return
    if not host.loop.is_running():
        with contextlib.suppress(Exception):  # no thread can be started: its owner may go on with it
            threading.Thread(target=run, name="otel-llm-bridge-drain", daemon=True).start()
            return
    host.when_idle(then)


async def drain_loop(dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """At the end of ``loop``: what does not come to its end in time is cancelled and counted.

    What has not begun by then goes on in the background.
    """
    host = dispatcher.known_host(loop)
    if host is not None and not await host.drain(seconds):
        for registration in host.close(dispatcher.background):
            dispatcher.overstayed(registration)


class ProcessEnd:
    """The end of the process, for callbacks. It comes in parts, out of the one budget of `lifetime`.

    The first one is before Python stops its thread pools: a callback that uses ``asyncio.to_thread`` fails
    afterwards. Threads of the program may still make calls then, so there is one at the very end, and one more for
    the calls that the end of the process has ended.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        #: They hand over what nobody else will run, in this order: what callbacks of one leave behind is the next one's.
        self.feeders: dict[str, Callable[[], None]] = {}

    def early(self, deadline: lifetime.Deadline) -> None:
        """Wait for what is pending now, and for what comes of it."""
        for name, feeder in list(self.feeders.items()):
            with guarded(f"end of the process: {name}"):
                feeder()
            # Half of the time: callbacks that hang leave the rest to what is handed over next.
            drain(self._dispatcher, deadline.remaining() / 2)
        drain(self._dispatcher, deadline.remaining())

    def late(self, deadline: lifetime.Deadline) -> None:
        """Wait once more; what does not come to its end in time is counted, and said."""
        self.early(deadline)
        dispatcher = self._dispatcher
        if pending := dispatcher.pending():
            for host in list(dispatcher.busy):
                host.give_up(OUT_OF_TIME)
            logger.warning(
                "the process ends before these callbacks have run (%s): %s",
                OUT_OF_TIME,
                ", ".join(f"{name} ({count})" for name, count in pending.items()),
            )

"""An event loop as a place to run callbacks: with a limit of time, all accounted for, held strongly until done."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any

from ..guard import guarded
from . import loops
from .lanes import CANCELLED, COMPLETED, FAILED, LOOP_CLOSED, TIMED_OUT, Finished, Lane, Run, lock, nowhere
from .registry import Registration
from .workers import Workers


class Host:
    """An event loop as a place to run callbacks. Holds them strongly until they are done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: Workers, finished: Finished, busy: set[Host]) -> None:
        """A place that runs nothing yet.

        Args:
            loop: the event loop.
            workers: where plain functions run.
            finished: told once for each run.
            busy: the host is in there while something is pending: held strongly, whatever becomes of its loop.
        """
        self.loop = loop
        self.workers = workers
        #: The lanes in which something runs or waits.
        self.lanes: set[Lane] = set()
        self._busy = busy
        self._finished = finished
        self._watchers: list[Callable[[], None]] = []

    def take(self, lane: Lane) -> None:
        """Something runs or waits in ``lane``. Called with the lock."""
        self.lanes.add(lane)
        self._busy.add(self)

    def call(self, function: Callable[[], None]) -> None:
        """Call ``function`` on the loop: now if this is its thread.

        Raises:
            Exception: the loop is closed; which one, its make decides.
        """
        if asyncio._get_running_loop() is self.loop:
            function()
        else:
            self.loop.call_soon_threadsafe(function)

    def start(self, run: Run, lane: Lane) -> None:
        """Run ``run`` as a task, then the next one of its lane. Called on the loop."""
        lane.task = task = self._task(run)
        limit = self.loop.call_later(run.timeout, _cancel, task, run, TIMED_OUT)

        def done(_task: object) -> None:
            limit.cancel()
            if task.cancelled():
                self._account(run, run.late or CANCELLED, None)
            else:
                error = task.exception()
                self._account(run, COMPLETED if error is None else FAILED, error)
            # A lane that was given up, or has moved, is somebody else's by now.
            if lane.task is task:
                lane.next()

        task.add_done_callback(done)
        with guarded("tasks of callbacks"):
            loops.hide(task)

    def _task(self, run: Run) -> asyncio.Task[Any]:
        coroutine = self._execute(run)
        try:
            return run.context.run(self.loop.create_task, coroutine)
        except Exception:  # of a task factory of the program
            return run.context.run(functools.partial(asyncio.Task, coroutine, loop=self.loop))

    async def _execute(self, run: Run) -> None:
        call, event = run.binding.call, run.event
        try:
            if run.binding.is_async:
                await call(event)
                return
            result = await self.workers.run(lambda: run.context.run(call, event))
            if asyncio.iscoroutine(result):  # of a plain function that returns one, such as a lambda
                await result
        except SystemExit as error:  # would end the loop that we run on
            raise RuntimeError(f"the callback called sys.exit({error.code!r})") from error

    def _account(self, run: Run, outcome: str, error: BaseException | None) -> None:
        with lock:
            if run.finished:
                return
            run.finished = True
        self._finished(run, outcome, error)

    def rest(self, lane: Lane) -> None:
        """Nothing is left to do in ``lane``."""
        with lock:
            if lane.queue and lane in self.lanes:  # something came in the meantime
                again = True
            else:
                again = False
                self.lanes.discard(lane)
                told = lane.take_waiting() + self._take_watchers()
        if again:
            lane.next()
            return
        for then in told:
            then()

    def _take_watchers(self) -> list[Callable[[], None]]:
        if self.lanes:
            return []
        self._busy.discard(self)
        watchers, self._watchers = self._watchers, []
        return watchers

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call ``then``, in any thread, once nothing is pending here; at once if that is so now."""
        with lock:
            if self.lanes:
                self._watchers.append(then)
                return
        then()

    async def drain(self, timeout: float) -> bool:
        """Wait until nothing is pending here, for at most ``timeout`` seconds. Any loop may wait.

        Returns:
            Whether nothing is pending any more.
        """
        await wait_for(self.when_idle, timeout)
        return not self.lanes

    def give_up(self, reason: str) -> None:
        """Count all that is pending as dropped for ``reason``, and cancel what runs."""
        with lock:
            lanes = list(self.lanes)
            self.lanes.clear()
            told = [then for lane in lanes for then in lane.take_waiting()] + self._take_watchers()
        for lane in lanes:
            task, run = lane.task, lane.current
            lane.task = None
            if task is not None and run is not None:
                self._cancel(task, run, reason)
            for dropped in (run, *lane.queue):
                if dropped is not None:
                    self._account(dropped, dropped.late or reason, None)
            lane.queue.clear()
        for then in told:
            then()

    def close(self, elsewhere: Callable[[], Host]) -> set[Registration]:
        """The loop is at its end: what has not begun goes elsewhere, what has begun is cancelled, and counted.

        Returns:
            The callbacks of which runs were cancelled.
        """
        told: list[Callable[[], None]] = []
        cut: set[Registration] = set()
        with lock:
            lanes = list(self.lanes)
            self.lanes.clear()
        for lane in lanes:
            task, run = lane.task, lane.current
            lane.task = None
            if run is not None and (task is None or not task.done()):
                if task is not None:  # it would complain long after anybody could do something about it
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    self._cancel(task, run, LOOP_CLOSED)
                self._account(run, run.late or LOOP_CLOSED, None)
                cut.add(run.registration)
            try:
                host = elsewhere()
            except Exception as error:
                for run in lane.queue:
                    self._account(run, nowhere(error), None)
                lane.queue.clear()
                told += lane.take_waiting()
                continue
            with lock:
                lane.host = host
                host.take(lane)
            host.call(lane.next)
        with lock:
            told += self._take_watchers()
        for then in told:
            then()
        return cut

    def _cancel(self, task: asyncio.Task[Any], run: Run, reason: str) -> None:
        with contextlib.suppress(Exception):  # the loop is closed: the task goes no further as it is
            self.loop.call_soon_threadsafe(_cancel, task, run, reason)

    def disown(self) -> None:
        """In a forked child: all that is pending belongs to the parent, which runs it."""
        for lane in self.lanes:
            for run in (lane.current, *lane.queue):
                if run is not None:
                    run.finished = True
            lane.queue.clear()
            if lane.task is not None and asyncio._get_running_loop() is self.loop:
                lane.task.cancel()
            lane.task = None
        self.lanes.clear()
        self._busy.discard(self)
        self._watchers.clear()


def _cancel(task: asyncio.Task[Any], run: Run, reason: str) -> None:
    run.late = run.late or reason
    task.cancel()


async def wait_for(when: Callable[[Callable[[], None]], None], timeout: float | None = None) -> None:
    """Wait in the running loop until ``when`` calls the function that it is given, or ``timeout`` seconds."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not told.done():
            told.set_result(None)

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    when(tell)
    await asyncio.wait([told], timeout=timeout)
    told.cancel()

"""One call, as its callbacks see it: told what happens, in order, each end once; settled before it returns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .dispatch import Dispatcher
from .hosts import wait_for
from .lanes import Lane, Run
from .points import POINTS, Binding, Event


class Call:
    """One call, as its callbacks see it. Made by what drives the call, when it begins.

    Args:
        is_async: whether the caller awaits it.
        span_context: of the call's span, for links.

    Attributes:
        raised: what a callback that was registered with ``on_error="raise"`` has raised, the first of them: for the
            one who settles.
    """

    __slots__ = (
        "__weakref__", "_dispatcher", "_ended", "_inline", "_lanes", "_loop", "_scoped", "is_async", "raised",
        "span_context",
    )  # fmt: skip

    def __init__(self, dispatcher: Dispatcher, *, is_async: bool, span_context: Any = None) -> None:
        self._dispatcher = dispatcher
        self.is_async = is_async
        self.span_context = span_context
        self._loop: asyncio.AbstractEventLoop | None = asyncio._get_running_loop()
        # Callbacks of this context only are those of the moment at which the call begins.
        self._scoped = dispatcher.registry.scoped()
        self._lanes: dict[int, Lane] = {}
        self._inline: Lane | None = None
        self._ended = False
        self.raised: BaseException | None = None

    @property
    def heard(self) -> bool:
        """Whether anybody listens, at whatever point. The cheapest thing to ask."""
        return bool(self._dispatcher.registry.by_point or self._scoped)

    def wants(self, point: str) -> bool:
        """Whether anybody listens at ``point``."""
        return point in self._dispatcher.registry.by_point or (bool(self._scoped) and any(point in one.points for one in self._scoped))

    def emit(
        self, point: str, load: Callable[[], Mapping[str, Any]], details: Mapping[str, Any] | None = None, *, waited: bool = True
    ) -> None:
        """Tell the callbacks what has happened, all of them: what one of them raises is for `settle`.

        Costs one look-up when nobody listens.

        Args:
            point: the lifecycle point. Of the points that end a call only the first one counts.
            load: returns what LiteLLM hands to a callback (see `Event`); called only when somebody listens.
            details: what belongs to this point only.
            waited: whether the driver settles afterwards. Where it cannot (a stream that nobody holds any
                more) inline callbacks run in the background.
        """
        if POINTS[point].terminal:
            if self._ended:
                return
            self._ended = True
        registrations = self._dispatcher.registry.at(point)
        if self._scoped:
            registrations = (*registrations, *(one for one in self._scoped if point in one.points))
        if not registrations:
            return
        event = Event(point, load, details, self.span_context)
        for registration in registrations:
            run = self._dispatcher.accept(registration, event, self.is_async)
            if run is not None:
                self._dispatch(run, waited)
        if not self.is_async and waited:
            self._wait()

    def _dispatch(self, run: Run, waited: bool) -> None:
        registration = run.registration
        if registration.mode != "inline":
            lane = self._queue(run, self._lanes.get(registration.number), registration.mode)
            if lane is not None:
                self._lanes[registration.number] = lane
        elif waited and not run.binding.is_async and (self._inline is None or self._inline.idle):
            error = self._dispatcher.run_now(run)
            if error is not None and registration.on_error == "raise":
                self._keep(error)
        else:
            if registration.on_error == "raise":
                run.binding = _telling(run.binding, self._keep)
            # In a sync call the caller's thread waits, so another one must do the work.
            self._inline = self._queue(run, self._inline, "inline" if self.is_async and waited else "background")

    def _queue(self, run: Run, lane: Lane | None, mode: str) -> Lane | None:
        return self._dispatcher.queue(run, lane, mode, asyncio._get_running_loop() or self._loop)

    def settle(self) -> None:
        """Wait until the inline callbacks have run: before a sync call returns.

        Raises:
            Exception: what an inline callback that was registered with ``on_error="raise"`` has raised.
        """
        self._wait()
        self._reraise()

    def _wait(self) -> None:
        lane = self._inline
        if lane is None or lane.idle:
            return
        loop = lane.host.loop
        if loop is asyncio._get_running_loop() or not loop.is_running():
            # A call on the very loop that is to run them (that of a callback of ours), or a loop that nobody runs now: they
            # run once that goes on.
            return
        done = threading.Event()
        lane.when_idle(done.set)
        done.wait()

    @property
    def owes(self) -> bool:
        """Whether there is anything to settle."""
        return self.raised is not None or (self._inline is not None and not self._inline.idle)

    async def asettle(self) -> None:
        """Wait until the inline callbacks have run: before an async call returns.

        The callbacks have tasks of their own: when the waiting task is cancelled they go on, and are
        completed before the loop closes.

        Raises:
            Exception: see `settle`.
        """
        lane = self._inline
        if lane is not None and not lane.idle:
            await wait_for(lane.when_idle)
        self._reraise()

    def _keep(self, error: BaseException) -> None:
        self.raised = self.raised or error

    def _reraise(self) -> None:
        error, self.raised = self.raised, None
        if error is not None:
            raise error


def _telling(binding: Binding, keep: Callable[[BaseException], None]) -> Binding:
    """The same binding; ``keep`` is told what it raises."""

    def sync(event: Event) -> Any:
        try:
            return binding.call(event)
        except Exception as error:
            keep(error)
            raise

    async def asynchronous(event: Event) -> Any:
        try:
            return await binding.call(event)
        except Exception as error:
            keep(error)
            raise

    return Binding(asynchronous if binding.is_async else sync, binding.is_async)

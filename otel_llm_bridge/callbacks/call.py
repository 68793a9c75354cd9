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
    """

    __slots__ = (
        "__weakref__", "_closed", "_dispatcher", "_ended", "_inline", "_lanes", "_loop", "_raised", "_scoped", "is_async",
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
        self._ended = self._closed = False
        self._raised: BaseException | None = None

    def close(self) -> bool:
        """The driver has seen the end of the call; whether this is the first time."""
        first, self._closed = not self._closed, True
        return first

    def wants(self, point: str) -> bool:
        """Whether anybody listens at ``point``."""
        return bool(self._dispatcher.registry.at(point)) or (bool(self._scoped) and any(point in one.points for one in self._scoped))

    def emit(
        self, point: str, load: Callable[[], Mapping[str, Any]], details: Mapping[str, Any] | None = None, *, waited: bool = True
    ) -> None:
        """Tell the callbacks what has happened. Costs one look-up when nobody listens.

        Args:
            point: the lifecycle point. Of the points that end a call only the first one counts.
            load: returns what LiteLLM hands to a callback (see `Event`); called only when somebody listens.
            details: what belongs to this point only.
            waited: whether the driver settles afterwards. Where it cannot (a stream that nobody holds any
                more) inline callbacks run in the background.

        Raises:
            Exception: an inline function that was registered with ``on_error="raise"`` has raised it.
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
            self.settle()

    def _dispatch(self, run: Run, waited: bool) -> None:
        registration = run.registration
        if registration.mode != "inline":
            lane = self._lanes.get(registration.number)
            if lane is None:
                lane = self._lanes[registration.number] = self._lane(registration.mode)
            self._append(lane, run)
        elif waited and not run.binding.is_async and (self._inline is None or self._inline.idle):
            error = self._dispatcher.run_now(run)
            if error is not None and registration.on_error == "raise":
                raise error
        else:
            if self._inline is None:
                # In a sync call the caller's thread waits, so another one must do the work.
                self._inline = self._lane("inline" if self.is_async and waited else "background")
            if registration.on_error == "raise":
                run.binding = _telling(run.binding, self)
            self._append(self._inline, run)

    def _lane(self, mode: str) -> Lane:
        running = asyncio._get_running_loop()
        return Lane(self._dispatcher.place(mode, running or self._loop))

    def _append(self, lane: Lane, run: Run) -> None:
        try:
            lane.append(run)
        except RuntimeError:  # the loop has been closed in this moment
            lane.host.close(self._dispatcher.background)

    def settle(self) -> None:
        """Wait until the inline callbacks have run: before a sync call returns.

        Raises:
            Exception: see `emit`.
        """
        lane = self._inline
        if lane is not None and not lane.idle:
            done = threading.Event()
            lane.when_idle(done.set)
            done.wait()
        self._reraise()

    @property
    def owes(self) -> bool:
        """Whether there is anything to settle."""
        return self._raised is not None or (self._inline is not None and not self._inline.idle)

    async def asettle(self) -> None:
        """Wait until the inline callbacks have run: before an async call returns.

        The callbacks have tasks of their own: when the waiting task is cancelled they go on, and are
        completed before the loop closes.

        Raises:
            Exception: see `emit`.
        """
        lane = self._inline
        if lane is not None and not lane.idle:
            await wait_for(lane.when_idle)
        self._reraise()

    def keep(self, error: BaseException) -> None:
        """What a callback that was registered with ``on_error="raise"`` has raised: for the one who settles."""
        self._raised = self._raised or error

    def _reraise(self) -> None:
        error, self._raised = self._raised, None
        if error is not None:
            raise error


def _telling(binding: Binding, call: Call) -> Binding:
    """The same binding; what it raises is kept for the one who settles."""

    def sync(event: Event) -> Any:
        try:
            return binding.call(event)
        except Exception as error:
            call.keep(error)
            raise

    async def asynchronous(event: Event) -> Any:
        try:
            return await binding.call(event)
        except Exception as error:
            call.keep(error)
            raise

    return Binding(asynchronous if binding.is_async else sync, binding.is_async)

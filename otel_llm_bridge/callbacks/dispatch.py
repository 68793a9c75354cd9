"""Where every run of a callback passes: accepted or dropped, given a place to run, accounted for exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final

from opentelemetry import trace

from ..guard import guarded, logger
from ..locks import rlock
from ..settings import Settings
from . import loops
from .hosts import Host
from .lanes import COMPLETED, FAILED, LOOP_CLOSED, OWNER_GONE, QUEUE_FULL, TIMED_OUT, Lane, Run, nowhere
from .points import Binding, Event
from .registry import Counts, Registration, Registry
from .spans import GetTracer, spanned
from .workers import BackgroundLoop, Workers

#: What a fork may wait for our loop to pause, in seconds.
_FORK_PAUSE: Final = 2.0

_HOST: Final = "_otel_llm_bridge_host"
_NOTHING: Final = Binding(lambda _event: None, is_async=False)


class Dispatcher:
    """The callbacks, where they run, and what has become of them."""

    def __init__(self, settings: Settings | None = None, get_tracer: GetTracer | None = None) -> None:
        self.registry = Registry()
        self._get_tracer = get_tracer or (lambda: trace.get_tracer("otel_llm_bridge"))
        self._lock = rlock()
        self._settings = settings
        self.registry.removed = self._retire
        #: Called when nothing is pending in a drain: they hand over what is to be sent, which is then drained, too.
        self.senders: dict[str, Callable[[], None]] = {}
        #: Those that have figures: registered, or with something pending.
        self._known: dict[int, Registration] = {}
        #: The figures of those that were removed, by name: registering for one request must not cost memory.
        self._retired: dict[str, Counts] = {}
        self._unplugged: dict[str, str] = {}
        #: Names of callbacks whose first failure has been logged.
        self._complained: set[str] = set()
        self._reset()
        if settings is not None:
            self.configure(settings)

    def _reset(self) -> None:
        self.workers = Workers()
        self._background = BackgroundLoop()
        #: The places where something is pending.
        self.busy: set[Host] = set()
        self._pending = 0

    @property
    def settings(self) -> Settings:
        """The options in force; those of the environment until `configure` is called."""
        if self._settings is None:
            self.configure(Settings.resolve())
        assert self._settings is not None
        return self._settings

    def configure(self, settings: Settings, get_tracer: GetTracer | None = None) -> None:
        """Take over the options, and where spans for runs are started."""
        self._settings = settings
        self.registry.limit = settings.callbacks_max
        loops.budget = settings.exit_timeout
        if get_tracer is not None:
            self._get_tracer = get_tracer

    # Where things run.

    def host_of(self, loop: asyncio.AbstractEventLoop) -> Host:
        """The place for callbacks on ``loop``; from now on its end is watched."""
        host = self.known_host(loop)
        if host is None:
            host = Host(loop, self.workers, self._finished, self.busy)
            loops.watch(loop)
            setattr(loop, _HOST, host)
        return host

    def known_host(self, loop: asyncio.AbstractEventLoop) -> Host | None:
        """The place for callbacks on ``loop``, if there is one."""
        host: Host | None = getattr(loop, _HOST, None)
        # After a fork, and in tests, there may be one of another dispatcher.
        return host if host is not None and host.workers is self.workers else None

    def background(self) -> Host:
        """The place for callbacks on our own loop.

        Raises:
            RuntimeError, MemoryError, OSError: see `BackgroundLoop.get`.
        """
        loop = self._background.get()
        host = self.known_host(loop)
        if host is None:
            with self._lock:
                host = self.known_host(loop) or Host(loop, self.workers, self._finished, self.busy)
                setattr(loop, _HOST, host)
        return host

    def place(self, mode: str, loop: asyncio.AbstractEventLoop | None) -> Host:
        """Where a callback of that mode runs, for a call on ``loop``."""
        if mode != "background" and loop is not None:
            # A loop that takes no attribute, or no weak reference: its end could not be watched.
            with guarded("the loop of a call"), contextlib.suppress(AttributeError, TypeError):
                if not loop.is_closed():
                    return self.host_of(loop)
        return self.background()

    # One run.

    def accept(self, registration: Registration, event: Event, is_async: bool) -> Run | None:
        """Account for one more run; ``None``, and counted, when it cannot be."""
        with self._lock:
            counts = registration.counts
            self._known[registration.number] = registration
            counts.accepted += 1
            if self._pending >= self.settings.callbacks_queue_size:
                self._drop(registration, QUEUE_FULL)
                return None
            self._pending += 1
            counts.pending += 1
        timeout = registration.timeout if registration.timeout is not None else self.settings.callbacks_timeout
        try:
            bound = registration.bound_at(event.point)
        except Exception as error:
            self._finished(Run(registration, _NOTHING, event, timeout), FAILED, error)
            return None
        if bound is None:  # its owner has gone since
            self._finished(Run(registration, _NOTHING, event, timeout), OWNER_GONE, None)
            return None
        binding = bound.for_async if is_async else bound.for_sync
        if self.settings.callback_spans:
            binding = spanned(binding, registration, self._get_tracer)
        return Run(registration, binding, event, timeout)

    def _drop(self, registration: Registration, reason: str) -> None:
        dropped = registration.counts.dropped
        dropped[reason] = dropped.get(reason, 0) + 1
        if dropped[reason] == 1:
            logger.warning("callback %s: a run was dropped (%s); further ones are only counted", registration.name, reason)

    def adopt(self, registration: Registration, coroutine: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        """Complete a coroutine that has not begun, on behalf of ``registration``: on the running loop, or on ours."""
        run = self.accept(registration, Event("success", dict, {"coroutine": coroutine}), is_async=True)
        if run is None:
            coroutine.close()
            return
        run.context = context or run.context
        self.queue(run, None, registration.mode, asyncio._get_running_loop())

    def queue(self, run: Run, lane: Lane | None, mode: str, loop: asyncio.AbstractEventLoop | None) -> Lane | None:
        """Put ``run`` at the end of ``lane``, or of a new one for a callback of that mode and a call on ``loop``.

        Returns:
            The lane; ``None``, and counted, where there is no place for it.
        """
        if lane is None:
            try:
                lane = Lane(self.place(mode, loop))
            except Exception as error:
                self._finished(run, nowhere(error), None)
                return None
        try:
            lane.append(run)
        except Exception:  # the loop has been closed in this moment: each make of loops has its own error for that
            lane.host.close(self.background)
        return lane

    def run_now(self, run: Run) -> BaseException | None:
        """Run a plain function in place; returns what it raised."""
        error: BaseException | None = None
        begun = time.monotonic()
        try:
            run.binding.call(run.event)
        except Exception as raised:
            error = raised
        except BaseException as raised:
            self._finished(run, FAILED, raised)
            raise
        late = error is None and time.monotonic() - begun > run.timeout
        self._finished(run, TIMED_OUT if late else COMPLETED if error is None else FAILED, error)
        return error

    def _finished(self, run: Run, outcome: str, error: BaseException | None) -> None:
        registration = run.registration
        run.finished = True
        with self._lock:
            counts = registration.counts
            self._pending -= 1
            counts.pending -= 1
            if outcome in (COMPLETED, FAILED, TIMED_OUT):
                setattr(counts, outcome, getattr(counts, outcome) + 1)
            else:
                self._drop(registration, outcome)
                adopted = run.event.details.get("coroutine")
                if adopted is not None and inspect.getcoroutinestate(adopted) == inspect.CORO_CREATED:
                    adopted.close()  # Python would warn that it was never awaited: it is counted instead
            failed = outcome in (FAILED, TIMED_OUT)  # what was dropped is not the callback's fault
            if outcome == COMPLETED:
                registration.failures_in_a_row = 0
            first = failed and registration.name not in self._complained
            if first:
                self._complained.add(registration.name)
        if first:
            # The error's text may hold a prompt or a key, so it is for DEBUG only.
            what = f"failed with {type(error).__qualname__}" if error else f"took longer than {run.timeout:g} s"
            logger.warning("callback %s %s at %s; further ones are only counted", registration.name, what, run.event.point)
            logger.debug("callback %s", registration.name, exc_info=error)
        if error is not None and callable(registration.on_error):
            try:
                registration.on_error(error, run.event)
            except Exception:
                logger.debug("on_error of callback %s", registration.name, exc_info=True)
        if not counts.pending and not self.registry.has(registration):
            self._retire(registration)
        if failed:
            self._failed_again(registration, type(error).__qualname__ if error else outcome)

    def overstayed(self, registration: Registration) -> None:
        """The end of a loop has waited for runs of it, and cut them off: one failure, however many they were."""
        self._failed_again(registration, LOOP_CLOSED)

    def _failed_again(self, registration: Registration, how: str) -> None:
        with self._lock:
            registration.failures_in_a_row += 1
            if registration.failures_in_a_row != self.settings.callbacks_unplug_after or not self.registry.has(registration):
                return  # at 0 it stays for ever; one that is not in the registry cannot be taken out
            self._unplugged[registration.name] = how
        registration.remove()
        times = registration.failures_in_a_row
        logger.error("callback %s is unplugged: it has failed %d times in a row (%s)", registration.name, times, how)

    # Figures.

    def _retire(self, registration: Registration) -> None:
        with self._lock:
            if registration.counts.pending or self._known.pop(registration.number, None) is None:
                return
            self._retired.setdefault(registration.name, Counts()).add(registration.counts)
            registration.counts = Counts()

    def _figures(self) -> dict[str, Counts]:
        figures: dict[str, Counts] = {}
        for name, counts in (*self._retired.items(), *((one.name, one.counts) for one in self._known.values())):
            figures.setdefault(name, Counts()).add(counts)
        return figures

    def totals(self) -> Counts:
        """The figures of all callbacks together."""
        totals = Counts()
        with self._lock:
            for counts in self._figures().values():
                totals.add(counts)
        return totals

    def pending(self) -> dict[str, int]:
        """Runs that are going on or waiting, by callback."""
        with self._lock:
            return {name: counts.pending for name, counts in self._figures().items() if counts.pending}

    def stats(self) -> dict[str, Any]:
        """See `otel_llm_bridge.callbacks.stats`."""
        with self._lock:
            by_name = {one.name: Counts() for one in self.registry.all()} | self._figures()
            return self.totals().as_dict() | {
                "callbacks": {name: counts.as_dict() for name, counts in by_name.items()},
                "unplugged": dict(self._unplugged),
            }

    def before_fork(self) -> None:
        """Have our loop wait while the process forks."""
        self._background.pause(_FORK_PAUSE)

    def after_fork_in_parent(self) -> None:
        """Let it go on."""
        self._background.resume()

    def after_fork_in_child(self) -> None:
        """The parent runs what was pending; the child begins with nothing, and with its own threads."""
        for host in list(self.busy):
            host.disown()
        self._reset()
        for registration in (*self._known.values(), *self.registry.all()):
            registration.counts = Counts()
        self._known.clear()
        self._retired.clear()

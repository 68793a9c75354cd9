"""The global providers: one of ours stands in until the program sets its own, however late that is.

OpenTelemetry lets a global provider be set once. If ours used that up, a program that sets its own after its first call
would be refused, and none of its spans would reach it. So the set-once is renewed right after ours was set, and whoever
follows is told when the program has used it. Where OpenTelemetry's private names are others, ours stays.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from opentelemetry import _logs, metrics, trace

from .guard import guarded, logger


class Follower(Protocol):
    """Whoever keeps what was made from a global provider."""

    def forget(self) -> None:
        """A global provider is another one now: ask again when it is needed."""


class Signal(NamedTuple):
    """How OpenTelemetry keeps the global provider of one signal."""

    get: Callable[[], Any]
    set: Callable[[Any], None]
    #: The variable that holds its set-once, where ``set`` is defined.
    once: str


TRACES: Final = Signal(trace.get_tracer_provider, trace.set_tracer_provider, "_TRACER_PROVIDER_SET_ONCE")
METRICS: Final = Signal(metrics.get_meter_provider, metrics.set_meter_provider, "_METER_PROVIDER_SET_ONCE")
LOGS: Final = Signal(_logs.get_logger_provider, _logs.set_logger_provider, "_LOGGER_PROVIDER_SET_ONCE")

_followers: Final[weakref.WeakSet[Follower]] = weakref.WeakSet()


def follow(follower: Follower) -> None:
    """Tell ``follower`` whenever a provider is set in the place of one that stands in; it is held weakly."""
    _followers.add(follower)


def stand_in(signal: Signal, provider: Any) -> None:
    """Make ``provider`` the global one until the program sets another; with ``None``, only see that it does."""
    if provider is not None:
        signal.set(provider)
        if signal.get() is not provider:
            return  # the program was faster
    home = getattr(signal.set, "__globals__", {})
    once = home.get(signal.once)
    if hasattr(once, "do_once"):
        home[signal.once] = _renewed(type(once))
    else:
        logger.debug("no %s: a provider that is set from now on is refused", signal.once)


def _renewed(kind: Any) -> Any:
    class Renewed(kind):  # type: ignore[misc]
        """As OpenTelemetry's own, also for tests that set its ``_done`` back."""

        def do_once(self, func: Callable[[], None]) -> bool:
            done = bool(super().do_once(func))
            if done:  # its lock is free again: a follower may wait for somebody who needs it
                with guarded("another global provider"):
                    for follower in tuple(_followers):
                        follower.forget()
            return done

    return Renewed()

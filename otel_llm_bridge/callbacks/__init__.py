"""Callbacks with a guarantee: registered once, run in a chosen mode, in order, exactly once, or reported.

| mode | a plain function | a coroutine function | what is guaranteed |
| --- | --- | --- | --- |
| ``inline`` | is called where the event happens | is awaited before the call returns | it has run when the caller goes on |
| ``tracked`` | runs in a thread of ours | is a task on the caller's loop | it is completed before that loop closes |
| ``background`` | runs in a thread of ours | runs on a loop of ours | it is completed before the process ends |

The end of a loop and of the process wait for at most the setting ``exit_timeout``; what is not completed by
then is counted, with the reason, and said in a log line.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final

from opentelemetry.trace import Tracer

from ..export import freeze, lifetime
from ..export.lifetime import Stage
from ..settings import Settings
from . import drains, loops
from .call import Call
from .dispatch import Dispatcher
from .drains import DrainReport
from .points import POINTS, CallbackSignatureError, Event, UnknownPoint
from .registry import CallbackLimitReached, Registration

# What is public. The rest of the bridge also takes `Call`, `begin`, `dispatcher`, `process_end`, `install` and `uninstall`.
__all__ = [
    "POINTS",
    "Call",
    "CallbackLimitReached",
    "CallbackSignatureError",
    "DrainReport",
    "Event",
    "Registration",
    "UnknownPoint",
    "adrain",
    "drain",
    "register",
    "registered",
    "remove",
    "stats",
]

#: The one of this process.
dispatcher: Final = Dispatcher()


def register(
    callback: Any,
    *,
    on: str | Iterable[str] | None = None,
    mode: str = "inline",
    key: Any = None,
    owner: Any = None,
    timeout: float | None = None,
    on_error: Callable[[BaseException, Event], object] | str | None = None,
) -> Registration:
    """Call ``callback`` at points in the life of every LiteLLM call.

    Args:
        callback: a function or coroutine function, an object with the methods of LiteLLM's ``CustomLogger``, or
            the name of an integration of LiteLLM.
        on: a lifecycle point, or several: the keys of `POINTS`, ``"both"`` for success and failure, ``"all"``.
            Unless given: for a function ``"success"``, for an object every point that it has a method for,
            for a name ``"both"``.
        mode: ``"inline"``, ``"tracked"`` or ``"background"``; see the table above.
        key: two callbacks with the same key are one; the newer takes the older's place. Unless given, those are
            the same that are the same object or name, or objects of one class with the same configuration.
        owner: an object whose death removes the callback. It is held weakly, also through a bound method of it.
        timeout: seconds that one run may take; unless given, the setting ``callbacks_timeout``. A plain function
            cannot be interrupted: one that takes longer is counted.
        on_error: an error is counted, and logged once. Beyond that: a function is called with the error and the
            event; ``"raise"``, for inline callbacks only, has the call raise it.

    Returns:
        The registration; its ``remove()`` ends it.

    Raises:
        CallbackSignatureError: the callback could not be called at one of the points.
        CallbackLimitReached: there are ``callbacks_max`` callbacks already.
        UnknownPoint: ``on`` names something else.
        ValueError, TypeError: another argument does not fit.
    """
    dispatcher.settings  # noqa: B018  # resolves the limit
    return dispatcher.registry.register(callback, on=on, mode=mode, key=key, owner=owner, timeout=timeout, on_error=on_error)


@contextlib.contextmanager
def registered(callback: Any, *, local: bool = False, **options: Any) -> Generator[Registration, None, None]:
    """Call ``callback`` for the calls within the ``with`` block.

    Args:
        callback: as for `register`.
        local: only for calls that begin in the context (task, thread) of the block, so that a callback for one
            request sees nothing of the requests beside it.
        **options: those of `register`.
    """
    registry = dispatcher.registry
    if not local:
        registration = register(callback, **options)
        try:
            yield registration
        finally:
            registration.remove()
        return
    registration = registry.make(callback, **options)
    token = registry.enter_scope(registration)
    try:
        yield registration
    finally:
        registry.leave_scope(token)


def remove(callback: Any = None, *, owner: Any = None, type: type | None = None, key: Any = None) -> int:
    """Call no more: this very callback, those of an owner, those of a class, or that of a key.

    Returns:
        How many were removed.
    """
    return dispatcher.registry.remove(callback, owner=owner, type=type, key=key)


def drain(timeout: float | None = None) -> DrainReport:
    """Wait until no run is pending, for at most ``timeout`` seconds (unless given, the setting ``exit_timeout``).

    Inside a running loop use `adrain`: what is pending on that loop cannot go on while its thread waits here.
    """
    return drains.drain(dispatcher, timeout)


async def adrain(timeout: float | None = None) -> DrainReport:
    """Wait until no run is pending, for at most ``timeout`` seconds (unless given, the setting ``exit_timeout``)."""
    return await drains.adrain(dispatcher, timeout)


def stats() -> dict[str, Any]:
    """What has become of all runs so far: in all, and for each callback.

    ``accepted`` is always the sum of ``completed``, ``failed``, ``timed_out``, ``pending`` and all of ``dropped``.
    """
    return dispatcher.stats()


def begin(*, is_async: bool, span_context: Any = None) -> Call:
    """A call begins. For what drives the call."""
    return Call(dispatcher, is_async=is_async, span_context=span_context)


process_end: Final = drains.ProcessEnd(dispatcher)
_installed = False
_hooked = False


def install(settings: Settings, get_tracer: Callable[[], Tracer] | None = None) -> None:
    """Take over the options, and take part in the end of loops, of the process and of its children.

    Args:
        settings: the options.
        get_tracer: gives the tracer for ``litellm.callback`` spans.
    """
    global _installed, _hooked
    _installed = True
    dispatcher.configure(settings, get_tracer)
    loops.install()
    lifetime.at_end(Stage.DRAIN_CALLBACKS, "callbacks", process_end.late)
    # Calls that are still open are ended after that.
    lifetime.at_end(Stage.TELL_FINISHED, "callbacks of open calls", process_end.late)
    freeze.before_freeze(Stage.DRAIN_CALLBACKS, "callbacks", process_end.early)
    lifetime.after_fork_in_child(dispatcher.after_fork_in_child)
    if not _hooked:
        # There is no way to unregister any of these.
        _hooked = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=dispatcher.before_fork, after_in_parent=dispatcher.after_fork_in_parent)
        with contextlib.suppress(AttributeError, RuntimeError):
            threading._register_atexit(lambda: lifetime.early(_early) if _installed else None)  # type: ignore[attr-defined]


def _early(deadline: lifetime.Deadline) -> None:
    # As before a freeze: also what LiteLLM's threads are still to tell, which takes Python's thread pools (a host name's address).
    freeze.finish(deadline.remaining() / lifetime.SHARE[Stage.DRAIN_CALLBACKS])


def uninstall() -> None:
    """Take no part any longer; what is registered stays registered, and is called by nobody."""
    global _installed
    _installed = False
    loops.uninstall()
    lifetime.remove("callbacks")
    lifetime.remove("callbacks of open calls")
    freeze.remove("callbacks")


loops.at_loop_end(
    "callbacks",
    pending=lambda loop: bool((host := dispatcher.known_host(loop)) and host.lanes),
    drain=lambda loop, seconds: drains.drain_loop(dispatcher, loop, seconds),
)

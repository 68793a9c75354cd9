"""The lifecycle points of a call, in LiteLLM's words: what a callback of the bridge is given at each of them.

`telling` says when: `happened` and `occurred` on the way of a call, `ended` at its end, whichever that is. Then the call's
driver waits for what is owed: `Call.settle` or ``await`` `Call.asettle`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..callbacks import Call, dispatcher, process_end
from ..export import lifetime
from ..patching import Undo
from ..streams import settle_left_streams
from . import callback_facts, integrations, rescue, rescue_batches, rescue_calls, rescue_routers

if TYPE_CHECKING:
    from ..settings import Settings

_LEFT = "streams that were left"
_INTEGRATIONS = "LiteLLM's integrations"

__all__ = ["ended", "happened", "install", "occurred"]


def install(settings: Settings) -> list[Undo]:
    """Resolve the names of LiteLLM's integrations and, unless that is switched off, rescue LiteLLM's own callbacks.

    LiteLLM is loaded. The rescue wraps methods that `hooks` may have wrapped in place, so it comes after them,
    and is taken off before them.

    Returns:
        The way back, for `patching.restore`.
    """
    dispatcher.registry.resolver = integrations.integration
    dispatcher.senders[_INTEGRATIONS] = integrations.send_all
    lifetime.after_fork_in_child(integrations.after_fork_in_child)
    # A stream that was dropped is ended by another thread: what that tells must not come after the last drain.
    process_end.feeders[_LEFT] = settle_left_streams
    undos: list[Undo] = [_uninstall]
    if settings.callbacks_rescue:
        for part in (rescue, rescue_calls, rescue_routers, rescue_batches):
            undos += part.install()
    return undos


def _uninstall() -> None:
    dispatcher.registry.resolver = None
    dispatcher.senders.pop(_INTEGRATIONS, None)
    process_end.feeders.pop(_LEFT, None)


def happened(call: Call, point: str, logging: Any, *, response: Any = None, details: Mapping[str, Any] | None = None) -> None:
    """A lifecycle point on the way of ``call``.

    Args:
        call: the call.
        point: the lifecycle point.
        logging: LiteLLM's ``Logging`` object of the call.
        details: what belongs to this point only.
        response: a chunk of the stream, or the answer, where there is one.
    """
    if call.wants(point):
        call.emit(point, callback_facts.snapshot(logging, response), details)


def occurred(call: Call, point: str, details: Mapping[str, Any], *, request: Mapping[str, Any], since: int, waited: bool) -> None:
    """Something that LiteLLM keeps no record of: a retry, a fallback, a cooldown, the use of a service.

    Args:
        call: the call.
        point: the lifecycle point.
        details: what belongs to this point only. In ``kwargs`` it comes on top of
        request: the arguments of the call.
        since: when the call began, in nanoseconds since the epoch.
        waited: see `Call.emit`.
    """
    if call.wants(point):
        call.emit(point, callback_facts.beside(request, details, since), details, waited=waited)


def ended(
    call: Call,
    logging: Any,
    *,
    request: Mapping[str, Any] | None = None,
    response: Any = None,
    error: BaseException | None = None,
    cache_hit: bool | None = None,
    outcome: str | None = None,
    chunks: Sequence[Any] = (),
    waited: bool = True,
) -> None:
    """The call is over.

    Args:
        call: the call.
        cache_hit: whether LiteLLM's cache gave the answer; LiteLLM says ``False`` only for streams.
        logging: LiteLLM's ``Logging`` object of the call; ``None`` for a call of which it keeps no record.
        request: the arguments of the call, for that case.
        response: what the caller got; of a stream that was read to its end, the whole answer.
        error: what the caller got instead.
        outcome: how a stream ended that was not read to its end.
        chunks: what was read of such a stream.
        waited: whether the driver settles afterwards; see `Call.emit`.
    """
    answer: Callable[[], Any] = lambda: response  # noqa: E731
    if outcome is not None and logging is not None:
        # Costs more than all the rest: only where somebody listens, then, and once for all who do.
        answer = functools.cache(lambda: rescue_calls.assembled(chunks, logging))
        error = None if chunks else error or asyncio.CancelledError(f"the stream was left: {outcome}")
        if _rescues():
            rescue_calls.stream_left(logging, answer, outcome, error)
    elif logging is not None and error is not None and callback_facts.interrupted(error) and _rescues():
        rescue_calls.interrupted(logging, error)
    if not call.heard:
        return
    if cache_hit is None and getattr(logging, "stream", None) is True:
        cache_hit = False  # as LiteLLM tells its own handlers, of streams only
    point = "success" if error is None else "failure"
    if not call.wants(point) and not (cache_hit and call.wants("cache_hit")):
        return
    if logging is None:
        load = callback_facts.without_record(request or {}, response, error)
    elif error is not None:
        load = callback_facts.failure(logging, error)
    else:
        load = callback_facts.success(logging, answer, is_async=call.is_async, cache_hit=cache_hit, outcome=outcome)
    if cache_hit:
        call.emit("cache_hit", load, waited=waited)
    call.emit(point, load, waited=waited)


def _rescues() -> bool:
    return rescue.NAME in process_end.feeders

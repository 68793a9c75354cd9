"""What happens to a call, told to the callbacks that are registered with the bridge.

The record of the call is what they are told from: its events on the way, its end whichever that is. So they hear
of ends for which LiteLLM fires no hook: a cancelled call, a stream that was left.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from .. import callbacks
from ..guard import guarded
from ..semconv import litellm as names
from . import callback_bridge

#: Among what a call keeps: an error that is to stop the request.
STOP: Final = "stop"
#: A request has gone out whose answer has not come yet.
ASKED: Final = "asked"

if TYPE_CHECKING:
    from ..callbacks import Call
    from ..invocation import Invocation
    from ..streams import ChunkReader
    from ..telemetry import Layer

#: Event of a call -> the points it is told at.
_ON_THE_WAY: Final = {names.EVENT_PRE_CALL: ("input", "pre_call"), names.EVENT_POST_CALL: ("post_call",)}
#: Events with which a stream's answer has come, at the latest.
_READ: Final = (names.EVENT_FIRST_CHUNK, names.EVENT_LAST_CHUNK)
#: Before this one the request has not gone out: an error that a callback wants raised stops it.
_STOPPABLE: Final = names.EVENT_PRE_CALL
#: Event that belongs to no single attempt -> its point. What became of a fallback is told when that is known.
_BESIDE: Final = {names.EVENT_RETRY: "retry", names.EVENT_COOLDOWN: "cooldown", names.EVENT_SERVICE: "service"}


_registry: Final = callbacks.dispatcher.registry


def listen(attempts: tuple[Layer, ...], logical: Layer) -> None:
    """Have the layers tell: those of attempts everything, that of logical calls what belongs to no attempt."""
    for layer in attempts:
        layer.at_event(_on_the_way, _ON_THE_WAY)
        layer.at_event(lambda invocation, _event, _attributes: answered(invocation), _READ)
        layer.when_over(_ended)
    for layer in (*attempts, logical):
        layer.at_event(_beside, _BESIDE)
    logical.at_event(_fell_back, (names.EVENT_FALLBACK,))
    logical.when_over(_logical_ended)


def begin(invocation: Invocation, is_async: bool) -> None:
    """A call begins: from now on it has somebody to tell."""
    invocation.kept["is_async"] = is_async
    if _registry.by_point or _registry.scoped():
        _call_of(invocation)


def _is_heard(invocation: Invocation) -> bool:
    """Whether anybody may listen. The cheapest thing to ask, for each call."""
    return "call" in invocation.kept or bool(_registry.by_point)


def _call_of(invocation: Invocation) -> Call:
    """Who tells what happens to the call. Made at its begin if somebody listens then, else when there is something to tell."""
    kept = invocation.kept
    call: Call | None = kept.get("call")
    if call is None:
        is_async = kept.get("is_async", asyncio._get_running_loop() is not None)
        call = callbacks.begin(is_async=is_async, span_context=invocation.span.get_span_context())
        if kept:  # what comes when the call is over belongs to nobody who waits
            kept["call"] = call
    return call


def answered(invocation: Invocation) -> None:
    """The answer is there, or the first chunk of it: for many APIs LiteLLM itself does not tell that."""
    kept = invocation.kept
    if kept.pop(ASKED, False):
        invocation.event(names.EVENT_POST_CALL)
        call = kept.get("call")
        if call is not None and call.owes and invocation.waited:
            invocation.owed = call


def reader_for(invocation: Invocation, reader: ChunkReader) -> ChunkReader:
    """``reader``, or one that also tells of each chunk where somebody listens."""
    if not _is_heard(invocation):
        return reader
    call = _call_of(invocation)
    return _TellingReader(call, invocation, reader) if call.wants("stream_chunk") else reader


class _TellingReader:
    """A `streams.ChunkReader` that tells of each chunk."""

    every = True

    def __init__(self, call: Call, invocation: Invocation, reader: ChunkReader) -> None:
        self._call = call
        self._invocation = invocation
        self._reader = reader

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""
        self._reader.feed(chunk)
        call = self._call
        callback_bridge.happened(call, "stream_chunk", self._invocation.kept.get("logging"), response=chunk)
        if call.owes:  # the one who reads waits for it
            self._invocation.owed = call

    def close(self, complete: bool) -> dict[str, Any]:
        """See `streams.ChunkReader`."""
        return self._reader.close(complete)


def _on_the_way(invocation: Invocation, event: str, attributes: dict[str, Any]) -> None:
    kept = invocation.kept
    if not ("call" in kept or _registry.by_point) or (logging := kept.get("logging")) is None:  # `_is_heard`, of each call
        return
    call = _call_of(invocation)
    for point in _ON_THE_WAY[event]:
        callback_bridge.happened(call, point, logging, details=attributes)
    if call.raised is not None and event == _STOPPABLE:
        invocation.kept[STOP] = call.raised


def _beside(invocation: Invocation, event: str, attributes: dict[str, Any]) -> None:
    error = getattr(invocation, "last_error", None) if event == names.EVENT_RETRY else None
    _tell(invocation, _BESIDE[event], attributes if error is None else {**attributes, "original_exception": error})


def _fell_back(invocation: Invocation, _event: str, attributes: dict[str, Any]) -> None:
    """One more model group takes over: the one that had done so before has failed."""
    _fallback_over(invocation, failed=True)
    invocation.kept["fallback"] = {
        **attributes,
        "model": attributes.get(names.EVENT_FALLBACK_TO),
        "original_model_group": attributes.get(names.EVENT_FALLBACK_FROM),
        "original_exception": getattr(invocation, "last_error", None),
    }


def _fallback_over(invocation: Invocation, *, failed: bool) -> None:
    fallback = invocation.kept.pop("fallback", None)
    if fallback is not None:
        _tell(invocation, "fallback_failure" if failed else "fallback", fallback)


def _logical_ended(invocation: Invocation) -> None:
    _fallback_over(invocation, failed=invocation.error is not None)
    call = invocation.kept.get("call")
    if call is not None and call.owes and invocation.waited:
        invocation.owed = call


def _tell(invocation: Invocation, point: str, details: dict[str, Any]) -> None:
    """Something beside the attempts, told in the order of the call that it happened to."""
    if not (point in _registry.by_point or _registry.scoped()):
        return
    kept = invocation.kept
    callback_bridge.occurred(
        _call_of(invocation), point, details, request=kept.get("request") or {}, since=invocation.started_ns,
        waited=bool(kept) and invocation.waited,
    )  # fmt: skip


def _ended(invocation: Invocation) -> None:
    # Of any other call nobody is told anything, and its facts need not be read for that.
    if not (_is_heard(invocation) or invocation.streams or invocation.error is not None):
        return
    call = _call_of(invocation)
    _tell_end(invocation, call)
    # What a callback wants raised comes when its driver settles: once the span has ended.
    if call.owes and invocation.waited:
        invocation.owed = call


def _tell_end(invocation: Invocation, call: Call) -> None:
    kept, facts = invocation.kept, invocation.facts
    outcome = facts.get("stream_outcome")
    whole = outcome in (None, names.OUTCOME_COMPLETE, names.OUTCOME_ERROR)
    with guarded("callbacks at the end"):
        callback_bridge.ended(
            call,
            kept.get("logging"),
            request=kept.get("request"),
            # Putting a stream's chunks together costs more than all the rest: only where somebody listens.
            response=_answer(invocation, outcome) if call.heard and (call.wants("success") or call.wants("cache_hit")) else None,
            error=invocation.error,
            cache_hit=facts.get("cache_hit"),
            outcome=None if whole else outcome,
            chunks=() if whole else tuple(kept.get("chunks") or ()),
            waited=invocation.waited,
        )


def _answer(invocation: Invocation, outcome: str | None) -> Any:
    kept = invocation.kept
    if outcome != names.OUTCOME_COMPLETE:
        return kept.get("response")
    if kept.get("rebuilt") is not None:
        return kept["rebuilt"]
    if kept.get("chunks") and kept.get("logging") is not None:
        from .rescue_calls import assembled

        with guarded("assembled"):
            return assembled(kept["chunks"], kept["logging"])
    return kept.get("response")

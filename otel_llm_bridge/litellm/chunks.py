"""Reads streams: what the chunks of each API say of the whole answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..guard import guarded
from ..semconv import gen_ai
from ..semconv import litellm as names
from . import access, interactions, pricing, reading
from .access import Facts, clean, first, get, peek
from .answers import DELTAS, RESPONSE_DELTAS
from .server_sent import ServerSentEvents, is_error
from .usage import estimate_usage, is_zero, read_usage, usage_of, with_estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..invocation import Invocation


class ChatChunks:
    """Chat and text completions: LiteLLM's wrapper keeps the chunks itself, so nearly nothing is kept twice."""

    def __init__(self, litellm: Any, invocation: Invocation, stream: Any) -> None:
        self._litellm = litellm
        self._invocation = invocation
        # The list, not the stream: the stream must be free to be collected. A text completion's is one further in.
        kept = first(stream, ("chunks", "completion_stream.chunks"))
        #: What the caller was given, where nobody else keeps it: text completions of an API that has them.
        self._own: list[Any] | None = None if isinstance(kept, list) else []
        self._chunks: list[Any] = kept if self._own is None else self._own
        self.every = self._own is not None
        invocation.kept["chunks"] = self._chunks
        self._first: Any = None
        self._last: Any = None

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""
        if self._first is None:
            self._first = chunk
        self._last = chunk
        if self._own is not None:
            self._own.append(chunk)

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        if self._last is None:
            return {}
        chunks = self._chunks or [self._first]
        # LiteLLM gives a last chunk of its own making (finish reason, usage) that it does not keep.
        given = [*chunks, self._last]
        facts: Facts = {"response_id": get(given[0], "id"), "response_model": get(given[0], "model")}
        facts["finish_reasons"] = _finish_reasons(given, self._invocation.facts.get("choice_count", 1))
        # What the caller is given may have LiteLLM's own count in the place of the provider's; what it puts together has not.
        kept = self._invocation.kept["chunks"] or chunks
        reported = [] if kept is self._own else access.column(kept, "usage")
        for usage in reported:
            # Some providers tell the input with the first chunk and the output with the last, and 0 for the other.
            told = read_usage(usage)
            facts.update({name: value for name, value in told.items() if value or name not in facts})
        # What some say at the beginning of an answer is no figure for one that was left.
        whole = complete or bool(facts["finish_reasons"])
        estimated = None
        if not whole or "usage_source" not in facts:
            with guarded("usage"):
                estimated = self._estimated(complete, given)
                facts.update(with_estimate(facts, estimated))
        with guarded("cost"):
            only = estimated if not reported else reported[0] if whole and len(reported) == 1 else None
            usage = only or self._rebuilt(complete) or usage_of(self._litellm, facts)
            facts.update(pricing.price_usage(self._litellm, self._invocation, facts["response_model"], usage))
        return clean(facts)

    def _estimated(self, complete: bool, chunks: list[Any]) -> Any:
        """LiteLLM's own figure where it has rebuilt the answer and counted, else its tokenizer's."""
        usage = self._rebuilt(complete)
        if usage is not None:
            return usage
        choices = [choice for chunk in chunks[:-1] for choice in get(chunk, "choices") or ()]
        text = "".join(str(first(choice, ("delta.content", "text")) or "") for choice in choices)
        return estimate_usage(self._litellm, self._invocation.kept["request"], text)

    def _rebuilt(self, complete: bool) -> Any:
        """The usage of the answer that LiteLLM has put together from all chunks, if it has."""
        usage = get(self._invocation.kept.get("rebuilt"), "usage") if complete else None
        return None if usage is None or is_zero(usage) else usage


def _finish_reasons(chunks: list[Any], choices: int) -> list[str]:
    """The last that each choice says, looked for from the end, where they are."""
    reasons: dict[int, str] = {}
    for chunk in reversed(chunks):
        for choice in peek(chunk, "choices") or ():
            reason = peek(choice, "finish_reason")
            if reason:
                reasons.setdefault(get(choice, "index") or 0, str(reason))
        if len(reasons) >= choices:
            break
    return [reasons[index] for index in sorted(reasons)]


class EventStream:
    """Streams whose events say something of the answer as a whole: the last that has a thing, has it.

    Args:
        read: what one event says of the answer.
        said: the piece of the answer that an event brings.
    """

    every = True

    def __init__(self, read: Callable[[Any], Facts], said: Callable[[Any], Any], litellm: Any, invocation: Invocation) -> None:
        self._read, self._said = read, said
        self._litellm = litellm
        self._invocation = invocation
        self._events = ServerSentEvents()
        self._facts: Facts = {}
        #: What an error among the events says, whatever the others say.
        self._failure: Facts = {}
        #: What was said, for an estimate of its tokens.
        self._pieces: list[str] = []

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""
        for event in self._events.of(chunk):
            if is_error(event):
                self._failure = {"response_status": gen_ai.RESPONSE_FAILED}
                continue
            self._facts.update(clean(self._read(event)))
            if isinstance(piece := self._said(event), str):
                self._pieces.append(piece)

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        facts, kept = self._facts, self._invocation.kept
        if not facts and not self._pieces:
            return self._failure
        # What some say at the beginning of an answer is no figure for one that was left.
        whole = (complete and not self._failure) or not facts.keys().isdisjoint(_AT_THE_END)
        if not whole or "output_tokens" not in facts:
            with guarded("usage"):
                facts.update(with_estimate(facts, estimate_usage(self._litellm, kept["request"], "".join(self._pieces))))
        elif kept.get("counted"):
            facts["usage_source"] = names.USAGE_ESTIMATED
        if "output_tokens" in facts:
            with guarded("cost"):
                usage = usage_of(self._litellm, facts)
                facts.update(pricing.price_usage(self._litellm, self._invocation, facts.get("response_model"), usage))
        return {**facts, **self._failure}


#: What only the last events say.
_AT_THE_END: Final = ("finish_reasons", "response_status")


def _told_of(reader: str, answer: Any) -> Facts:
    """What an event says that brings the ``answer`` as it is by then, if any."""
    facts = {} if answer is None else reading.RESPONSES[reader](answer)
    if facts.get("response_status") in interactions.UNFINISHED:
        del facts["response_status"]  # of the moment; a stream that is left says how it ended by itself
    return facts


def _responses_event(event: Any) -> Facts:
    return _told_of("responses", get(event, "response"))


def _interactions_event(event: Any) -> Facts:
    return _told_of("interactions", interactions.of_event(event))


def _responses_piece(event: Any) -> Any:
    kind = get(event, "type")
    return get(event, "delta") if str(getattr(kind, "value", kind)) in RESPONSE_DELTAS else None


def _messages_event(event: Any) -> Facts:
    message = get(event, "message")
    facts = {} if message is None else reading.RESPONSES["messages"](message)
    stop = get(event, "delta.stop_reason")
    if stop:
        facts["finish_reasons"] = [str(stop)]
    usage = get(event, "usage")
    if usage is not None:
        # The closing event tells the output; the input, where it repeats it, is no less than at the start.
        facts.update({name: value for name, value in read_usage(usage).items() if value})
    return facts


def _google_piece(chunk: Any) -> str:
    parts = [part for candidate in get(chunk, "candidates") or () for part in get(candidate, "content.parts") or ()]
    return "".join(text for part in parts if isinstance(text := get(part, "text"), str))


#: name in `wrap_points.Family.chunks` -> ``(litellm, invocation, stream) -> streams.ChunkReader``.
READERS: Final[dict[str, Callable[[Any, Invocation, Any], Any]]] = {
    "chat": ChatChunks,
    "responses": lambda litellm, call, _: EventStream(_responses_event, _responses_piece, litellm, call),
    "messages": lambda litellm, call, _: EventStream(_messages_event, lambda event: first(event, DELTAS), litellm, call),
    "generate_content": lambda litellm, call, _: EventStream(reading.RESPONSES["generate_content"], _google_piece, litellm, call),
    "interactions": lambda litellm, call, _: EventStream(_interactions_event, interactions.piece, litellm, call),
}


class NoChunks:
    """A stream that says nothing of its own: that of a logical call."""

    every = False

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        return {}

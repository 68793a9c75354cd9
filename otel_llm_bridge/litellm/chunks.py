"""Reads streams: what the chunks of each API say of the whole answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..guard import guarded
from ..semconv import litellm as names
from . import reading
from .reading import Facts, clean, first, get

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..invocation import Invocation


class ChatChunks:
    """Chat and text completions: LiteLLM's wrapper keeps the chunks itself, so nothing is kept twice."""

    def __init__(self, invocation: Invocation, stream: Any) -> None:
        self._kept = invocation.kept
        # The list, not the stream: the stream must be free to be collected.
        self._chunks = getattr(stream, "chunks", None)
        self._usage: Any = None
        self._first: Any = None
        self._last: Any = None

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""
        if self._first is None:
            self._first = chunk
        self._last = chunk

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        chunks = self._chunks or [chunk for chunk in (self._first, self._last) if chunk is not None]
        facts: Facts = {}
        reasons: dict[int, str] = {}
        usage = None
        for chunk in chunks:
            if "response_id" not in facts:
                facts["response_id"] = get(chunk, "id")
                facts["response_model"] = get(chunk, "model")
            usage = get(chunk, "usage") or usage
            for choice in get(chunk, "choices") or ():
                reason = get(choice, "finish_reason")
                if reason:
                    reasons[get(choice, "index") or 0] = str(reason)
        if self._last is not None and not reasons:
            # LiteLLM gives the reason in a chunk of its own, which it does not always keep.
            reasons.update(_reasons(self._last))
        if reasons:
            facts["finish_reasons"] = [reasons[index] for index in sorted(reasons)]
        rebuilt = self._kept.get("rebuilt")
        if usage is not None:
            facts.update(reading.read_usage(usage))
        elif complete and rebuilt is not None:
            facts.update(reading.read_usage(get(rebuilt, "usage"), names.USAGE_ESTIMATED))
        elif chunks:
            facts.update(_estimate(self._kept, chunks))
        facts.update(_cost(self._kept, rebuilt, complete))
        return clean(facts)


def _reasons(chunk: Any) -> dict[int, str]:
    found = {}
    for choice in get(chunk, "choices") or ():
        reason = get(choice, "finish_reason")
        if reason:
            found[get(choice, "index") or 0] = str(reason)
    return found


def _estimate(kept: dict[str, Any], chunks: list[Any]) -> Facts:
    """Tokens of a stream that was left early, by LiteLLM's default tokenizer.

    Not by the model's own: LiteLLM would fetch it from the network for some models.
    """
    count = kept.get("count_tokens")
    if count is None:
        return {}
    text = "".join(
        str(first(choice, ("delta.content", "text")) or "") for chunk in chunks for choice in get(chunk, "choices") or ()
    )
    facts: Facts = {"output_tokens": count(text=text), "usage_source": names.USAGE_ESTIMATED}
    messages = kept.get("messages")
    if isinstance(messages, list):
        facts["input_tokens"] = count(messages=messages)
    return facts


def _cost(kept: dict[str, Any], rebuilt: Any, complete: bool) -> Facts:
    """LiteLLM's cost of the answer that it rebuilt from the chunks."""
    logging_obj = kept.get("logging")
    if rebuilt is None or logging_obj is None or not complete:
        return {}
    calculate = first(logging_obj, ("response_cost_calculator", "_response_cost_calculator"))
    with guarded("stream cost"):
        return reading.read_cost(calculate(result=rebuilt)) if calculate else {}
    return {}


class EventStream:
    """Streams whose events say something of the answer as a whole: the last that has a thing, has it."""

    def __init__(self, read: Callable[[Any], Facts], invocation: Invocation) -> None:
        self._read = read
        self._kept = invocation.kept
        self._facts: Facts = {}

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""
        self._facts.update(clean(self._read(chunk)))

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        return self._facts


def _responses_event(event: Any) -> Facts:
    response = get(event, "response")
    return {} if response is None else reading.RESPONSES["responses"](response)


def _messages_event(event: Any) -> Facts:
    """One event of Anthropic's stream: an object, a mapping, or the bytes of server-sent events."""
    if isinstance(event, (bytes, str)):
        facts: Facts = {}
        text = event.decode("utf-8", "replace") if isinstance(event, bytes) else event
        for line in text.splitlines():
            if line.startswith("data:"):
                try:
                    facts.update(clean(_messages_event(json.loads(line[5:]))))
                except ValueError:
                    continue
        return facts
    message = get(event, "message")
    facts = {} if message is None else reading.RESPONSES["messages"](message)
    stop = get(event, "delta.stop_reason")
    if stop:
        facts["finish_reasons"] = [str(stop)]
    usage = get(event, "usage")
    if usage is not None:
        # The closing event tells the output; the input, where it repeats it, is the same as at the start.
        told = reading.read_usage(usage)
        facts.update({name: value for name, value in told.items() if value or name not in ("input_tokens",)})
    return facts


def _generate_content_event(chunk: Any) -> Facts:
    if isinstance(chunk, (bytes, str)):
        facts: Facts = {}
        text = chunk.decode("utf-8", "replace") if isinstance(chunk, bytes) else chunk
        for line in text.splitlines():
            if line.startswith("data:"):
                try:
                    facts.update(clean(_generate_content_event(json.loads(line[5:]))))
                except ValueError:
                    continue
        return facts
    return reading.RESPONSES["generate_content"](chunk)


READERS: Final[dict[str, Callable[[Invocation, Any], Any]]] = {
    "chat": ChatChunks,
    "responses": lambda invocation, _stream: EventStream(_responses_event, invocation),
    "messages": lambda invocation, _stream: EventStream(_messages_event, invocation),
    "generate_content": lambda invocation, _stream: EventStream(_generate_content_event, invocation),
}


class NoChunks:
    """A stream that says nothing of its own: that of a logical call."""

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        return {}

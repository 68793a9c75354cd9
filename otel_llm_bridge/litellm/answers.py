"""LiteLLM's responses and streams as output messages of the GenAI schemas."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, Final

from ..content import conversation as parts
from ..content.conversation import Message, Part
from ..guard import fault
from ..invocation import Invocation
from ..semconv import gen_ai
from ..streams import ChunkReader
from . import interactions
from .access import Facts, fields, first, get, peek
from .blocks import content, part
from .conversations import said_by_model
from .pieces import Pieces, message
from .server_sent import ServerSentEvents, is_error

# --- whole responses ----------------------------------------------------------------------------------


def _chat(response: Any) -> list[Message]:
    return [
        message(
            said_by_model(get(choice, "message")) if get(choice, "text") is None else content(get(choice, "text")),
            get(choice, "finish_reason"),
        )
        for choice in map(fields, get(response, "choices") or ())
    ]


def _responses(response: Any) -> list[Message]:
    found: list[Part] = []
    for item in get(response, "output") or ():
        found += content(get(item, "content")) if get(item, "type") == "message" else [part(item)]
    return [message(found, get(response, "status"))] if found else []


def _messages(response: Any) -> list[Message]:
    blocks = get(response, "content")
    return [message(content(blocks), get(response, "stop_reason"))] if blocks else []


def _generate_content(response: Any) -> list[Message]:
    candidates = get(response, "candidates")
    if candidates is None:
        return _chat(response)
    return [
        message(content(get(candidate, "content.parts")), first(candidate, ("finish_reason", "finishReason")))
        for candidate in candidates or ()
    ]


def _interactions(response: Any) -> list[Message]:
    found = interactions.said(response)
    return [message(found, get(response, "status"))] if found else []


def _images(response: Any) -> list[Message]:
    found = [
        parts.media("image", get(item, "url")) if get(item, "url") else parts.blob("image", get(item, "b64_json") or "")
        for item in get(response, "data") or ()
    ]
    return [message(found, "stop")] if found else []


def _results(response: Any) -> list[Message]:
    """Of a rerank or a moderation; the answers of an extraction."""
    found = first(response, ("results", "answers"))
    return [message([{"type": "generic", "content": parts.plain(found)}], "stop")] if found else []


def _plain(response: Any) -> list[Message]:
    """A text, the pages of a document, the results of a moderation, or sound."""
    data: Any = None
    with contextlib.suppress(Exception):  # the sound may not have been read yet
        data = get(response, "content")
    if isinstance(data, bytes):
        return [message([parts.blob("audio", data)], "stop")]
    text = get(response, "text")
    if isinstance(text, str):
        return [message(content(text), "stop")]
    pages = [str(get(page, "markdown") or "") for page in get(response, "pages") or ()]
    return [message(content(pages), "stop")] if pages else _results(response)


#: By the names of `reading.RESPONSES`. Of an embedding nothing is read: its vectors are data.
READERS: Final[dict[str, Callable[[Any], list[Message]]]] = {
    "chat": _chat,
    "embedding": lambda _response: [],
    "responses": _responses,
    "messages": _messages,
    "generate_content": _generate_content,
    "interactions": _interactions,
    "image": _images,
    "rerank": _results,
    "plain": _plain,
}


def read_response(reader: str, response: Any) -> list[Message]:
    """The output messages of ``response``."""
    return READERS.get(reader, _plain)(response)


# --- streams ------------------------------------------------------------------------------------------


def _chat_chunk(pieces: Pieces, chunk: Any) -> None:
    for choice in peek(chunk, "choices") or ():
        index, delta = peek(choice, "index") or 0, peek(choice, "delta")
        thought, said = peek(delta, "reasoning_content"), peek(delta, "content")
        said = peek(choice, "text") if said is None else said
        if isinstance(thought, str) and thought:
            pieces.add(index, "reasoning", "reasoning", thought)
        if isinstance(said, str) and said:
            pieces.add(index, "text", "text", said)
        for call in peek(delta, "tool_calls") or ():
            function = get(call, "function")
            at = ("tool", get(call, "index") or 0)
            pieces.add(index, at, "tool_call", get(function, "arguments"), get(function, "name"), get(call, "id"))
        if (function := peek(delta, "function_call")) is not None:  # the only call, before there were tool calls
            pieces.add(index, "function_call", "tool_call", get(function, "arguments"), get(function, "name"))
        pieces.finish(index, peek(choice, "finish_reason"))


#: Events of the Responses API that bring a piece of the answer -> what it is a piece of.
RESPONSE_DELTAS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool_call",
}


def _responses_event(pieces: Pieces, event: Any) -> None:
    kind = get(event, "type")
    kind = str(getattr(kind, "value", kind))
    if kind in ("response.completed", "response.incomplete", "response.failed"):
        pieces.replace(_responses(get(event, "response")))
    elif kind == "response.output_item.added" and get(event, "item.type") == "function_call":
        pieces.add(0, get(event, "output_index"), "tool_call", "", get(event, "item.name"), get(event, "item.call_id"))
    elif kind in RESPONSE_DELTAS:
        pieces.add(0, get(event, "output_index"), RESPONSE_DELTAS[kind], get(event, "delta"))


_BLOCKS: Final = {"text": "text", "thinking": "reasoning", "tool_use": "tool_call"}
#: Where events of Anthropic's API have a piece of the answer.
DELTAS: Final = ("delta.text", "delta.thinking", "delta.partial_json")


def _messages_event(pieces: Pieces, event: Any) -> None:
    kind = get(event, "type")
    if kind == "content_block_start":
        block = get(event, "content_block")
        pieces.add(0, get(event, "index"), _BLOCKS.get(str(get(block, "type")), "text"), "", get(block, "name"), get(block, "id"))
    elif kind == "content_block_delta":
        pieces.add(0, get(event, "index"), "text", first(event, DELTAS))
    elif kind == "message_delta":
        pieces.finish(0, get(event, "delta.stop_reason"))


def _google_chunk(pieces: Pieces, chunk: Any) -> None:
    if get(chunk, "candidates") is None:
        _chat_chunk(pieces, chunk)
    for number, candidate in enumerate(get(chunk, "candidates") or ()):
        for item in get(candidate, "content.parts") or ():
            call = first(item, ("function_call", "functionCall"))
            if call is not None:
                # A call comes whole: there is a new place for each.
                said = json.dumps(parts.plain(get(call, "args")))
                pieces.add(number, pieces.new_place(), "tool_call", said, get(call, "name"), get(call, "id"))
            elif isinstance(get(item, "text"), str):
                kind = "reasoning" if get(item, "thought") is True else "text"
                pieces.add(number, kind, kind, get(item, "text"))
        pieces.finish(number, first(candidate, ("finish_reason", "finishReason")))


def _unless_error(read: Callable[[Pieces, Any], None]) -> Callable[[Pieces, Any], None]:
    """``read`` for events, of which one may be an error."""

    def read_or_fail(pieces: Pieces, event: Any) -> None:
        if is_error(event):
            pieces.finish(0, gen_ai.RESPONSE_FAILED)
        else:
            read(pieces, event)

    return read_or_fail


#: By the names of `chunks.READERS`.
CHUNKS: Final[dict[str, Callable[[Pieces, Any], None]]] = {
    "chat": _chat_chunk,
    "responses": _unless_error(_responses_event),
    "messages": _unless_error(_messages_event),
    "generate_content": _unless_error(_google_chunk),
    "interactions": _unless_error(interactions.collect),
}


class CollectingReader:
    """A chunk reader that puts the answer together as well, for whoever records content.

    Args:
        reader: the one that reads the facts.
        api: name of the API, in `CHUNKS`.
        invocation: the call; its conversation is given the answer.
    """

    every = True

    def __init__(self, reader: ChunkReader, api: str, invocation: Invocation) -> None:
        self._reader = reader
        self._read = CHUNKS[api]
        self._invocation = invocation
        self._pieces = Pieces()
        self._events = ServerSentEvents()

    def feed(self, chunk: Any) -> None:
        """See `streams.ChunkReader`."""
        self._reader.feed(chunk)
        try:
            for event in self._events.of(chunk):
                self._read(self._pieces, event)
        except Exception as error:
            fault("content of a chunk", error)

    def close(self, complete: bool) -> Facts:
        """See `streams.ChunkReader`."""
        conversation = self._invocation.kept.get("conversation")
        if conversation is not None:
            conversation.output_messages = self._pieces.messages()
        return self._reader.close(complete)

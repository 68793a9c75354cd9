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
from ..streams import ChunkReader
from . import interactions
from .access import Facts, fields, first, get, peek
from .blocks import content, part
from .conversations import said_by_model
from .server_sent import ServerSentEvents

#: Finish reasons of the APIs -> those that the schema names.
_FINISH: Final = {
    "tool_calls": "tool_call", "function_call": "tool_call", "tool_use": "tool_call",
    "end_turn": "stop", "stop_sequence": "stop", "completed": "stop", "pause_turn": "stop", "eos": "stop",
    "max_tokens": "length", "incomplete": "length", "model_context_window_exceeded": "length",
    "safety": "content_filter", "refusal": "content_filter", "recitation": "content_filter",
    "prohibited_content": "content_filter", "blocklist": "content_filter",
    "failed": "error", "cancelled": "error", "requires_action": "tool_call", "budget_exceeded": "length",
}  # fmt: skip
#: The answer ended before the model said why.
_UNFINISHED: Final = "unknown"


def _answer(found: list[Part], finish: Any) -> Message:
    reason = str(getattr(finish, "value", finish) or _UNFINISHED).lower()
    return {"role": "assistant", "parts": found, "finish_reason": _FINISH.get(reason, reason)}


# --- whole responses ----------------------------------------------------------------------------------


def _chat(response: Any) -> list[Message]:
    return [
        _answer(
            said_by_model(get(choice, "message")) if get(choice, "text") is None else content(get(choice, "text")),
            get(choice, "finish_reason"),
        )
        for choice in map(fields, get(response, "choices") or ())
    ]


def _responses(response: Any) -> list[Message]:
    found: list[Part] = []
    for item in get(response, "output") or ():
        found += content(get(item, "content")) if get(item, "type") == "message" else [part(item)]
    return [_answer(found, get(response, "status"))] if found else []


def _messages(response: Any) -> list[Message]:
    blocks = get(response, "content")
    return [_answer(content(blocks), get(response, "stop_reason"))] if blocks else []


def _generate_content(response: Any) -> list[Message]:
    candidates = get(response, "candidates")
    if candidates is None:
        return _chat(response)
    return [
        _answer(content(get(candidate, "content.parts")), first(candidate, ("finish_reason", "finishReason")))
        for candidate in candidates or ()
    ]


def _interactions(response: Any) -> list[Message]:
    found = interactions.said(response)
    return [_answer(found, get(response, "status"))] if found else []


def _images(response: Any) -> list[Message]:
    found = [
        parts.media("image", get(item, "url")) if get(item, "url") else parts.blob("image", get(item, "b64_json") or "")
        for item in get(response, "data") or ()
    ]
    return [_answer(found, "stop")] if found else []


def _rerank(response: Any) -> list[Message]:
    results = get(response, "results")
    return [_answer([{"type": "generic", "content": parts.plain(results)}], "stop")] if results else []


def _plain(response: Any) -> list[Message]:
    """A text, the pages of a document, the results of a moderation, or sound."""
    data: Any = None
    with contextlib.suppress(Exception):  # the sound may not have been read yet
        data = get(response, "content")
    if isinstance(data, bytes):
        return [_answer([parts.blob("audio", data)], "stop")]
    text = get(response, "text")
    if isinstance(text, str):
        return [_answer(content(text), "stop")]
    pages = [str(get(page, "markdown") or "") for page in get(response, "pages") or ()]
    return [_answer(content(pages), "stop")] if pages else _rerank(response)


#: By the names of `reading.RESPONSES`. Of an embedding nothing is read: its vectors are data.
READERS: Final[dict[str, Callable[[Any], list[Message]]]] = {
    "chat": _chat,
    "embedding": lambda _response: [],
    "responses": _responses,
    "messages": _messages,
    "generate_content": _generate_content,
    "interactions": _interactions,
    "image": _images,
    "rerank": _rerank,
    "plain": _plain,
}


def read_response(reader: str, response: Any) -> list[Message]:
    """The output messages of ``response``."""
    return READERS.get(reader, _plain)(response)


# --- streams ------------------------------------------------------------------------------------------


class _Block:
    """One block of an answer while its pieces come in."""

    __slots__ = ("call_id", "kind", "name", "pieces")

    def __init__(self, kind: str, name: Any, call_id: Any) -> None:
        self.kind, self.name, self.call_id = kind, name, call_id
        self.pieces: list[str] = []

    def part(self) -> Part:
        said = "".join(self.pieces)
        if self.kind == "tool_call":
            return parts.tool_call(self.name, said, self.call_id)
        return (parts.reasoning if self.kind == "reasoning" else parts.text)(said)


class Pieces:
    """Puts the pieces of a streamed answer together: blocks by place, within choices by place."""

    def __init__(self) -> None:
        self._choices: dict[Any, list[_Block]] = {}
        self._at: dict[tuple[Any, Any], _Block] = {}
        self._finish: dict[Any, Any] = {}
        self._whole: list[Message] | None = None

    def add(self, choice: Any, place: Any, kind: str, piece: Any = "", name: Any = None, call_id: Any = None) -> None:
        """One piece of one block. A call with a name and an id of its own is another one: some APIs number all of them 0."""
        block = self._at.get((choice, place))
        if block is None or (name and call_id and block.call_id not in (None, call_id)):
            block = self._at[choice, place] = _Block(kind, name, call_id)
            self._choices.setdefault(choice, []).append(block)
        block.name, block.call_id = block.name or name, block.call_id or call_id
        if piece:
            block.pieces.append(str(piece))

    def new_place(self) -> int:
        """A place that no block has."""
        return sum(map(len, self._choices.values()))

    def finish(self, choice: Any, reason: Any) -> None:
        """Why a choice ended."""
        if reason:
            self._choices.setdefault(choice, [])
            self._finish[choice] = reason

    def replace(self, whole: list[Message]) -> None:
        """The API has repeated the whole answer at its end."""
        self._whole = whole

    def messages(self) -> list[Message]:
        """The answer as far as it came."""
        if self._whole:
            return self._whole
        return [
            _answer([block.part() for block in blocks if block.pieces or block.name], self._finish.get(choice))
            for choice, blocks in self._choices.items()
        ]


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


#: By the names of `chunks.READERS`.
CHUNKS: Final[dict[str, Callable[[Pieces, Any], None]]] = {
    "chat": _chat_chunk,
    "responses": _responses_event,
    "messages": _messages_event,
    "generate_content": _google_chunk,
    "interactions": interactions.collect,
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

"""What the fake provider has to say to a request, before it is written down in the form of one API.

Everything follows from the request alone, so that a test can tell the answer and its figures in advance.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .provider_behaviours import Behaviour

_ANSWERS: Final = (
    "The capital of France is Paris, on the river Seine.",
    "Water boils at one hundred degrees Celsius at sea level.",
    "A trace is a tree of spans that share one trace id.",
    "Loopback traffic never leaves the machine that it starts on.",
    "Seven times eight makes fifty-six, as it always has.",
    "The weather is fine, with eighteen degrees in the shade.",
    "Yes, there is somebody; what answers is a fake provider.",
)
_FILLER: Final = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_REASONING: Final = "First I read the question, then I recall the fact, then I answer it."
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
#: Where the texts of a request are, in every API that the provider speaks.
_PROMPT_KEYS: Final = ("system", "systemInstruction", "system_instruction", "instructions", "messages", "prompt", "input", "contents", "query", "documents", "state")
_TEXT_KEYS: Final = ("text", "content", "parts", "output")


def tokens(text: str) -> int:
    """Number of tokens by the provider's own count: a word or a mark is one token."""
    return len(_TOKEN.findall(text))


def texts(value: Any) -> Iterator[str]:
    """Every text within a part of a request, in order; images and other data are passed over."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, Mapping):
        for key in _TEXT_KEYS:
            yield from texts(value.get(key))


def prompt_of(body: Mapping[str, Any]) -> str:
    """Everything that the caller said, as one text."""
    return "\n".join(text for key in _PROMPT_KEYS for text in texts(body.get(key)))


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """One call of one of the caller's functions; the arguments are JSON."""

    id: str
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True)
class Reply:
    """One answer, with the figures of a bill."""

    texts: tuple[str, ...]
    reasoning: str
    tool: ToolCall | None
    prompt_tokens: int
    #: Part of `prompt_tokens`.
    cached_tokens: int
    #: Part of `prompt_tokens`; only Anthropic bills it.
    cache_written_tokens: int
    completion_tokens: int
    #: Part of `completion_tokens`.
    reasoning_tokens: int

    @property
    def text(self) -> str:
        """The first answer; empty when a tool is called instead."""
        return self.texts[0]

    @property
    def pieces(self) -> list[str]:
        """The first answer as a stream sends it: word by word."""
        return pieces(self.text)


def pieces(text: str) -> list[str]:
    """``text``, cut after each blank: joined they are the text again."""
    return re.findall(r"\S+\s*|\s+", text)


def compose(body: Mapping[str, Any], behaviour: Behaviour) -> Reply:
    """The answer to the request ``body``; tools that are offered to a user's last word are called."""
    prompt = prompt_of(body)
    tool = _tool_call(body, behaviour, prompt)
    count = int(body.get("n") or 1)
    answers = ("",) * count if tool else tuple(_answer(prompt, behaviour, index) for index in range(count))
    reasoning = _REASONING if behaviour.reasoning else ""
    written = sum(map(tokens, answers)) + (tokens(tool.arguments) + 1 if tool else 0)
    read = tokens(prompt)
    return Reply(
        texts=answers,
        reasoning=reasoning,
        tool=tool,
        prompt_tokens=read,
        cached_tokens=read // 4,
        cache_written_tokens=read // 8,
        completion_tokens=written + tokens(reasoning),
        reasoning_tokens=tokens(reasoning),
    )


def _answer(prompt: str, behaviour: Behaviour, index: int) -> str:
    if behaviour.echo:
        return f"You said: {prompt}"
    if behaviour.words is not None:
        return " ".join(_FILLER[number % len(_FILLER)] for number in range(behaviour.words))
    asked = _words(prompt)
    best = max(range(len(_ANSWERS)), key=lambda number: len(asked & _words(_ANSWERS[number])))
    return _ANSWERS[(best + index) % len(_ANSWERS)]


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def _tool_call(body: Mapping[str, Any], behaviour: Behaviour, prompt: str) -> ToolCall | None:
    offered: list[Mapping[str, Any]] = [*_functions(body.get("tools") or ())]
    if not behaviour.tool and not (offered and _user_spoke_last(body) and body.get("tool_choice") != "none"):
        return None
    function: Mapping[str, Any] = offered[0] if offered else {"name": "get_weather"}
    schema: Mapping[str, Any] = function.get("parameters") or function.get("input_schema") or {}
    named = schema.get("properties") or {"city": {"type": "string"}}
    values: dict[str, Any] = {"string": prompt if behaviour.echo else "Paris", "integer": 3, "number": 1.5, "boolean": True, "array": [], "object": {}}
    arguments = {name: values.get(str(kind.get("type", "string")).lower()) for name, kind in named.items()}
    return ToolCall(f"call_{zlib.crc32(prompt.encode()):08x}", function["name"], json.dumps(arguments))


def _functions(tools: Any) -> Iterator[Mapping[str, Any]]:
    """The functions that are offered, in the four spellings of chat, responses, Anthropic and Google."""
    for tool in tools:
        yield from tool.get("functionDeclarations") or ([tool["function"]] if "function" in tool else [tool] if "name" in tool else [])


def _user_spoke_last(body: Mapping[str, Any]) -> bool:
    said = body.get("messages") or body.get("contents") or body.get("input")
    if not isinstance(said, list):
        return bool(said)
    last = said[-1]
    parts = last.get("content") or last.get("parts")
    answered = isinstance(parts, list) and any(part.get("type") == "tool_result" or "functionResponse" in part for part in parts)
    return last.get("role", "user" if last.get("type") == "message" else "") == "user" and not answered


@dataclasses.dataclass(frozen=True)
class Call:
    """One request, and what there is to say to it."""

    number: int
    model: str
    body: Mapping[str, Any]
    behaviour: Behaviour
    reply: Reply

    @property
    def id(self) -> str:
        """The end of every id in the answer; it counts the requests of this provider."""
        return f"{self.number:06d}"

    def wants(self, *keys: str) -> bool:
        """Whether the request says yes to the option under ``keys``, one inside the other."""
        value: Any = self.body
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value in (True, "true", "True")


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer as bytes: a body, or the chunks of a stream."""

    body: bytes = b""
    content_type: str = "application/json"
    chunks: tuple[bytes, ...] | None = None


def json_answer(value: Any) -> Answer:
    """``value`` as the JSON body of a plain answer."""
    return Answer(json.dumps(value).encode())


def data_event(value: Any) -> bytes:
    """``value`` as one server-sent event without a name."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def named_event(value: Mapping[str, Any]) -> bytes:
    """``value`` as one server-sent event that is named by its ``type``."""
    return f"event: {value['type']}\n".encode() + data_event(value)


def stream_answer(*chunks: bytes) -> Answer:
    """Server-sent events, each a chunk of its own."""
    return Answer(content_type="text/event-stream; charset=utf-8", chunks=chunks)

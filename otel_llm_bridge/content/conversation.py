"""A conversation in the parts of the GenAI message schemas, copied at the moment of the call.

Source: gen-ai-input-messages.json, gen-ai-output-messages.json, gen-ai-system-instructions.json and
gen-ai-tool-definitions.json of open-telemetry/semantic-conventions-genai.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..lazy import keep

Part = dict[str, Any]
Message = dict[str, Any]

#: Deeper than any message of a real API, and shallow enough for every JSON reader.
_MAX_DEPTH: Final = 32
_DATA_URL: Final = re.compile(r"data:([\w.+\-]+/[\w.+\-]+)?(?:;[\w=.+\-]+)*?;base64,([A-Za-z0-9+/=_\-\s]*)")
#: Text this long without a blank, of base64's letters only, is data and not language.
_DATA: Final = 1024
_BASE64: Final = re.compile(rf"[A-Za-z0-9+/_\-\r\n]{{{_DATA},}}={{0,2}}")


@dataclass
class Conversation:
    """What one call said, as plain JSON values that nobody else holds.

    The fields have the names of the facts in `semconv.content.CONTENT`.
    """

    system_instructions: list[Part] = field(default_factory=list)
    input_messages: list[Message] = field(default_factory=list)
    output_messages: list[Message] = field(default_factory=list)
    tool_definitions: list[dict[str, Any]] = field(default_factory=list)
    #: Texts that must not be recorded in any mode: the keys that the call was made with.
    secrets: tuple[str, ...] = ()

    def documents(self) -> dict[str, list[Any]]:
        """What is there, by the name of its fact."""
        found = {
            "system_instructions": self.system_instructions,
            "input_messages": self.input_messages,
            "output_messages": self.output_messages,
            "tool_definitions": self.tool_definitions,
        }
        return {name: value for name, value in found.items() if value}


class TextMessage(dict[str, Any]):
    """A message that is nothing but one text, made by `short_text`. Shared: whoever wants to change it makes a copy.

    Attributes:
        told: what a policy made of it last: its mark (which policy, knowing which keys), and JSON text.
    """

    __slots__ = ("told",)

    def __init__(self, role: str, content: str) -> None:
        super().__init__(role=role, parts=[text(content)])
        self.told: tuple[object, str] = (None, "")


#: Characters of a text that is remembered: those of a history come again with each of its calls.
SHORT: Final = 4096
_PLAIN_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})


def _short(role: Any, content: Any) -> TextMessage:
    if type(role) is str and role in _PLAIN_ROLES and type(content) is str and 0 < len(content) <= SHORT:
        return TextMessage(role, content)
    raise ValueError("nothing but a short text")


class _ShortTexts(dict[tuple[str, str], TextMessage]):
    """Those that came last. Not `lru_cache`: a history asks for hundreds with each call, and this way twice as fast."""

    def __missing__(self, said: tuple[Any, Any]) -> TextMessage:
        return keep(self, said, _short(*said), _REMEMBERED)


_REMEMBERED: Final = 512
#: ``(role, content)`` -> a message of that text, the same object each time.
#:
#: Raises:
#:     TypeError, ValueError: the role is not one that says a plain text, or there is no text no longer than `SHORT`.
short_text: Final[Callable[[tuple[Any, Any]], TextMessage]] = _ShortTexts().__getitem__


def text(content: Any) -> Part:
    """A part of plain text."""
    return {"type": "text", "content": str(plain(content))}


def reasoning(content: Any) -> Part:
    """A part of the model's thinking."""
    return {"type": "reasoning", "content": str(plain(content))}


def tool_call(name: Any, arguments: Any, call_id: Any = None) -> Part:
    """The model asks for a tool. Arguments that are JSON text are recorded as what they say."""
    return _with_id(call_id, {"type": "tool_call", "name": str(name or ""), "arguments": plain(parsed(arguments))})


def tool_response(response: Any, call_id: Any = None) -> Part:
    """What a tool answered."""
    return _with_id(call_id, {"type": "tool_call_response", "response": plain(parsed(response))})


def media(modality: str, source: Any, mime_type: str | None = None) -> Part:
    """An image, a sound, a document: by its address, or by type, size and hash when it is the data itself."""
    if isinstance(source, str) and not source.startswith("data:"):
        return _without_none({"type": "uri", "modality": modality, "mime_type": mime_type, "uri": source})
    return blob(modality, source, mime_type)


def blob(modality: str, data: Any, mime_type: str | None = None) -> Part:
    """Data in place: never recorded, only what it was."""
    found = fingerprint(data)
    return {
        "type": "blob",
        "modality": modality,
        "mime_type": mime_type or found["mime_type"],
        "content": "",
        "size": found["size"],
        "sha256": found["sha256"],
    }


def file(modality: str, file_id: Any) -> Part:
    """A file that was uploaded before."""
    return {"type": "file", "modality": modality, "file_id": str(file_id)}


def fingerprint(data: Any) -> dict[str, Any]:
    """Type, size in bytes and SHA-256 of ``data``: bytes, base64 text or a data URL."""
    mime_type: str | None = None
    if isinstance(data, str):
        if (url := _DATA_URL.match(data)) is not None:
            mime_type, data = url[1], url[2]
        data = _decoded(data)
    raw = bytes(data) if isinstance(data, (bytes, bytearray, memoryview)) else repr(type(data)).encode()
    return {"mime_type": mime_type, "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data.translate(_URL_SAFE) + "==", validate=False)
    except (binascii.Error, ValueError):
        return data.encode("utf-8", "replace")


_URL_SAFE: Final = str.maketrans("-_", "+/")


def parsed(value: Any) -> Any:
    """The value that JSON text stands for, when it is an object or an array; everything else as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def plain(value: Any, depth: int = 0) -> Any:
    """A copy of ``value`` in JSON's types. Data in it is replaced by its type, size and hash."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124 - a NaN is not
    if isinstance(value, str):
        return _without_data(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _note(fingerprint(value))
    if depth >= _MAX_DEPTH:
        return f"[{type(value).__name__}]"
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return plain(dump(exclude_none=True), depth + 1)
    schema = getattr(value, "model_json_schema", None)
    if callable(schema):
        return plain(schema(), depth + 1)
    return f"[{type(value).__name__}]"


def _without_data(value: str) -> str:
    if "base64," in value:
        value = _DATA_URL.sub(lambda url: _note(fingerprint(url[0])), value)
    if len(value) >= _DATA and _has_a_long_word(value):
        value = _BASE64.sub(lambda data: _note(fingerprint(data[0])), value)
    return value


def _has_a_long_word(value: str) -> bool:
    """Whether `_BASE64` may match: what it matches covers one of these pieces, and a blank in each says that it does not."""
    step = _DATA // 2
    return any(" " not in value[start : start + step] for start in range(0, len(value) - step + 1, step))


def _note(found: dict[str, Any]) -> str:
    return f"[{found['mime_type'] or 'data'}, {found['size']} bytes, sha256 {found['sha256']}]"


def _with_id(call_id: Any, part: Part) -> Part:
    return {**part, "id": str(call_id)} if call_id else part


def _without_none(part: Part) -> Part:
    return {name: value for name, value in part.items() if value is not None}


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a plain ``value`` with ``change`` made to every text in it, keys of objects included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): each_text(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [each_text(item, change) for item in value]
    return value

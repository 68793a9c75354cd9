"""Content blocks of the APIs that LiteLLM speaks, as parts of the GenAI message schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..content import conversation as parts
from ..content.conversation import Part
from .access import first, get


def part(item: Any) -> Part:
    """One content block of any of the APIs."""
    if isinstance(item, str):
        return parts.text(item)
    read = _PARTS.get(str(get(item, "type")))
    if read is None:
        read = next((reader for name, reader in _GOOGLE_PARTS.items() if get(item, name) is not None), _generic)
    return read(item)


def content(value: Any) -> list[Part]:
    """The parts of a message's ``content``: a text, or a list of blocks."""
    if value is None or value == "":
        return []
    return [part(item) for item in (value if isinstance(value, (list, tuple)) else [value])]


def _generic(item: Any) -> Part:
    return {"type": "generic", "content": parts.plain(item)}


def _text(item: Any) -> Part:
    return parts.text(first(item, ("text", "refusal", "content")) or "")


def image_url(item: Any) -> Part:
    """An image by its address, or by what its data is."""
    return parts.media("image", first(item, ("image_url.url", "image_url")))


def _input_file(modality: str, *names: str) -> Callable[[Any], Part]:
    """A file by its id, its address or its data; never by its name."""

    def read(item: Any) -> Part:
        inner = next((found for found in (get(item, name) for name in names) if isinstance(found, Mapping)), item)
        file_id = get(inner, "file_id")
        if file_id is not None:
            return parts.file(modality, file_id)
        source = first(inner, ("url", "file_url", "image_url", "file_data", "data"))
        kind = get(inner, "format")
        return parts.media(modality, source) if kind is None else parts.blob(modality, source, f"{modality}/{kind}")

    return read


def _in_place(modality: str, item: Any) -> Part:
    """Google's Interactions API has the data, or its address, in the block itself."""
    kind = get(item, "mime_type")
    return parts.media(modality, get(item, "uri"), kind) if get(item, "uri") else parts.blob(modality, get(item, "data") or "", kind)


def _anthropic_source(modality: str) -> Callable[[Any], Part]:
    def read(item: Any) -> Part:
        source = get(item, "source")
        if source is None:
            return _in_place(modality, item)
        match get(source, "type"):
            case "url":
                return parts.media(modality, get(source, "url"), get(source, "media_type"))
            case "file":
                return parts.file(modality, get(source, "file_id"))
            case "text":
                return parts.text(get(source, "data"))
            case "content":
                return {"type": "generic", "content": [part(inner) for inner in get(source, "content") or ()]}
        return parts.blob(modality, get(source, "data") or "", get(source, "media_type"))

    return read


def _google_data(item: Any) -> Part:
    data = first(item, ("inline_data", "inlineData"))
    mime_type = str(first(data, ("mime_type", "mimeType")) or "application/octet-stream")
    return parts.blob(_modality(mime_type), get(data, "data"), mime_type)


def _google_file(item: Any) -> Part:
    data = first(item, ("file_data", "fileData"))
    mime_type = str(first(data, ("mime_type", "mimeType")) or "")
    return parts.media(_modality(mime_type), str(first(data, ("file_uri", "fileUri"))), mime_type or None)


def _google_text(item: Any) -> Part:
    return (parts.reasoning if get(item, "thought") is True else parts.text)(get(item, "text"))


def _google_call(item: Any) -> Part:
    call = first(item, ("function_call", "functionCall"))
    return parts.tool_call(get(call, "name"), get(call, "args"), get(call, "id"))


def _google_response(item: Any) -> Part:
    answer = first(item, ("function_response", "functionResponse"))
    return parts.tool_response(get(answer, "response"), get(answer, "id") or get(answer, "name"))


def _modality(mime_type: str) -> str:
    kind = mime_type.partition("/")[0]
    return kind if kind in ("image", "video", "audio") else "document"


def tool_result(item: Any) -> Part:
    """What a tool answered, of a block or a message."""
    inner = get(item, "content")
    found = content(inner)
    only_text = len(found) == 1 and found[0]["type"] == "text"
    return parts.tool_response(found[0]["content"] if only_text else found, get(item, "tool_use_id"))


def _responses_reasoning(item: Any) -> Part:
    said = [*(get(item, "summary") or ()), *(get(item, "content") or ())]
    return parts.reasoning("\n".join(str(get(piece, "text") or "") for piece in said))


#: ``type`` of a block -> its reader: OpenAI's chat and Responses APIs, Anthropic's messages, Google's interactions.
_PARTS: Final[dict[str, Callable[[Any], Part]]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "refusal"), _text),
    "image_url": image_url,
    "input_image": _input_file("image"),
    "input_audio": _input_file("audio", "input_audio"),
    "video_url": _input_file("video", "video_url"),
    "document_url": lambda item: parts.media("document", get(item, "document_url")),
    "file": _input_file("document", "file"),
    "input_file": _input_file("document"),
    "image": _anthropic_source("image"),
    "document": _anthropic_source("document"),
    "thinking": lambda item: parts.reasoning(get(item, "thinking")),
    "redacted_thinking": lambda item: parts.reasoning("[encrypted]"),
    "tool_use": lambda item: parts.tool_call(get(item, "name"), get(item, "input"), get(item, "id")),
    "tool_result": tool_result,
    "function_call": lambda item: parts.tool_call(get(item, "name"), get(item, "arguments"), first(item, ("call_id", "id"))),
    "function_call_output": lambda item: parts.tool_response(get(item, "output"), get(item, "call_id")),
    "reasoning": _responses_reasoning,
    "audio": _anthropic_source("audio"),
    "video": _anthropic_source("video"),
    "thought": _responses_reasoning,
    "function_result": lambda item: parts.tool_response(get(item, "result"), get(item, "call_id")),
}
#: The member that says what a part of Google's API is -> its reader.
_GOOGLE_PARTS: Final[dict[str, Callable[[Any], Part]]] = {
    "text": _google_text,
    **dict.fromkeys(("inline_data", "inlineData"), _google_data),
    **dict.fromkeys(("file_data", "fileData"), _google_file),
    **dict.fromkeys(("function_call", "functionCall"), _google_call),
    **dict.fromkeys(("function_response", "functionResponse"), _google_response),
}

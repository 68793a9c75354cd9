"""LiteLLM's requests, in the APIs that it speaks, as conversations in the GenAI message schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from ..content import conversation as parts
from ..content.conversation import Conversation, Message, Part
from .access import first, get

#: Arguments whose texts are keys, whatever they look like.
_SECRET: Final = re.compile(r"(?i)key|token|secret|password|credential|authorization|cookie")


def read_request(request: Mapping[str, Any]) -> Conversation:
    """What ``request`` says, copied: the caller may change its lists as soon as the call has begun."""
    conversation = Conversation(secrets=secrets_of(request))
    for argument, read in _REQUEST.items():
        value = request.get(argument)
        if value is not None:
            read(conversation, value)
    return conversation


def secrets_of(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that a call is made with."""
    found: set[str] = set()
    for values in (request, *(request.get(name) for name in ("headers", "extra_headers", "default_headers"))):
        if isinstance(values, Mapping):
            for name, value in values.items():
                if isinstance(value, str) and isinstance(name, str) and _is_secret(name):
                    found.update((value, value.rpartition(" ")[2]))
    return tuple(sorted(found, key=len, reverse=True))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


# --- parts --------------------------------------------------------------------------------------------


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


def _image_url(item: Any) -> Part:
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


def _anthropic_source(modality: str) -> Callable[[Any], Part]:
    def read(item: Any) -> Part:
        source = get(item, "source")
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


def _tool_result(item: Any) -> Part:
    inner = get(item, "content")
    found = content(inner)
    only_text = len(found) == 1 and found[0]["type"] == "text"
    return parts.tool_response(found[0]["content"] if only_text else found, get(item, "tool_use_id"))


def _responses_reasoning(item: Any) -> Part:
    said = [*(get(item, "summary") or ()), *(get(item, "content") or ())]
    return parts.reasoning("\n".join(str(get(piece, "text") or "") for piece in said))


#: ``type`` of a block -> its reader: OpenAI's chat and Responses APIs, Anthropic's messages.
_PARTS: Final[dict[str, Callable[[Any], Part]]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "refusal"), _text),
    "image_url": _image_url,
    "input_image": _input_file("image"),
    "input_audio": _input_file("audio", "input_audio"),
    "video_url": _input_file("video", "video_url"),
    "file": _input_file("document", "file"),
    "input_file": _input_file("document"),
    "image": _anthropic_source("image"),
    "document": _anthropic_source("document"),
    "thinking": lambda item: parts.reasoning(get(item, "thinking")),
    "redacted_thinking": lambda item: parts.reasoning("[encrypted]"),
    "tool_use": lambda item: parts.tool_call(get(item, "name"), get(item, "input"), get(item, "id")),
    "tool_result": _tool_result,
    "function_call": lambda item: parts.tool_call(get(item, "name"), get(item, "arguments"), get(item, "call_id")),
    "function_call_output": lambda item: parts.tool_response(get(item, "output"), get(item, "call_id")),
    "reasoning": _responses_reasoning,
}
#: The member that says what a part of Google's API is -> its reader.
_GOOGLE_PARTS: Final[dict[str, Callable[[Any], Part]]] = {
    "text": _google_text,
    **dict.fromkeys(("inline_data", "inlineData"), _google_data),
    **dict.fromkeys(("file_data", "fileData"), _google_file),
    **dict.fromkeys(("function_call", "functionCall"), _google_call),
    **dict.fromkeys(("function_response", "functionResponse"), _google_response),
}

# --- messages -----------------------------------------------------------------------------------------


def said_by_model(message: Any) -> list[Part]:
    """The parts of a chat message of the model: thinking, words, tool calls."""
    thought = get(message, "reasoning_content")
    found = [parts.reasoning(thought)] if thought else []
    found += content(get(message, "content"))
    calls = list(get(message, "tool_calls") or ())
    if get(message, "function_call") is not None:
        calls.append({"function": get(message, "function_call")})
    found += [
        parts.tool_call(get(call, "function.name"), get(call, "function.arguments"), get(call, "id")) for call in calls
    ]
    if (data := get(message, "audio.data")) is not None:
        found.append(parts.blob("audio", data))
    found += [_image_url(image) for image in get(message, "images") or ()]
    return found


def _message(message: Any) -> Message:
    if type(message) is dict and message.keys() == _ROLE_AND_CONTENT:  # nearly all are, and histories are long
        role, content_ = message["role"], message["content"]
        if type(role) is str and role in _PLAIN_ROLES and type(content_) is str and content_:
            return parts.said(role, content_)
    return _any_message(message)


_ROLE_AND_CONTENT: Final = {"role", "content"}
_PLAIN_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})


def _any_message(message: Any) -> Message:
    role = str(get(message, "role") or "user")
    kind = str(get(message, "type"))
    if kind in ("function_call", "reasoning"):  # items of the Responses API that have no role
        return {"role": "assistant", "parts": [part(message)]}
    if kind == "function_call_output":
        return {"role": "tool", "parts": [part(message)]}
    if role == "tool" or (role == "function" and get(message, "name")):
        found = [_tool_result({"content": get(message, "content"), "tool_use_id": get(message, "tool_call_id")})]
    else:
        found = content(get(message, "parts")) if get(message, "parts") is not None else said_by_model(message)
    name = get(message, "name")
    done: Message = {"role": "assistant" if role == "model" else role, "parts": found}
    return {**done, "name": str(name)} if name else done


def _messages(conversation: Conversation, value: Any) -> None:
    if isinstance(value, (str, Mapping)) or not isinstance(value, (list, tuple)):
        value = [value]
    conversation.input_messages += [_said(item) if isinstance(item, str) else _message(item) for item in value]


def _said(text: Any) -> Message:
    return parts.said("user", str(text))


def _texts(conversation: Conversation, value: Any) -> None:
    """A prompt, or several; a list of numbers is one prompt that the caller has made tokens of."""
    values = value if isinstance(value, (list, tuple)) else [value]
    if values and all(isinstance(item, int) for item in values):
        values = [f"[{len(values)} tokens]"]
    conversation.input_messages += [
        _message(item) if isinstance(item, Mapping) and "role" in item else {"role": "user", "parts": [part(item)]}
        for item in values
    ]


def _input(conversation: Conversation, value: Any) -> None:
    """``input`` is a text, texts to embed or to moderate, or the items of the Responses API."""
    items = value if isinstance(value, (list, tuple)) else ()
    if any(get(item, "role") is not None or get(item, "type") in _ITEMS for item in items):
        _messages(conversation, value)
    else:
        _texts(conversation, value)


_ITEMS: Final = frozenset({"message", "function_call", "function_call_output", "reasoning"})


def _system(conversation: Conversation, value: Any) -> None:
    inner = get(value, "parts")
    conversation.system_instructions += content(inner if inner is not None else value)


def _config(conversation: Conversation, value: Any) -> None:
    """What Google's API has in its configuration."""
    for names, read in ((("system_instruction", "systemInstruction"), _system), (("tools",), _tools)):
        found = first(value, names)
        if found is not None:
            read(conversation, found)


def _data(modality: str) -> Callable[[Conversation, Any], None]:
    def read(conversation: Conversation, value: Any) -> None:
        items = value if isinstance(value, list) else [value]
        data = [item[1] if isinstance(item, tuple) and len(item) > 1 else item for item in items]
        found = [parts.blob(modality, item) for item in data if isinstance(item, (bytes, bytearray))]
        if found:
            conversation.input_messages.append({"role": "user", "parts": found})

    return read


def _tools(conversation: Conversation, value: Any) -> None:
    if not isinstance(value, (list, tuple)):
        return
    for tool in value:
        declared = first(tool, ("function_declarations", "functionDeclarations"))
        for one in declared if isinstance(declared, (list, tuple)) else [tool]:
            conversation.tool_definitions.append(_tool(one))


def _tool(tool: Any) -> dict[str, Any]:
    inner = get(tool, "function")
    source = tool if inner is None else inner
    parameters = first(source, ("parameters", "input_schema", "parameters_json_schema"))
    kind = str(get(tool, "type") or "function")
    if kind == "custom" and parameters is not None:  # Anthropic's word for a function
        kind = "function"
    done = {"type": kind, "name": str(get(source, "name") or kind)}
    if get(source, "description"):
        done["description"] = parts.plain(str(get(source, "description")))
    if parameters is not None:
        done["parameters"] = parts.plain(parameters)
    return done


#: Argument of any of LiteLLM's functions -> what it says.
_REQUEST: Final[dict[str, Callable[[Conversation, Any], None]]] = {
    "system": _system,
    "instructions": _system,
    "systemInstruction": _system,
    "messages": _messages,
    "prompt": _texts,
    "input": _input,
    "contents": _messages,
    "query": _texts,
    "documents": _texts,
    "config": _config,
    "image": _data("image"),
    "file": _data("audio"),
    "tools": _tools,
    "functions": _tools,
}

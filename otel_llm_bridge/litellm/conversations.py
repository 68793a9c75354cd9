"""LiteLLM's requests, in the APIs that it speaks, as conversations in the GenAI message schemas."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from ..content import conversation as parts
from ..content.conversation import Conversation, Message, Part, TextMessage
from .access import fields, first, get
from .blocks import content, image_url, part, tool_result

#: Arguments whose texts are keys, whatever they look like.
_SECRET: Final = re.compile(r"(?i)key|token|secret|password|credential|authorization|cookie")


def read_request(request: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Conversation:
    """What ``request`` says, copied: the caller may change its lists as soon as the call has begun."""
    conversation = Conversation(secrets=secrets)
    for argument, read in _REQUEST.items():
        value = request.get(argument)
        if value is not None:
            read(conversation, value)
    return conversation


def texts_of(request: Mapping[str, Any]) -> list[str]:
    """The texts that ``request`` asks with, one for each message: to count their tokens."""
    asked = read_request(request)
    messages = [asked.system_instructions, *(message["parts"] for message in asked.input_messages)]
    return ["".join(str(part.get("content") or "") for part in said) for said in messages if said]


def secrets_of(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that a call is made with."""
    found: set[str] = set()
    for values in (request, *map(request.get, _HEADERS)):
        if values and isinstance(values, Mapping):
            for name in _secret_names(tuple(values)):
                if isinstance(value := values[name], str):
                    found.update((value, value.rpartition(" ")[2]))
    return tuple(sorted(found, key=len, reverse=True))


_HEADERS: Final = ("headers", "extra_headers", "default_headers")


@functools.lru_cache(maxsize=1024)
def _secret_names(names: tuple[Any, ...]) -> tuple[str, ...]:
    """Those under which a key may be. The calls of a program have few sets of names."""
    return tuple(name for name in names if isinstance(name, str) and _SECRET.search(name) is not None)


# --- messages -----------------------------------------------------------------------------------------


def said_by_model(message: Any) -> list[Part]:
    """The parts of a chat message of the model: thinking, words, tool calls."""
    message = fields(message)
    said = message.get if type(message) is dict else functools.partial(get, message)
    thought = said("reasoning_content")
    found = [parts.reasoning(thought)] if thought else []
    found += content(said("content"))
    calls = list(said("tool_calls") or ())
    if said("function_call") is not None:
        calls.append({"function": said("function_call")})
    found += [
        parts.tool_call(get(call, "function.name"), get(call, "function.arguments"), get(call, "id")) for call in calls
    ]
    if (data := get(said("audio"), "data")) is not None:
        found.append(parts.blob("audio", data))
    found += [image_url(image) for image in said("images") or ()]
    return found


def _message(message: Any) -> Message:
    if type(message) is dict and len(message) == 2:
        with contextlib.suppress(TypeError, ValueError):
            return parts.short_text((message.get("role"), message.get("content")))
    return _any_message(message)


def _any_message(message: Any) -> Message:
    kind = str(get(message, "type"))
    role = str(get(message, "role") or ("assistant" if kind == "model_output" else "user"))
    if kind in ("function_call", "reasoning", "thought"):  # items of the Responses and the Interactions API that have no role
        return {"role": "assistant", "parts": [part(message)]}
    if kind in ("function_call_output", "function_result"):
        return {"role": "tool", "parts": [part(message)]}
    if role == "tool" or (role == "function" and get(message, "name")):
        found = [tool_result({"content": get(message, "content"), "tool_use_id": get(message, "tool_call_id")})]
    else:
        found = content(get(message, "parts")) if get(message, "parts") is not None else said_by_model(message)
    name = get(message, "name")
    done: Message = {"role": "assistant" if role == "model" else role, "parts": found}
    return {**done, "name": str(name)} if name else done


def _messages(conversation: Conversation, value: Any) -> None:
    if isinstance(value, (str, Mapping)) or not isinstance(value, (list, tuple)):
        value = [value]
    conversation.input_messages += _short_texts(value) or [
        {"role": "user", "parts": [parts.text(item)]} if isinstance(item, str) else _message(item) for item in value
    ]


def _short_texts(messages: Sequence[Any]) -> list[TextMessage]:
    """``messages``, if all are short texts; nothing otherwise. Many histories are, and long: so no step of Python's for each."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if _ONLY_PAIRS(map(len, messages)):
            return [*map(parts.short_text, map(_ROLE_AND_CONTENT, messages))]
    return []


_ONLY_PAIRS, _ROLE_AND_CONTENT = {2}.issuperset, itemgetter("role", "content")


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


_ITEMS: Final = frozenset({
    "message", "function_call", "function_call_output", "reasoning", "user_input", "model_output", "thought", "function_result",
})  # fmt: skip


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


def _images(conversation: Conversation, value: Any) -> None:
    """Data URLs, or base64 with its type."""
    items = value if isinstance(value, (list, tuple)) else [value]
    found = [
        parts.media("image", item) if isinstance(item, str) else parts.blob("image", get(item, "base64") or "", get(item, "content_type"))
        for item in items
    ]
    if found:
        conversation.input_messages.append({"role": "user", "parts": found})


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
    "system_instruction": _system,
    "messages": _messages,
    "prompt": _texts,
    "input": _input,
    "contents": _messages,
    "query": _texts,
    "documents": _texts,
    "document": _texts,
    "state": _texts,
    "config": _config,
    "image": _data("image"),
    "images": _images,
    "file": _data("audio"),
    "tools": _tools,
    "functions": _tools,
}

"""Captured messages as a person reads a conversation.

Source: GenAI conventions, "input messages" and "output messages" JSON schemas: a list of messages with a
role and parts; a part is a text, a tool call, the answer to one, or something else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final


def conversation(value: Any) -> str:
    """The messages, one paragraph each; what has another shape as indented JSON.

    Args:
        value: the attribute: JSON in a string, or structured already.
    """
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return str(value)
    items = parsed if isinstance(parsed, list) else [parsed]
    if items and all(isinstance(item, dict) and ("parts" in item or "type" in item) for item in items):
        return "\n\n".join(_message(item) if "parts" in item else _part(item) for item in items)
    return _json(parsed) if isinstance(parsed, (list, dict)) else str(value)


def _message(message: Mapping[str, Any]) -> str:
    parts = message["parts"] if isinstance(message["parts"], list) else [message["parts"]]
    reason = message.get("finish_reason")
    end = [f"[{reason}]"] if reason else []
    return "\n".join([f"{message.get('role', '?')}:", *(_part(part) for part in parts), *end])


def _part(part: Any) -> str:
    render = _PARTS.get(str(part.get("type"))) if isinstance(part, dict) else None
    return render(part) if render else _json(part)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


#: A part's type -> how it is shown; the others are shown as JSON.
_PARTS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "text": lambda part: _json(part.get("content", "")),
    "reasoning": lambda part: f"(thinking) {_json(part.get('content', ''))}",
    "tool_call": lambda part: f"→ {part.get('name', '?')}({_line(part.get('arguments', ''))})",
    "tool_call_response": lambda part: f"← {_line(part.get('response', part.get('result', '')))}",
}

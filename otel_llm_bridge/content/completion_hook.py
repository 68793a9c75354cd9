"""The GenAI completion hook: whoever registered one is given each conversation, to upload or to keep.

Hooks are found as OpenTelemetry's own GenAI utilities find them, and are called with the same arguments, so
that its ``upload`` hook (fsspec: files, S3, GCS, Azure) works here. Nothing of it is a dependency.

Source: open-telemetry/opentelemetry-python-genai, util/genai/completion_hook.py; "Uploading content to
external storage" in the GenAI conventions.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..guard import logger, report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .policy import Document

ENTRY_POINT_GROUP: Final = "opentelemetry_genai_completion_hook"
_TYPES: Final = "opentelemetry.util.genai.types"

#: Type of a part -> names of its class there, the newest first.
_PART_CLASSES: Final = {
    "text": ("TextPart", "Text"),
    "reasoning": ("ReasoningPart", "Reasoning"),
    "tool_call": ("ToolCallRequestPart", "ToolCallRequest", "ToolCall"),
    "tool_call_response": ("ToolCallResponsePart", "ToolCallResponse"),
    "uri": ("UriPart", "Uri"),
    "file": ("FilePart", "File"),
}


class CompletionHook(Protocol):
    """What a hook has to have."""

    def on_completion(self, **conversation: Any) -> None:
        """See ``opentelemetry.util.genai.completion_hook.CompletionHook``."""


def load(hook: Any) -> CompletionHook | None:
    """The hook that the option names: the name of an entry point, or the hook itself.

    A name that is not there, or a hook that cannot be made, is a warning.
    """
    if hook is None or not isinstance(hook, str):
        return hook
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=hook):
        try:
            made = entry.load()()
        except Exception as error:
            logger.warning("the completion hook %r cannot be made (%s: %s)", hook, type(error).__name__, error)
            return None
        if hasattr(made, "on_completion"):
            return made  # type: ignore[no-any-return]
    logger.warning("there is no completion hook %r; the entry point group is %s", hook, ENTRY_POINT_GROUP)
    return None


def call(hook: CompletionHook, documents: Mapping[str, Document], span: Any, log_record: Any) -> None:
    """Give ``hook`` one conversation. What it raises is reported and goes no further."""
    try:
        hook.on_completion(
            inputs=_objects(documents, "input_messages", _message),
            outputs=_objects(documents, "output_messages", _message),
            system_instruction=_objects(documents, "system_instructions", _part),
            tool_definitions=_objects(documents, "tool_definitions", _tool) or None,
            span=span,
            log_record=log_record,
        )
    except Exception as error:
        report("the completion hook", error)


def close(hook: CompletionHook, timeout: float) -> None:
    """Let ``hook`` finish what it has begun, within ``timeout`` seconds, if it can: ``upload`` has a queue."""
    shutdown = getattr(hook, "shutdown", None)
    if shutdown is not None:
        shutdown(timeout_sec=timeout)


def _objects(documents: Mapping[str, Document], name: str, make: Callable[[Any], Any]) -> list[Any]:
    document = documents.get(name)
    return [] if document is None else [make(item) for item in document.value]


def _message(message: dict[str, Any]) -> Any:
    parts = [_part(part) for part in message.get("parts", ())]
    name = "OutputMessage" if "finish_reason" in message else "InputMessage"
    return _make((name,), {**message, "parts": parts})


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        part = {"type": "text", "content": str(part)}
    return _make(_PART_CLASSES.get(str(part.get("type")), ()), part)


def _tool(tool: dict[str, Any]) -> Any:
    names = ("FunctionToolDefinition",) if tool.get("type") == "function" else ()
    return _make(names, {"description": None, "parameters": None, **tool})


def _make(names: tuple[str, ...], fields: dict[str, Any]) -> Any:
    """An object of the installed utilities' class, or a dataclass with the same fields."""
    kind = _class(names)
    if kind is not None:
        known = {field.name for field in dataclasses.fields(kind)}
        optional = {name: None for name in known - fields.keys() if name in ("id", "mime_type", "name", "finish_reason")}
        try:
            return kind(**{name: value for name, value in fields.items() if name in known}, **optional)
        except TypeError:
            pass
    return _plain_class(tuple(name for name in fields if name.isidentifier()))(
        *(value for name, value in fields.items() if name.isidentifier())
    )


@functools.lru_cache(maxsize=64)
def _class(names: tuple[str, ...]) -> Any:
    try:
        module = importlib.import_module(_TYPES)
    except ImportError:
        return None
    found = (getattr(module, name, None) for name in names)
    return next((kind for kind in found if dataclasses.is_dataclass(kind)), None)


@functools.lru_cache(maxsize=256)
def _plain_class(names: tuple[str, ...]) -> Any:
    return dataclasses.make_dataclass("Part", names)

"""Facts and conversations as OpenInference writes them: flat attributes with indexes in their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .json_text import dump
from .semconv import openinference as names

if TYPE_CHECKING:
    from .content.policy import Document

Attributes = dict[str, Any]


def span_kind(facts: Mapping[str, Any]) -> str:
    """Kind of an LLM span."""
    return names.KINDS.get(str(facts.get("operation")), names.LLM)


def attributes(facts: Mapping[str, Any], is_llm: bool = True) -> Attributes:
    """The facts of one span; without ``is_llm``, only what a span above or beside the LLM span has."""
    kind = span_kind(facts) if is_llm else names.CHAIN
    done: Attributes = {names.SPAN_KIND: kind}
    for fact, name in (names.FACTS if is_llm else names.WHO).items():
        if facts.get(fact) is not None:
            done[name] = facts[fact]
    if facts.get("metadata"):
        done[names.METADATA] = json.dumps(facts["metadata"], ensure_ascii=False, default=str)
    if not is_llm:
        return done
    if "provider" in facts:
        done[names.FACTS["provider"]] = names.PROVIDERS.get(facts["provider"], facts["provider"])
    if kind in names.MODEL_NAMES and (model := facts.get("response_model") or facts.get("model")):
        done[names.MODEL_NAMES[kind]] = model
    if "input_tokens" in facts:
        done[names.TOKENS_TOTAL] = facts["input_tokens"] + facts.get("output_tokens", 0)
    if facts.get("finish_reasons"):
        done[names.FINISH_REASON] = facts["finish_reasons"][0]
    parameters = {names.PARAMETERS[fact]: facts[fact] for fact in names.PARAMETERS if facts.get(fact) is not None}
    if kind in names.INVOCATION_PARAMETERS:
        done[names.INVOCATION_PARAMETERS[kind]] = json.dumps(parameters)
    return done


def content(facts: Mapping[str, Any], documents: Mapping[str, Document]) -> Attributes:
    """The conversation of one span: already redacted and within its limits."""
    done: Attributes = {}
    inputs = [*_system(documents), *_value(documents, "input_messages")]
    if span_kind(facts) == names.EMBEDDING:
        for index, message in enumerate(inputs):
            done[f"{names.EMBEDDINGS}.{index}.{names.EMBEDDING_TEXT}"] = _text(message.get("parts", ()))
    else:
        _flatten(done, names.INPUT_MESSAGES, inputs)
    _flatten(done, names.OUTPUT_MESSAGES, _value(documents, "output_messages"))
    for index, tool in enumerate(_value(documents, "tool_definitions")):
        done[f"{names.TOOLS}.{index}.{names.TOOL_SCHEMA}"] = _dump(tool)
    for name, value, mime_type in _WHOLE:
        if name in documents:
            done[value], done[mime_type] = documents[name].json, names.JSON
    return done


_WHOLE: Final = (
    ("input_messages", names.INPUT_VALUE, names.INPUT_MIME_TYPE),
    ("output_messages", names.OUTPUT_VALUE, names.OUTPUT_MIME_TYPE),
)


def _system(documents: Mapping[str, Document]) -> list[dict[str, Any]]:
    instructions = _value(documents, "system_instructions")
    return [{"role": "system", "parts": instructions}] if instructions else []


def _value(documents: Mapping[str, Document], name: str) -> list[Any]:
    document = documents.get(name)
    return [item for item in document.value if isinstance(item, dict)] if document is not None else []


def _flatten(done: Attributes, root: str, messages: list[dict[str, Any]]) -> None:
    for index, message in enumerate(messages):
        at = f"{root}.{index}"
        done[f"{at}.{names.MESSAGE_ROLE}"] = str(message.get("role"))
        if message.get("name"):
            done[f"{at}.{names.MESSAGE_NAME}"] = str(message["name"])
        parts = [part for part in message.get("parts", ()) if isinstance(part, dict)]
        calls = [part for part in parts if part.get("type") == "tool_call"]
        for place, call in enumerate(calls):
            _tool_call(done, f"{at}.{names.MESSAGE_TOOL_CALLS}.{place}", call)
        said = [part for part in parts if part.get("type") != "tool_call"]
        if len(said) == 1 and said[0].get("type") in ("text", "tool_call_response"):
            done[f"{at}.{names.MESSAGE_CONTENT}"] = _text(said)
            if said[0].get("type") == "tool_call_response" and said[0].get("id"):
                done[f"{at}.{names.MESSAGE_TOOL_CALL_ID}"] = str(said[0]["id"])
        else:
            for place, part in enumerate(said):
                _block(done, f"{at}.{names.MESSAGE_CONTENTS}.{place}", part)


def _tool_call(done: Attributes, at: str, call: dict[str, Any]) -> None:
    if call.get("id"):
        done[f"{at}.{names.TOOL_CALL_ID}"] = str(call["id"])
    done[f"{at}.{names.TOOL_CALL_NAME}"] = str(call.get("name"))
    done[f"{at}.{names.TOOL_CALL_ARGUMENTS}"] = _dump(call.get("arguments"))


def _block(done: Attributes, at: str, part: dict[str, Any]) -> None:
    if part.get("modality") == "image" and part.get("uri"):
        done[f"{at}.{names.CONTENT_TYPE}"] = "image"
        done[f"{at}.{names.CONTENT_IMAGE}.{names.IMAGE_URL}"] = str(part["uri"])
        return
    done[f"{at}.{names.CONTENT_TYPE}"] = "reasoning" if part.get("type") == "reasoning" else "text"
    done[f"{at}.{names.CONTENT_TEXT}"] = _text([part])


def _text(parts: Any) -> str:
    return "\n".join(_one(part) for part in parts)


def _one(part: dict[str, Any]) -> str:
    for name in ("content", "response"):
        value = part.get(name)
        if isinstance(value, str) and value:
            return value
        if value:
            return _dump(value)
    return _dump({name: value for name, value in part.items() if value})


def _dump(value: Any) -> str:
    return value if isinstance(value, str) else dump(value)

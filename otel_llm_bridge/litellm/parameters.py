"""What a call asks for: parameters of LiteLLM's functions, and of the configurations that Google's APIs are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..semconv import gen_ai
from .access import Facts, fields, first, get


def _texts(value: Any) -> list[str] | None:
    values = [value] if isinstance(value, str) else list(value)
    return [str(item) for item in values] or None


def _output_type(value: Any) -> str | None:
    if isinstance(value, type):  # a pydantic model is a JSON schema
        return gen_ai.OUTPUT_TYPES["json_schema"]
    # Google's has both, and "text" is also the type of JSON there.
    kind = first(value, ("mime_type", "mimeType", "type"))
    return gen_ai.OUTPUT_TYPES.get(kind) if isinstance(kind, str) else None


def _modality(value: Any) -> str | None:
    """Of several: the one that is no text, which models that speak or draw have to be asked for as well."""
    asked = [value] if isinstance(value, str) else value
    kinds = {gen_ai.OUTPUT_TYPES.get(str(getattr(item, "value", item)).lower()) for item in asked} - {None}
    special = kinds - {"text"}
    return next(iter(special or kinds), None) if len(special) < 2 else None


def _effort(value: Any) -> str | None:
    value = get(value, "effort") if not isinstance(value, str) else value
    return value if isinstance(value, str) else None


def _thinking(value: Any) -> str | None:
    level = first(value, ("thinking_level", "thinkingLevel"))
    return _effort(getattr(level, "value", level))  # Google's client has it as an enum


def _whole(value: Any) -> int | None:
    return None if isinstance(value, bool) else int(value)


#: LiteLLM's argument -> (fact, how its value is read). A value that does not fit is left out.
REQUEST: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "max_tokens": ("max_tokens", _whole),
    "max_completion_tokens": ("max_tokens", _whole),
    "max_output_tokens": ("max_tokens", _whole),
    "n": ("choice_count", lambda value: int(value) if value != 1 else None),
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", _whole),
    "stop": ("stop_sequences", _texts),
    "stop_sequences": ("stop_sequences", _texts),
    "frequency_penalty": ("frequency_penalty", float),
    "presence_penalty": ("presence_penalty", float),
    "seed": ("seed", _whole),
    "response_format": ("output_type", _output_type),
    "response_mime_type": ("output_type", gen_ai.OUTPUT_TYPES.get),
    "text": ("output_type", lambda value: _output_type(get(value, "format"))),  # of the Responses API
    "text_format": ("output_type", _output_type),
    "modalities": ("output_type", _modality),
    "response_modalities": ("output_type", _modality),
    "reasoning_effort": ("reasoning_level", _effort),
    "reasoning": ("reasoning_level", _effort),
    "thinking_level": ("reasoning_level", _effort),
    "previous_response_id": ("previous_response_id", str),
    "previous_interaction_id": ("previous_response_id", str),
    "stream": ("stream", lambda value: True if value is True else None),
    "encoding_format": ("encoding_formats", _texts),
    "dimensions": ("dimensions", _whole),
    "litellm_call_id": ("call_id", str),
    "litellm_session_id": ("conversation_id", str),
}


#: Only these operations have encoding formats and dimensions; elsewhere the names mean other things.
_ONLY_EMBEDDINGS: Final = frozenset({"encoding_formats", "dimensions"})


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


#: The same of the configuration that Google's APIs are given: it has names of its own, each in two spellings.
_CONFIGURED: Final = {
    spelling: row
    for name, row in {
        **{name: REQUEST[name] for name in (
            "temperature", "top_p", "top_k", "max_output_tokens", "stop_sequences", "seed", "frequency_penalty", "presence_penalty",
            "response_mime_type", "response_modalities", "thinking_level",
        )},
        "candidate_count": REQUEST["n"],
        "thinking_config": ("reasoning_level", _thinking),
    }.items()
    for spelling in (name, _camel(name))
}  # fmt: skip
#: Arguments that it may be in; only the first that is there counts, as for LiteLLM.
CONFIGURATIONS: Final = ("config", "generationConfig", "generation_config")


def read_parameters(facts: Facts, operation: str, request: Mapping[str, Any]) -> None:
    """Add to ``facts`` the parameters of a ``request``; an argument counts more than the same in a configuration."""
    if operation == gen_ai.GENERATE_CONTENT:
        configuration = fields(first(request, CONFIGURATIONS))
        if isinstance(configuration, Mapping):
            _read(facts, operation, configuration, _CONFIGURED)
    _read(facts, operation, request, REQUEST)


def _read(facts: Facts, operation: str, given: Mapping[str, Any], table: Mapping[str, tuple[str, Callable[[Any], Any]]]) -> None:
    for name in sorted(table.keys() & given.keys()):  # two for one fact: the same one wins in each process
        value = given[name]
        if value is None:
            continue
        fact, read = table[name]
        if fact in _ONLY_EMBEDDINGS and operation != gen_ai.EMBEDDINGS:
            continue
        try:
            said = read(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if said is not None:
            facts[fact] = said

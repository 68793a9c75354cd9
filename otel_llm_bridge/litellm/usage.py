"""Token counts: read from the usage objects of all APIs, by one table, and put into LiteLLM's where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ..semconv import litellm as names
from . import conversations
from .access import Facts, fields, get

#: fact -> where usage objects of the different APIs have it.
_USAGE: Final = {
    "input_tokens": ("prompt_tokens", "input_tokens", "prompt_token_count", "promptTokenCount", "total_input_tokens"),
    "output_tokens": (
        "completion_tokens", "output_tokens", "candidates_token_count", "candidatesTokenCount", "total_output_tokens",
    ),
    "cache_read_tokens": (
        "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "cache_read_input_tokens",
        "cached_content_token_count", "cachedContentTokenCount", "total_cached_tokens",
    ),
    "cache_write_tokens": ("cache_creation_input_tokens", "prompt_tokens_details.cache_creation_tokens"),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens",
        "thoughts_token_count", "thoughtsTokenCount", "total_thought_tokens", "total_reasoning_tokens",
    ),
    "input_text_tokens": ("prompt_tokens_details.text_tokens", "input_tokens_details.text_tokens"),
    "input_image_tokens": ("prompt_tokens_details.image_tokens", "input_tokens_details.image_tokens"),
    "input_audio_tokens": ("prompt_tokens_details.audio_tokens", "input_tokens_details.audio_tokens"),
    "output_text_tokens": ("completion_tokens_details.text_tokens", "output_tokens_details.text_tokens"),
    "output_image_tokens": ("completion_tokens_details.image_tokens", "output_tokens_details.image_tokens"),
    "output_audio_tokens": ("completion_tokens_details.audio_tokens", "output_tokens_details.audio_tokens"),
}  # fmt: skip
#: Google's names of reasoning, which it counts beside the output.
_THOUGHTS_APART: Final = frozenset({"thoughts_token_count", "thoughtsTokenCount", "total_thought_tokens", "total_reasoning_tokens"})
#: Every fact that a usage object may give.
USAGE_FACTS: Final = tuple(_USAGE)
_TOTALS: Final = ("input_tokens", "output_tokens")
#: The same, taken apart: ``(fact, ((object within the usage object, or None, name), …))``.
_USAGE_PATHS: Final = tuple(
    (fact, tuple((path.rpartition(".")[0] or None, path.rpartition(".")[2]) for path in paths)) for fact, paths in _USAGE.items()
)
_DETAILS: Final = {part for _, paths in _USAGE_PATHS for part, _ in paths if part is not None}
_NAMES: Final = _DETAILS | {name for _, paths in _USAGE_PATHS for _, name in paths}

#: What providers tell apart: of which the text is no figure of its own when it is all there is.
_KINDS: Final = {f"{way}_text_tokens": (f"{way}_image_tokens", f"{way}_audio_tokens") for way in ("input", "output")}

Paths = tuple[tuple[str, tuple[tuple[str | None, str], ...]], ...]


@lru_cache(maxsize=256)
def _paths_in(shape: tuple[tuple[str | None, tuple[str, ...]], ...]) -> Paths:
    """Of the paths, those that usage objects of this shape have: few of all, and the same for all calls of a provider."""
    there = {(part, name) for part, names_ in shape for name in names_}
    found = ((fact, tuple(path for path in paths if path in there)) for fact, paths in _USAGE_PATHS)
    return tuple((fact, paths) for fact, paths in found if paths)


def _told(part: Any) -> Mapping[str, Any]:
    """What an object of any shape says under the names that are known here."""
    part = fields(part)
    return part if type(part) is dict else {name: value for name in _NAMES if (value := get(part, name)) is not None}


def copied(usage: Any) -> Mapping[str, Any] | None:
    """What `read_usage` reads, for a later moment."""
    if usage is None:
        return None
    copy = {**_told(usage)}
    for detail in _DETAILS & copy.keys():
        if copy[detail] is not None:
            copy[detail] = {**_told(copy[detail])}
    return copy


def read_usage(usage: Any, source: str = names.USAGE_FROM_PROVIDER) -> Facts:
    """Token counts, by the conventions: the input includes cached tokens, the output includes reasoning."""
    if usage is None:
        return {}
    facts: Facts = {}
    usage = _told(usage)
    parts: dict[str | None, Mapping[str, Any]] = {None: usage}
    for detail in _DETAILS & usage.keys():
        if usage[detail] is not None:
            parts[detail] = _told(usage[detail])
    for fact, paths in _paths_in(tuple([(name, tuple(part)) for name, part in parts.items()])):
        value = None
        for of, name in paths:
            told = parts[of][name]
            if told is not None and not value:
                # LiteLLM's object for images has 0 under the one name and the figure under the other.
                value = told
        if isinstance(value, int) and not isinstance(value, bool) and (value or fact in _TOTALS):
            facts[fact] = value
    if not any(facts.values()):
        return {}  # LiteLLM's way of saying that there was no usage
    if usage.get("prompt_tokens") is None and usage.get("cache_read_input_tokens") is not None:
        # Anthropic's own shape counts cached tokens apart.
        cached = facts.get("cache_read_tokens", 0) + facts.get("cache_write_tokens", 0)
        facts["input_tokens"] = facts.get("input_tokens", 0) + cached
    if not _THOUGHTS_APART.isdisjoint(usage) and any(usage.get(name) is not None for name in _THOUGHTS_APART):
        facts["output_tokens"] = facts.get("output_tokens", 0) + facts.get("reasoning_tokens", 0)
    if usage.get("total_tool_use_tokens"):  # what tools gave the model to read, which Google counts beside the input
        facts["input_tokens"] = facts.get("input_tokens", 0) + usage["total_tool_use_tokens"]
    for text, others in _KINDS.items():
        if text in facts and facts.keys().isdisjoint(others):
            del facts[text]  # nothing is told apart
    if "input_tokens" in facts or "output_tokens" in facts:
        facts["usage_source"] = source
    return facts


def is_zero(usage: Any) -> bool:
    """Whether it says nothing: LiteLLM 1.106 rebuilds a stream without reported usage as 0 tokens."""
    return not get(usage, "prompt_tokens") and not get(usage, "completion_tokens")


def usage_of(litellm: Any, facts: Facts) -> Any:
    """LiteLLM's usage object with the token counts of ``facts``."""
    read, written = facts.get("input_tokens", 0), facts.get("output_tokens", 0)
    return litellm.Usage(
        prompt_tokens=read,
        completion_tokens=written,
        total_tokens=read + written,
        cache_read_input_tokens=facts.get("cache_read_tokens", 0),
        cache_creation_input_tokens=facts.get("cache_write_tokens", 0),
        reasoning_tokens=facts.get("reasoning_tokens"),
    )


def estimate_usage(litellm: Any, request: Facts, text: str) -> Any:
    """Usage counted by LiteLLM's default tokenizer: of what ``request`` asks, and of the ``text`` of the answer.

    Not by the model's own: for some models LiteLLM would fetch it from the network.
    """
    written = litellm.token_counter(model="", text=text) if text else 0
    read = _input_tokens(litellm, request)
    return litellm.Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def with_estimate(facts: Facts, usage: Any) -> Facts:
    """Token counts of an answer of which the provider has told the beginning at most, in ``facts``: the rest is ``usage``, an estimate."""
    told = read_usage(usage, names.USAGE_ESTIMATED)
    read = facts.get("input_tokens") or told.get("input_tokens")
    written = max(facts.get("output_tokens", 0), told.get("output_tokens", 0))
    if not read and not written:
        return {}
    return {**told, "input_tokens": read or 0, "output_tokens": written, "usage_source": names.USAGE_ESTIMATED}


def _input_tokens(litellm: Any, request: Facts) -> int:
    messages, prompt = request.get("messages"), request.get("prompt")
    if messages is None and prompt is None:  # of another API
        messages = [{"role": "user", "content": text} for text in conversations.texts_of(request)]
    if not isinstance(messages, list):  # a text completion: LiteLLM makes a message of each prompt
        prompts = prompt if isinstance(prompt, list) else [prompt]
        messages = [{"role": "user", "content": text} for text in prompts if isinstance(text, str)]
        if not messages:  # tokens already, of one prompt or of several
            return sum(len(tokens) if isinstance(tokens, list) else 1 for tokens in prompts if tokens is not None)
    counted: int = litellm.token_counter(model="", messages=messages)
    return counted

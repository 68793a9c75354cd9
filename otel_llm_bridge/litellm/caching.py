"""LiteLLM's cache: what it answered cost nothing and used no token, and what that saved is kept apart."""

from __future__ import annotations

from typing import Any, Final

from ..invocation import Invocation
from ..logical import LogicalCall
from ..patching import Target
from . import access, pricing, reading
from .usage import USAGE_FACTS, usage_of

_HANDLER: Final = "litellm.caching.caching_handler"

#: LiteLLM says of its record of the call that the cache has answered it.
HIT: Final = Target(_HANDLER, "LLMCachingHandler._update_litellm_logging_obj_environment")
#: Some of the texts of an embedding were in the cache; the provider was asked for the others.
PARTLY: Final = Target(_HANDLER, "LLMCachingHandler._combine_cached_embedding_response_with_api_result")


def saw_hit(invocation: Invocation) -> dict[str, Any] | None:
    """At `HIT`. Not the ``cache_hit`` of a response: LiteLLM puts it on partly cached ones, and not on all others."""
    if invocation.finished:
        return None
    invocation.put_off(dict.update, {"cache_hit": True})
    invocation.prompt = True
    return {}


def saw_part(invocation: Invocation, embedding_response: Any, _caching_handler_response: Any) -> None:
    """At `PARTLY`: the answer that goes to the caller no longer says what the provider's part was."""
    if not invocation.finished:
        invocation.prompt = True
        invocation.kept["billed"] = access.get(embedding_response, "usage")
        invocation.kept["cached"] = access.get(_caching_handler_response, "final_embedding_cached_response.usage")


#: fact of what was used -> fact of what was saved.
_SAVED: Final = {"input_tokens": "saved_input_tokens", "output_tokens": "saved_output_tokens"}
_NOT_USED: Final = ("usage_source", *USAGE_FACTS)


def settle(litellm: Any, invocation: Invocation) -> None:
    """At the end of an attempt: tell what was used from what was saved."""
    facts = invocation.facts
    if facts.get("cache_hit"):
        usage = access.get(invocation.kept.get("response"), "usage")
        if access.get(usage, "prompt_tokens") is None:  # a stream, or an API whose usage has other names
            usage = usage_of(litellm, facts) if "input_tokens" in facts else None
        facts.update({saved: facts[used] for used, saved in _SAVED.items() if facts.get(used)})
        for fact in _NOT_USED:
            facts.pop(fact, None)
        facts.update(cost=0.0, cost_source="cache", cost_currency="USD", **_saved(litellm, invocation, usage))
        if isinstance(invocation.parent, LogicalCall) and "attempt_number" in facts:
            invocation.parent.facts["cache_hit"] = True
    elif "billed" in invocation.kept:
        billed, cached = invocation.kept["billed"], invocation.kept["cached"]
        used = reading.RESPONSES["embedding"]({"usage": billed})
        facts.update(access.clean(used))
        facts.update(pricing.price_usage(litellm, invocation, facts.get("response_model"), billed))
        facts.update(_saved(litellm, invocation, cached))
        if access.get(cached, "prompt_tokens"):
            facts["saved_input_tokens"] = access.get(cached, "prompt_tokens")


def _saved(litellm: Any, invocation: Invocation, usage: Any) -> dict[str, float]:
    """What ``usage`` would have cost; nothing where the price is unknown."""
    if usage is None:
        return {}
    priced = pricing.price_usage(litellm, invocation, invocation.facts.get("response_model"), usage)
    return {"cost_saved": priced["cost"]} if priced.get("cost") else {}

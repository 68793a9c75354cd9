"""Cost, by LiteLLM's own calculation. Only for answers that do not carry LiteLLM's figure already."""

from __future__ import annotations

from typing import Any

from ..guard import guarded
from ..invocation import Invocation
from .access import Facts, first, get
from .reading import read_cost
from .usage import is_zero


def price(litellm: Any, invocation: Invocation, answer: Any) -> Facts:
    """What ``answer`` cost, by the record that LiteLLM keeps of the call: custom prices and tiers included.

    Args:
        litellm: the module.
        invocation: the call, with LiteLLM's record of it.
        answer: a response of LiteLLM.

    Returns:
        The facts of the cost; none when LiteLLM does not know the price.
    """
    logging_obj = invocation.kept.get("logging")
    calculate = first(logging_obj, ("response_cost_calculator", "_response_cost_calculator"))
    if calculate is None:
        return {}
    cost = None
    with guarded("cost"):
        # Not the price of an answer from the cache, which is always 0: see `caching`.
        cost = calculate(result=answer, cache_hit=False, router_model_id=invocation.facts.get("deployment_id"))
    return figure(litellm, invocation, cost)


def price_usage(litellm: Any, invocation: Invocation, model: str | None, usage: Any) -> Facts:
    """What an answer of ``model`` with this ``usage``, an object of LiteLLM's, cost: where there is no answer to be priced."""
    return price(litellm, invocation, litellm.ModelResponse(model=model, usage=usage))


def figure(litellm: Any, invocation: Invocation, cost: Any) -> Facts:
    """LiteLLM's figure as facts; none when it does not know the price.

    LiteLLM says 0 of some models that it does not know, and of an answer without usage.
    """
    return {} if cost == 0 and not _may_be_free(litellm, invocation) else read_cost(cost)


def _may_be_free(litellm: Any, invocation: Invocation) -> bool:
    logging_obj, facts = invocation.kept.get("logging"), invocation.facts
    model, provider = get(logging_obj, "model"), get(logging_obj, "model_call_details.custom_llm_provider")
    names = (facts.get("deployment_id"), f"{provider}/{model}", model, facts.get("model"))
    prices = next((litellm.model_cost[name] for name in names if name in litellm.model_cost), None)
    if prices is None:
        return False
    used = get(invocation.kept.get("response"), "usage")
    return (used is not None and not is_zero(used)) or not any(
        isinstance(price, (int, float)) and price > 0 for name, price in prices.items() if "cost" in name
    )

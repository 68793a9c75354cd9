"""Cost, by LiteLLM's own calculation. Only for answers that do not carry LiteLLM's figure already."""

from __future__ import annotations

from typing import Any

from ..guard import guarded
from ..invocation import Invocation
from .access import Facts, first, get
from .reading import read_cost


def price(invocation: Invocation, answer: Any) -> Facts:
    """What ``answer`` cost, by the record that LiteLLM keeps of the call: custom prices and tiers included.

    Args:
        invocation: the call, with LiteLLM's record of it.
        answer: a response of LiteLLM, or one made by `answer_with`.

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
    return figure(invocation, cost)


def figure(invocation: Invocation, cost: Any) -> Facts:
    """LiteLLM's figure as facts; none when it does not know the price.

    LiteLLM says 0 of some models that it does not know, and of an answer without usage.
    """
    facts = read_cost(cost)
    return {} if facts.get("cost") == 0 and not _may_be_free(invocation) else facts


def _may_be_free(invocation: Invocation) -> bool:
    import litellm  # loaded by now

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


def answer_with(litellm: Any, model: str | None, usage: Any) -> Any:
    """A response that has nothing but its usage: what a stream leaves to be priced."""
    return litellm.ModelResponse(model=model, usage=usage)


def estimate_usage(litellm: Any, request: Facts, text: str) -> Any:
    """Usage counted by LiteLLM's default tokenizer: of what ``request`` asks, and of the ``text`` of the answer.

    Not by the model's own: for some models LiteLLM would fetch it from the network.
    """
    written = litellm.token_counter(model="", text=text) if text else 0
    read = _read(litellm, request)
    return litellm.Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def _read(litellm: Any, request: Facts) -> int:
    messages, prompt = request.get("messages"), request.get("prompt")
    if not isinstance(messages, list):  # a text completion: LiteLLM makes a message of each prompt
        prompts = prompt if isinstance(prompt, list) else [prompt]
        messages = [{"role": "user", "content": text} for text in prompts if isinstance(text, str)]
        if not messages:  # tokens already, of one prompt or of several
            return sum(len(tokens) if isinstance(tokens, list) else 1 for tokens in prompts if tokens is not None)
    counted: int = litellm.token_counter(model="", messages=messages)
    return counted


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


def is_zero(usage: Any) -> bool:
    """LiteLLM 1.106 rebuilds a stream without reported usage as 0 tokens; that is not a figure."""
    return not get(usage, "prompt_tokens") and not get(usage, "completion_tokens")


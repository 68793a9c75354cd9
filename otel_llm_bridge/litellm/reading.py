"""Reads facts out of LiteLLM's arguments, responses and exceptions. Tables; never raises for odd shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..semconv import gen_ai
from ..who import UNCHANGING
from . import interactions, parameters
from .access import Facts, fields, first, get, peek
from .usage import copied, read_usage

# --- the request -------------------------------------------------------------------------------------


def read_request(operation: str, request: Mapping[str, Any], defaults: Any) -> Facts:
    """The facts of a request, from its arguments by name.

    Args:
        operation: value of ``gen_ai.operation.name``.
        request: the arguments of the call.
        defaults: the ``litellm`` module, for its global settings.
    """
    facts: Facts = {"operation": operation}
    model, named = request.get("model"), request.get("custom_llm_provider")
    if operation == gen_ai.GENERATE_CONTENT and (agent := interactions.agent_of(request)) is not None:
        facts = {"operation": gen_ai.INVOKE_AGENT, "agent_id": agent}
        model, named = None, named or interactions.PROVIDER
    provider, bare = _provider_and_model(model if isinstance(model, str) else "", named, defaults)
    facts["model"] = bare or None
    facts["provider"] = gen_ai.PROVIDERS.get(provider, provider)
    base = request.get("api_base") or request.get("base_url") or defaults.api_base
    facts["server_address"], facts["server_port"] = server_of(str(base) if base else _HOSTS.get(provider, ""))
    parameters.read_parameters(facts, operation, request)
    return facts


#: Every argument that `read_request` looks at.
_READ: Final = frozenset({
    "model", "custom_llm_provider", "api_base", "base_url", "agent", *parameters.REQUEST, *parameters.CONFIGURATIONS,
})  # fmt: skip


def taken(request: Mapping[str, Any], defaults: Any) -> dict[str, Any] | None:
    """What `read_request` looks at, for a later moment; ``None`` where it may change until then."""
    found = {"base_url": defaults.api_base}
    for name, value in request.items():
        if name in _READ:
            if value.__class__ not in UNCHANGING:
                return None
            if value is not None:
                found[name] = value
    return found


#: Where a provider is when the caller names no address; the true one replaces it before the request goes out.
_HOSTS: Final = {
    "openai": "https://api.openai.com",
    "text-completion-openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "groq": "https://api.groq.com",
    "mistral": "https://api.mistral.ai",
    "deepseek": "https://api.deepseek.com",
    "xai": "https://api.x.ai",
    "cohere": "https://api.cohere.com",
    "perplexity": "https://api.perplexity.ai",
    "openrouter": "https://openrouter.ai",
    "together_ai": "https://api.together.xyz",
}
_PORTS: Final = {"https": 443, "http": 80}


@functools.lru_cache(maxsize=1024)
def server_of(url: str) -> tuple[str | None, int | None]:
    """Host and port of a URL; ``(None, None)`` when it has none."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host = parts.hostname
        return (host, parts.port or _PORTS.get(parts.scheme, 443)) if host else (None, None)
    except ValueError:
        return None, None


@functools.lru_cache(maxsize=1024)
def _split_model(model: str, defaults: Any) -> tuple[str, str]:
    prefix, _, rest = model.partition("/")
    if rest and prefix in defaults.provider_list:
        return prefix, rest
    known = defaults.model_cost.get(model)
    provider = known.get("litellm_provider") if isinstance(known, Mapping) else None
    return (provider if isinstance(provider, str) else "unknown"), model


def _provider_and_model(model: str, named: Any, defaults: Any) -> tuple[str, str]:
    # Not litellm.get_llm_provider: it prints to stdout and raises for a model that it does not know.
    provider, bare = _split_model(model, defaults)
    if isinstance(named, str) and named:
        return named, model.removeprefix(f"{named}/")
    return provider, bare


# --- the response ------------------------------------------------------------------------------------

def _finish_reasons(items: Any, *paths: str) -> list[str] | None:
    reasons = [first(item, paths) for item in items or ()]
    return [str(getattr(reason, "value", reason)) for reason in reasons if reason] or None


def _chat(response: Any) -> Facts:
    response = fields(response)
    return {
        "response_id": get(response, "id"),
        "response_model": get(response, "model"),
        "finish_reasons": _finish_reasons(get(response, "choices"), "finish_reason"),
        **read_usage(get(response, "usage")),
    }


def _embedding(response: Any) -> Facts:
    usage = read_usage(get(response, "usage"))
    usage.pop("output_tokens", None)  # an embedding writes none; LiteLLM says 0
    return {"response_model": get(response, "model"), **usage}


def _responses(response: Any) -> Facts:
    status = get(response, "status")
    return {
        "response_id": get(response, "id"),
        "response_model": get(response, "model"),
        "finish_reasons": _why_it_ended(response, status),
        # The finish reason says the same of one that is complete.
        "response_status": status if status != "completed" else None,
        **read_usage(get(response, "usage")),
    }


#: Reasons of the Responses API in the words of the chat API, which the other families use.
_INCOMPLETE: Final = {"max_output_tokens": "length"}


def _why_it_ended(response: Any, status: Any) -> list[str] | None:
    if status == "completed":
        called = any(get(item, "type") == "function_call" for item in get(response, "output") or ())
        return ["tool_calls" if called else "stop"]
    reason = get(response, "incomplete_details.reason")
    return [_INCOMPLETE.get(str(reason), str(reason))] if status == "incomplete" and reason else None


def _messages(response: Any) -> Facts:
    stop = get(response, "stop_reason")
    return {
        "response_id": get(response, "id"),
        "response_model": get(response, "model"),
        "finish_reasons": [str(stop)] if stop else None,
        **read_usage(get(response, "usage")),
    }


def _generate_content(response: Any) -> Facts:
    return {
        "response_id": first(response, ("response_id", "responseId", "id")),
        "response_model": first(response, ("model_version", "modelVersion", "model")),
        "finish_reasons": _finish_reasons(
            first(response, ("candidates", "choices")), "finish_reason", "finishReason"
        ),
        **read_usage(first(response, ("usage_metadata", "usageMetadata", "usage"))),
    }


def _plain(response: Any) -> Facts:
    return {
        "response_id": first(response, ("id",)),
        "response_model": get(response, "model"),
        **read_usage(get(response, "usage")),
    }


RESPONSES: Final[dict[str, Callable[[Any], Facts]]] = {
    "chat": _chat,
    "embedding": _embedding,
    "responses": _responses,
    "messages": _messages,
    "generate_content": _generate_content,
    "interactions": interactions.read_facts,
    "image": _plain,
    "rerank": _plain,
    "plain": _plain,
}


def _copied_chat(response: Any) -> Facts:
    response = fields(response)
    told = response.get if type(response) is dict else functools.partial(get, response)
    reasons = [{"finish_reason": peek(choice, "finish_reason")} for choice in told("choices") or ()]
    return {"id": told("id"), "model": told("model"), "choices": reasons, "usage": copied(told("usage"))}


#: Reader -> what it reads of a response, for a later moment. Those without a row read at once: they are called less often.
COPIES: Final[dict[str, Callable[[Any], Facts]]] = {"chat": _copied_chat}


def hidden(response: Any) -> Mapping[str, Any]:
    """LiteLLM's ``_hidden_params`` of a response; a mapping in every case."""
    # Behind pydantic's back: asking it for a private attribute takes ten times as long.
    private = getattr(response, "__pydantic_private__", None)
    params = private.get("_hidden_params") if isinstance(private, dict) else get(response, "_hidden_params")
    if type(params) is dict:  # nearly always
        return params
    if params is not None and not isinstance(params, Mapping):
        params = getattr(params, "__dict__", None)
    return params if isinstance(params, Mapping) else {}


_REQUEST_ID_HEADERS: Final = (
    "llm_provider-x-request-id", "llm_provider-request-id", "llm_provider-apim-request-id", "x-request-id",
)  # fmt: skip


def read_hidden(params: Mapping[str, Any]) -> Facts:
    """The provider's request id."""
    headers = params.get("additional_headers") or {}
    for name in _REQUEST_ID_HEADERS:
        if headers.get(name):
            return {"provider_request_id": headers[name]}
    return {}


def read_cost(cost: Any) -> Facts:
    """LiteLLM's figure; nothing when it has none."""
    if not isinstance(cost, (int, float)) or isinstance(cost, bool):
        return {}
    return {"cost": float(cost), "cost_source": "litellm", "cost_currency": "USD"}


def read_error(error: BaseException) -> Facts:
    """The HTTP status that LiteLLM's exceptions carry. Their text stays out: it may quote the prompt."""
    status = getattr(error, "status_code", None)
    try:
        return {"http_status": int(status)} if status is not None else {}
    except (TypeError, ValueError):
        return {}

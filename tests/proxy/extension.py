"""What an operator of the Proxy writes beside its configuration: keys without a database, guardrails, a hook.

The tests copy this file into the folder of the configuration, where the Proxy finds it. The texts of its
refusals quote the prompt and the key, as careless ones do.
"""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail, log_guardrail_information
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

#: Key -> what the Proxy knows of it.
KEYS: dict[str, dict[str, Any]] = {
    "sk-good-key-0123456789abcdef": {
        "key_alias": "checkout",
        "team_id": "team-7",
        "team_alias": "shop",
        "user_id": "user-3",
        "org_id": "org-1",
        "user_email": "somebody@example.org",
    },
    "sk-slow-key-0123456789abcdef": {"key_alias": "limited", "team_id": "team-8", "rpm_limit": 1},
    "sk-admin-key-0123456789abcdef": {"key_alias": "operator", "user_role": "proxy_admin"},
}


async def user_api_key_auth(request: Any, api_key: str) -> UserAPIKeyAuth:
    """Look the key up, which some clients have in the query."""
    api_key = api_key or request.query_params.get("key", "")
    if api_key not in KEYS:
        raise HTTPException(401, f"unknown key {api_key}, hash {hashlib.sha256(api_key.encode()).hexdigest()}")
    return UserAPIKeyAuth(api_key=api_key, **KEYS[api_key])


def _said(data: dict[str, Any]) -> str:
    return str(data.get("messages"))


class Before(CustomGuardrail):
    """Refuses before the call."""

    @log_guardrail_information
    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> None:
        if "forbidden before" in _said(data):
            raise HTTPException(400, f"the guardrail refuses {_said(data)}")


class During(CustomGuardrail):
    """Refuses during the call."""

    async def async_moderation_hook(self, data: dict[str, Any], user_api_key_dict: Any, call_type: str) -> None:
        if "forbidden during" in _said(data):
            raise HTTPException(400, f"the guardrail refuses {_said(data)}")


class After(CustomGuardrail):
    """Refuses the answer."""

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> None:
        if "forbidden after" in _said(data):
            raise HTTPException(400, f"the guardrail refuses {_said(data)}")


class Hook(CustomLogger):
    """An operator's own rule."""

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> None:
        if "against the rules" in _said(data):
            raise HTTPException(403, f"the rule refuses {_said(data)}")


hook = Hook()


def own_provider() -> None:
    """Instrument with a provider that nobody but the bridge knows; for ``LITELLM_WORKER_STARTUP_HOOKS``."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    import otel_llm_bridge

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    otel_llm_bridge.instrument(tracer_provider=provider, metrics="none")

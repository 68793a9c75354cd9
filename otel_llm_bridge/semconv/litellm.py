"""Our own names, under ``litellm.*``: what the GenAI conventions have no name for.

Nothing of ours is ever invented under ``gen_ai.``. Which facts and events go out under these names, with their
types and meanings, is said by the tables in `vocabulary` and `metrics`.
"""

from __future__ import annotations

from typing import Final

SPAN_ROUTER: Final = "litellm.router"
SPAN_ATTEMPT: Final = "litellm.attempt"
SPAN_CALLBACK: Final = "litellm.callback"
SPAN_PROXY: Final = "litellm.proxy"

# One upstream attempt (inference span).
CALL_ID: Final = "litellm.call_id"
CALL_TYPE: Final = "litellm.call_type"
PROVIDER_REQUEST_ID: Final = "litellm.provider.request_id"
USAGE_SOURCE: Final = "litellm.usage.source"
COST_TOTAL: Final = "litellm.cost.total"
COST_SOURCE: Final = "litellm.cost.source"
COST_CURRENCY: Final = "litellm.cost.currency"
COST_SAVED: Final = "litellm.cost.saved"
USAGE_SAVED_INPUT: Final = "litellm.usage.saved.input_tokens"
USAGE_SAVED_OUTPUT: Final = "litellm.usage.saved.output_tokens"
CACHE_HIT: Final = "litellm.cache_hit"
HTTP_STATUS: Final = "litellm.http.status_code"
STREAM_OUTCOME: Final = "litellm.stream.outcome"
STREAM_CHUNKS: Final = "litellm.stream.chunks"
ATTEMPT_NUMBER: Final = "litellm.attempt.number"
ATTEMPT_KIND: Final = "litellm.attempt.kind"
ATTEMPT_WAIT: Final = "litellm.attempt.wait"
DEPLOYMENT_ID: Final = "litellm.deployment.id"
DEPLOYMENT_MODEL: Final = "litellm.deployment.model"
MODEL_GROUP: Final = "litellm.model_group"
END_USER: Final = "litellm.end_user"
TAGS: Final = "litellm.tags"
#: Before the name of what an allow-list lets through.
METADATA_PREFIX: Final = "litellm.metadata."
SPAN_OUTCOME: Final = "litellm.outcome"

# What an exporter limit cut off: names, and how many bytes each value had; parallel lists.
TRUNCATED_ATTRIBUTES: Final = "litellm.truncated.attributes"
TRUNCATED_BYTES: Final = "litellm.truncated.bytes"

# One logical call (Router span).
ROUTER_STRATEGY: Final = "litellm.router.strategy"
ROUTER_ATTEMPTS: Final = "litellm.router.attempts"
ROUTER_RETRIES: Final = "litellm.router.retries"
ROUTER_FALLBACKS: Final = "litellm.router.fallbacks"
ROUTER_SERVED_DEPLOYMENT: Final = "litellm.router.served.deployment.id"
ROUTER_SERVED_MODEL: Final = "litellm.router.served.model"
ROUTER_SERVED_GROUP: Final = "litellm.router.served.model_group"
ROUTER_PATH: Final = "litellm.router.path"

# One request to the Proxy (request span); who asked is on the spans below it, too.
PROXY_KEY_ALIAS: Final = "litellm.proxy.key_alias"
PROXY_TEAM_ID: Final = "litellm.proxy.team.id"
PROXY_TEAM_ALIAS: Final = "litellm.proxy.team.alias"
PROXY_USER_ID: Final = "litellm.proxy.user.id"
PROXY_ORGANIZATION_ID: Final = "litellm.proxy.organization.id"
PROXY_REJECTED_AT: Final = "litellm.proxy.rejected_at"
PROXY_ERROR: Final = "litellm.proxy.error"
PROXY_CLIENT_DISCONNECTED: Final = "litellm.proxy.client_disconnected"

# One run of a callback (callback span).
CALLBACK_NAME: Final = "litellm.callback.name"
CALLBACK_MODE: Final = "litellm.callback.mode"
CALLBACK_POINT: Final = "litellm.callback.point"

# Values.
KIND_FIRST, KIND_RETRY, KIND_FALLBACK = "first", "retry", "fallback"
OUTCOME_COMPLETE: Final = "complete"
OUTCOME_CLOSED_EARLY: Final = "closed_early"
OUTCOME_CANCELLED: Final = "cancelled"
OUTCOME_ABANDONED: Final = "abandoned"
OUTCOME_ERROR: Final = "error"
OUTCOME_PROCESS_EXIT: Final = "process_exit"
OUTCOME_INTERRUPTED: Final = "interrupted"
USAGE_FROM_PROVIDER: Final = "provider"
USAGE_ESTIMATED: Final = "litellm_estimate"

# Lifecycle events: a span event while the span records, a log record with its context afterwards.
EVENT_PRE_CALL: Final = "litellm.pre_api_call"
EVENT_POST_CALL: Final = "litellm.post_api_call"
EVENT_FIRST_CHUNK: Final = "litellm.first_chunk"
EVENT_CHUNK: Final = "litellm.chunk"
EVENT_LAST_CHUNK: Final = "litellm.last_chunk"
EVENT_SUCCESS: Final = "litellm.success"
EVENT_FAILURE: Final = "litellm.failure"
EVENT_RETRY: Final = "litellm.retry"
EVENT_CLIENT_RETRY: Final = "litellm.client_retry"
EVENT_FALLBACK: Final = "litellm.fallback"
EVENT_COOLDOWN: Final = "litellm.cooldown"
EVENT_CACHE_HIT: Final = "litellm.cache_hit"
EVENT_DEPLOYMENT: Final = "litellm.deployment_selected"
EVENT_SERVICE: Final = "litellm.service"
EVENT_GUARDRAIL: Final = "litellm.guardrail"
EVENT_REJECTED: Final = "litellm.proxy.rejected"

# Attributes of those events.
EVENT_CHUNK_INDEX: Final = "litellm.chunk.index"
EVENT_CLIENT_RETRY_NUMBER: Final = "litellm.client_retry.number"
EVENT_COOLDOWN_TIME: Final = "litellm.cooldown.time"
EVENT_FALLBACK_FROM: Final = "litellm.fallback.from"
EVENT_FALLBACK_TO: Final = "litellm.fallback.to"
EVENT_SERVICE_NAME: Final = "litellm.service.name"
EVENT_SERVICE_DURATION: Final = "litellm.service.duration"
EVENT_GUARDRAIL_NAME: Final = "litellm.guardrail.name"
EVENT_GUARDRAIL_STATUS: Final = "litellm.guardrail.status"
EVENT_CALL_SUCCEEDED: Final = "litellm.succeeded"

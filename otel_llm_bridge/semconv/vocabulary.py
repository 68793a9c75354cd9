"""Facts and the attribute names they are emitted under.

The record of a call holds facts under the short names of this table; nothing else knows attribute names.
``at_start`` marks what a sampler needs: it is an attribute before the span starts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import gen_ai, http, litellm


class Fact(NamedTuple):
    """One row: the fact's name in the record, its attribute, the type on the wire, and what it says."""

    name: str
    attribute: str
    type: str
    meaning: str
    at_start: bool = False


_G, _H, _L = gen_ai, http, litellm

#: Who asked the Proxy: on its request span, and on every span of ours below that.
CALLER: Final = (
    Fact("key_alias", _L.PROXY_KEY_ALIAS, "string", "Alias of the virtual key; never the key, nor its hash."),
    Fact("team_id", _L.PROXY_TEAM_ID, "string", "Team of the key."),
    Fact("team_alias", _L.PROXY_TEAM_ALIAS, "string", "Its alias."),
    Fact("user_id", _L.PROXY_USER_ID, "string", "LiteLLM's internal user of the key."),
    Fact("organization_id", _L.PROXY_ORGANIZATION_ID, "string", "Organization of the key."),
)  # fmt: skip

#: Facts of one upstream attempt.
INFERENCE: Final = (
    Fact("operation", _G.OPERATION_NAME, "string", "What was asked for: `chat`, `embeddings`, …", True),
    Fact("provider", _G.PROVIDER_NAME, "string", "The provider, by its well-known name where there is one.", True),
    Fact("model", _G.REQUEST_MODEL, "string", "The model that was requested, without LiteLLM's provider prefix.", True),
    Fact("agent_id", _G.AGENT_ID, "string", "The provider's agent that was invoked in the place of a model; the operation is `invoke_agent`."),
    Fact("server_address", _G.SERVER_ADDRESS, "string", "Host of the deployment.", True),
    Fact("server_port", _G.SERVER_PORT, "int", "Port of the deployment.", True),
    Fact("stream", _G.REQUEST_STREAM, "boolean", "Only there when the request streams."),
    Fact("max_tokens", _G.REQUEST_MAX_TOKENS, "int", "The limit that was requested."),
    Fact("choice_count", _G.REQUEST_CHOICE_COUNT, "int", "`n`, where it is not 1."),
    Fact("temperature", _G.REQUEST_TEMPERATURE, "double", "As requested."),
    Fact("top_p", _G.REQUEST_TOP_P, "double", "As requested."),
    Fact("top_k", _G.REQUEST_TOP_K, "int", "As requested."),
    Fact("stop_sequences", _G.REQUEST_STOP_SEQUENCES, "string[]", "As requested."),
    Fact("frequency_penalty", _G.REQUEST_FREQUENCY_PENALTY, "double", "As requested."),
    Fact("presence_penalty", _G.REQUEST_PRESENCE_PENALTY, "double", "As requested."),
    Fact("seed", _G.REQUEST_SEED, "int", "As requested."),
    Fact("encoding_formats", _G.REQUEST_ENCODING_FORMATS, "string[]", "Of an embedding."),
    Fact("dimensions", _G.EMBEDDINGS_DIMENSION_COUNT, "int", "Length of the embedding vectors."),
    Fact("output_type", _G.OUTPUT_TYPE, "string", "`json`, `text`, `image` or `speech`, where it was requested."),
    Fact("reasoning_level", _G.REQUEST_REASONING_LEVEL, "string", "The reasoning effort that was requested."),
    Fact("previous_response_id", _G.REQUEST_PREVIOUS_RESPONSE_ID, "string", "Of the Responses API, and the Interactions API's `previous_interaction_id`."),
    Fact("conversation_id", _G.CONVERSATION_ID, "string", "LiteLLM's session id, or the one set with `attributes(session=…)`."),
    Fact("response_id", _G.RESPONSE_ID, "string", "The provider's id of the response."),
    Fact("response_model", _G.RESPONSE_MODEL, "string", "The model that answered."),
    Fact("finish_reasons", _G.RESPONSE_FINISH_REASONS, "string[]", "One for each choice."),
    Fact("response_status", _G.RESPONSE_STATUS, "string", "Of the Responses and the Interactions API, where it is not `completed`; of any API `failed` where an error is among the events that the caller was given."),
    Fact("time_to_first_chunk", _G.RESPONSE_TIME_TO_FIRST_CHUNK, "double", "Seconds from the call to the first chunk."),
    Fact("input_tokens", _G.USAGE_INPUT_TOKENS, "int", "Tokens read, cached ones included."),
    Fact("output_tokens", _G.USAGE_OUTPUT_TOKENS, "int", "Tokens written, reasoning included."),
    Fact("cache_read_tokens", _G.USAGE_CACHE_READ, "int", "Part of the input that came from the provider's cache."),
    Fact("cache_write_tokens", _G.USAGE_CACHE_WRITE, "int", "Part of the input that was written to it."),
    Fact("reasoning_tokens", _G.USAGE_REASONING, "int", "Part of the output that was reasoning."),
    Fact("input_text_tokens", _G.USAGE_INPUT_TEXT, "int", "Part of the input, where the provider tells images or audio apart."),
    Fact("input_image_tokens", _G.USAGE_INPUT_IMAGE, "int", "Part of the input that was images."),
    Fact("input_audio_tokens", _G.USAGE_INPUT_AUDIO, "int", "Part of the input that was audio."),
    Fact("output_text_tokens", _G.USAGE_OUTPUT_TEXT, "int", "Part of the output, where the provider tells images or audio apart."),
    Fact("output_image_tokens", _G.USAGE_OUTPUT_IMAGE, "int", "Part of the output that is images."),
    Fact("output_audio_tokens", _G.USAGE_OUTPUT_AUDIO, "int", "Part of the output that is audio."),
    Fact("saved_input_tokens", _L.USAGE_SAVED_INPUT, "int", "Input of an answer from LiteLLM's cache; none of it was used, so it is not among the usage."),
    Fact("saved_output_tokens", _L.USAGE_SAVED_OUTPUT, "int", "Output of an answer from LiteLLM's cache."),
    Fact("usage_source", _L.USAGE_SOURCE, "string", "`provider`: reported; `litellm_estimate`: counted by LiteLLM's tokenizer."),
    Fact("error_type", _G.ERROR_TYPE, "string", "Class of the exception that the caller got."),
    Fact("http_status", _L.HTTP_STATUS, "int", "Status that LiteLLM's exception carries."),
    Fact("call_id", _L.CALL_ID, "string", "LiteLLM's `litellm_call_id`."),
    Fact("call_type", _L.CALL_TYPE, "string", "The LiteLLM function that was called."),
    Fact("provider_request_id", _L.PROVIDER_REQUEST_ID, "string", "The provider's request id, from the response headers."),
    Fact("cost", _L.COST_TOTAL, "double", "LiteLLM's own figure; absent when the price is unknown."),
    Fact("cost_source", _L.COST_SOURCE, "string", "Where LiteLLM had it from: `litellm` or `cache`."),
    Fact("cost_currency", _L.COST_CURRENCY, "string", "Always `USD`."),
    Fact("cost_saved", _L.COST_SAVED, "double", "What a cached answer would have cost."),
    Fact("cache_hit", _L.CACHE_HIT, "boolean", "The answer came from LiteLLM's cache; no provider was called."),
    Fact("stream_outcome", _L.STREAM_OUTCOME, "string", "`complete`, `closed_early`, `cancelled`, `abandoned`, `error`, `process_exit`."),
    Fact("stream_chunks", _L.STREAM_CHUNKS, "int", "Chunks that the caller was given."),
    Fact("outcome", _L.SPAN_OUTCOME, "string", "`process_exit` when the process ended during the call, `interrupted` when it was killed and its spool was found."),
    Fact("attempt_number", _L.ATTEMPT_NUMBER, "int", "From 1, within the logical call.", True),
    Fact("attempt_kind", _L.ATTEMPT_KIND, "string", "`first`, `retry` or `fallback`.", True),
    Fact("attempt_wait", _L.ATTEMPT_WAIT, "double", "Seconds since the attempt before ended."),
    Fact("deployment_id", _L.DEPLOYMENT_ID, "string", "The Router's id of the deployment.", True),
    Fact("model_group", _L.MODEL_GROUP, "string", "The Router's model group of this attempt.", True),
    Fact("end_user", _L.END_USER, "string", "LiteLLM's `user`."),
    Fact("tags", _L.TAGS, "string[]", "LiteLLM's request tags."),
    *CALLER,
)  # fmt: skip

#: Facts of one logical call: no tokens and no cost, they would be counted twice.
ROUTER: Final = (
    Fact("model_group", _L.MODEL_GROUP, "string", "The group, or the model, that was asked for.", True),
    Fact("strategy", _L.ROUTER_STRATEGY, "string", "The Router's routing strategy; `litellm` for a call that the SDK itself repeats.", True),
    Fact("attempts", _L.ROUTER_ATTEMPTS, "int", "How many attempts were made."),
    Fact("retries", _L.ROUTER_RETRIES, "int", "How many of them were retries."),
    Fact("fallbacks", _L.ROUTER_FALLBACKS, "int", "How many times another model group took over."),
    Fact("served_deployment", _L.ROUTER_SERVED_DEPLOYMENT, "string", "The deployment that answered."),
    Fact("served_model", _L.ROUTER_SERVED_MODEL, "string", "Its model."),
    Fact("served_group", _L.ROUTER_SERVED_GROUP, "string", "Its model group."),
    Fact("path", _L.ROUTER_PATH, "string[]", "The model groups that were tried, in order."),
    Fact("error_type", _G.ERROR_TYPE, "string", "Class of the exception that the caller got."),
    Fact("http_status", _L.HTTP_STATUS, "int", "Status that LiteLLM's exception carries."),
    Fact("cache_hit", _L.CACHE_HIT, "boolean", "The answer came from LiteLLM's cache."),
    Fact("stream_outcome", _L.STREAM_OUTCOME, "string", "As on the attempt."),
    Fact("outcome", _L.SPAN_OUTCOME, "string", "`process_exit` when the process ended during the call, `interrupted` when it was killed and its spool was found."),
    Fact("conversation_id", _G.CONVERSATION_ID, "string", "As on the attempt."),
    Fact("end_user", _L.END_USER, "string", "As on the attempt."),
    Fact("tags", _L.TAGS, "string[]", "As on the attempt."),
    *CALLER,
)  # fmt: skip

#: Facts of one request to the Proxy. Its query, its headers and its body are never recorded.
REQUEST: Final = (
    Fact("method", _H.REQUEST_METHOD, "string", "The HTTP method.", True),
    Fact("url_path", _H.URL_PATH, "string", "The path, without the query: Google's API has its key there.", True),
    Fact("url_scheme", _H.URL_SCHEME, "string", "`http` or `https`.", True),
    Fact("server_address", _G.SERVER_ADDRESS, "string", "What the client called the Proxy.", True),
    Fact("server_port", _G.SERVER_PORT, "int", "Its port.", True),
    Fact("protocol_version", _H.PROTOCOL_VERSION, "string", "Of HTTP.", True),
    Fact("route", _H.ROUTE, "string", "The route that matched, with its placeholders."),
    Fact("status", _H.RESPONSE_STATUS_CODE, "int", "What the client was answered."),
    Fact("error_type", _G.ERROR_TYPE, "string", "Class of the exception that ended the request."),
    Fact("rejected_at", _L.PROXY_REJECTED_AT, "string", "`authentication`, `pre_call`, `during_call` or `post_call`, where the Proxy itself refused."),
    Fact("proxy_error", _L.PROXY_ERROR, "string", "LiteLLM's own word for why: `budget_exceeded`, `key_model_access_denied`, …"),
    Fact("client_disconnected", _L.PROXY_CLIENT_DISCONNECTED, "boolean", "The client left before the answer was complete."),
    Fact("model_group", _L.MODEL_GROUP, "string", "The model that was asked for."),
    Fact("call_id", _L.CALL_ID, "string", "LiteLLM's call id, as in the answer's header."),
    Fact("outcome", _L.SPAN_OUTCOME, "string", "`process_exit` when the process ended during the request."),
    Fact("end_user", _L.END_USER, "string", "As on the attempt."),
    Fact("tags", _L.TAGS, "string[]", "As on the attempt."),
    *CALLER,
)  # fmt: skip


class LifecycleEvent(NamedTuple):
    """One row of the events table: its name, the LiteLLM hook it comes from, its attributes, when it happens."""

    name: str
    source: str
    attributes: tuple[str, ...]
    when: str


EVENTS: Final = (
    LifecycleEvent(_L.EVENT_PRE_CALL, "Logging.pre_call (log_pre_api_call)", (), "The request is about to go out."),
    LifecycleEvent(_L.EVENT_POST_CALL, "Logging.post_call (log_post_api_call)", (), "The answer has come in, of a stream its first chunk at the latest."),
    LifecycleEvent(_L.EVENT_FIRST_CHUNK, "the stream", (), "The caller is given the first chunk."),
    LifecycleEvent(_L.EVENT_CHUNK, "the stream, when `chunk_events` is set", (_L.EVENT_CHUNK_INDEX,), "The caller is given one more chunk."),
    LifecycleEvent(_L.EVENT_LAST_CHUNK, "the stream", (_L.STREAM_CHUNKS,), "The stream is at its end."),
    LifecycleEvent(_L.EVENT_SUCCESS, "Logging.success_handler, async_success_handler", (), "LiteLLM runs its success callbacks; nearly always after the span has ended."),
    LifecycleEvent(_L.EVENT_FAILURE, "Logging.failure_handler, async_failure_handler", (_G.ERROR_TYPE,), "LiteLLM runs its failure callbacks."),
    LifecycleEvent(_L.EVENT_RETRY, "Router.make_call, LiteLLM's num_retries", (_L.ATTEMPT_NUMBER, _G.ERROR_TYPE, _L.ATTEMPT_WAIT), "On the logical span: an attempt is repeated."),
    LifecycleEvent(_L.EVENT_CLIENT_RETRY, "openai's client, which LiteLLM hands `num_retries` to", (_L.EVENT_CLIENT_RETRY_NUMBER, _L.HTTP_STATUS), "On the attempt: the HTTP client repeats its request by itself."),
    LifecycleEvent(_L.EVENT_FALLBACK, "Router.async_function_with_fallbacks, LiteLLM's fallbacks", (_L.EVENT_FALLBACK_FROM, _L.EVENT_FALLBACK_TO, _G.ERROR_TYPE), "On the logical span: another model takes over."),
    LifecycleEvent(_L.EVENT_DEPLOYMENT, "Router.make_call", (_L.DEPLOYMENT_ID, _L.DEPLOYMENT_MODEL, _L.ATTEMPT_NUMBER), "On the logical span: the Router has chosen a deployment."),
    LifecycleEvent(_L.EVENT_COOLDOWN, "router_cooldown_event_callback", (_L.DEPLOYMENT_ID, _L.EVENT_COOLDOWN_TIME, _L.HTTP_STATUS), "A deployment is put into cooldown."),
    LifecycleEvent(_L.EVENT_CACHE_HIT, "LLMCachingHandler._update_litellm_logging_obj_environment", (), "The answer came from LiteLLM's cache."),
    LifecycleEvent(_L.EVENT_SERVICE, "ServiceLogging.async_service_success_hook, async_service_failure_hook", (_L.EVENT_SERVICE_NAME, _L.EVENT_SERVICE_DURATION, _L.EVENT_CALL_SUCCEEDED, _G.ERROR_TYPE), "LiteLLM used a service: Redis, a database, the Router."),
    LifecycleEvent(_L.EVENT_GUARDRAIL, "CustomGuardrail.add_standard_logging_guardrail_information_to_request_data", (_L.EVENT_GUARDRAIL_NAME, _L.EVENT_GUARDRAIL_STATUS), "A guardrail has run."),
    LifecycleEvent(_L.EVENT_REJECTED, "user_api_key_auth, ProxyLogging.pre_call_hook, during_call_hook, post_call_success_hook", (_L.PROXY_REJECTED_AT, _G.ERROR_TYPE, _L.HTTP_STATUS, _G.EXCEPTION_MESSAGE), "On the request span: the Proxy refuses. The message only where content goes on spans."),
)  # fmt: skip

"""Redaction in the real Collector: secrets go, by key and by value, wherever they stand; figures stay."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Status, StatusCode

from otel_llm_bridge.semconv import gen_ai, litellm

from .programs import until
from .spans import sent
from .stack import Stack
from .test_traces import tags

#: No real secret; what a test finds of it anywhere has leaked.
CANARY: Final = "C4naryC4naryC4naryC4naryC4naryC4nary"

SECRET_KEYS: Final = (
    "api_key", "litellm.metadata.api_key", "litellm.metadata.user_api_key", "openai.apiKey", "http.request.header.authorization",
    "http.request.header.x-api-key", "http.request.header.x-goog-api-key", "http.request.header.cookie", "proxy-authorization",
    "aws_secret_access_key", "client_secret", "db.password", "litellm.metadata.hf_token", "accessToken", "refresh_token",
    "azure_ad_token", "google_credentials", "LITELLM_MASTER_KEY", "private_key", "ocp-apim-subscription-key",
)  # fmt: skip

#: Texts as they occur in exceptions, headers, JSON and URLs.
SECRET_VALUES: Final = (
    f"Incorrect API key provided: sk-{CANARY}. You can find your key",
    f"sk-ant-api03-{CANARY}-AA", f"sk-or-v1-{CANARY}", f"gsk_{CANARY}", f"xai-{CANARY}", f"hf_{CANARY}", f"pplx-{CANARY}",
    f"AIza{CANARY}", f"ghp_{CANARY}", f"nvapi-{CANARY}", f"xoxb-{CANARY}", f"Bearer {CANARY}",
    f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
    json.dumps({"api_key": CANARY, "model": "gpt-4o"}),
    json.dumps(json.dumps({"api_key": CANARY})),
    f"{{'Authorization': 'Basic {CANARY}=='}}",
    f"OPENAI_API_KEY={CANARY}", f"client_secret={CANARY}&grant_type=client_credentials",
    f"https://user:{CANARY}@proxy.example:8080/v1", f"https://example.com/v1beta/models?alt=sse&key={CANARY}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    ("first", f"sk-{CANARY}"),
)  # fmt: skip

#: What must come through unchanged.
KEPT: Final[dict[str, Any]] = {
    gen_ai.OPERATION_NAME: "chat", gen_ai.REQUEST_MODEL: "gpt-4o-mini", gen_ai.REQUEST_MAX_TOKENS: 512,
    gen_ai.USAGE_INPUT_TOKENS: 1234567890123456, gen_ai.USAGE_OUTPUT_TOKENS: 34, gen_ai.USAGE_CACHE_READ: 8, gen_ai.USAGE_CACHE_WRITE: 9,
    gen_ai.USAGE_REASONING: 21, gen_ai.RESPONSE_ID: "chatcmpl-0123456789abcdef0123456789abcdef", "gen_ai.token.type": "input",
    litellm.COST_TOTAL: 0.00123, litellm.CALL_ID: "0b9c2c8e-9d0a-4c3f-8f0e-3c9f0a1b2c3d", litellm.PROVIDER_REQUEST_ID: "req_0123456789abcdef",
    litellm.DEPLOYMENT_ID: "a3f5c1d2e4b697880123456789abcdef0123456789abcdef0123456789abcdef", "input_cost_per_token": 1.5e-07,
    "output_cost_per_reasoning_token": 6e-07, "litellm.metadata.user_api_key_alias": "team-blue", "task": "task-oriented-dialogue", "disk": "disk-backed-buffers",
    gen_ai.SERVER_ADDRESS: "api.openai.com", gen_ai.SERVER_PORT: 443, "url.full": "https://api.openai.com/v1/chat/completions?alt=sse",
    gen_ai.OUTPUT_MESSAGES: json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Tokens, keys and the Basic understanding of bearer bonds: a cookie."}]}]),
}  # fmt: skip


@pytest.fixture(scope="module")
def redacted(stack: Stack) -> dict[str, Any]:
    """One span that holds every secret in every place, as Jaeger has it."""
    with sent(stack, "redaction") as (tracer, _):
        tracer = tracer  # the resource and the scope are those of the service
        span = tracer.start_span("chat", attributes={**KEPT, **dict.fromkeys(SECRET_KEYS, CANARY)})
        for number, value in enumerate(SECRET_VALUES):
            span.set_attribute(f"text.{number}", value)
            span.add_event(f"event.{number}", {gen_ai.EXCEPTION_MESSAGE: value})
        span.set_status(Status(StatusCode.ERROR, f"AuthenticationError: Incorrect API key provided: sk-{CANARY}."))
        span.end()
    trace_id = f"{span.get_span_context().trace_id:032x}"
    (arrived,) = until(lambda: stack.trace(trace_id), "the span is in Jaeger")
    return arrived


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_secret_keys_are_masked(redacted: dict[str, Any], key: str) -> None:
    """The whole value of an attribute whose key says that it is a secret is masked, whatever it looks like."""
    assert tags(redacted)[key] == "****"


@pytest.mark.parametrize("number", range(len(SECRET_VALUES)), ids=[str(value)[:24] for value in SECRET_VALUES])
def test_secret_values_are_masked(redacted: dict[str, Any], number: int) -> None:
    """A secret inside a longer text is masked in attributes and in events."""
    (event,) = [log for log in redacted["logs"] if tags(log)["event"] == f"event.{number}"]
    for text in (tags(redacted)[f"text.{number}"], tags(event)[gen_ai.EXCEPTION_MESSAGE]):
        assert CANARY not in text
        assert "****" in text


def test_status_message_is_masked(redacted: dict[str, Any]) -> None:
    """A provider's message in the span's status loses the key and keeps its words."""
    assert tags(redacted)["otel.status_description"] == "AuthenticationError: Incorrect API key provided: ****."


def test_nothing_leaks(redacted: dict[str, Any]) -> None:
    """No place that the two tables do not name holds a secret, and no helper attribute of the rules is left."""
    assert CANARY not in json.dumps(redacted)
    assert not [key for key in tags(redacted) if key.startswith("collector.")]


@pytest.mark.parametrize("key", KEPT)
def test_figures_are_kept(redacted: dict[str, Any], key: str) -> None:
    """Token counts, cost, ids and ordinary texts arrive with their value and their type."""
    assert tags(redacted)[key] == KEPT[key]


def test_logs_are_masked(stack: Stack) -> None:
    """Log records reach the Collector's file masked, in their attributes and in their body."""
    provider = LoggerProvider(resource=Resource({"service.name": "redaction-logs"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=stack.url("OTLP_HTTP_PORT") + "/v1/logs")))
    for value in SECRET_VALUES:
        provider.get_logger("otel_llm_bridge").emit(body={"text": value}, attributes={"text": value, "api_key": CANARY}, event_name=litellm.EVENT_FAILURE)
    provider.shutdown()
    file = stack.folder / "collector" / "logs" / "logs.jsonl"
    text = until(lambda: file.exists() and (text := file.read_text()).count(litellm.EVENT_FAILURE) == len(SECRET_VALUES) and text, "all log records are in the file")
    assert text
    assert CANARY not in text

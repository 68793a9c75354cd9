"""Lifecycle hooks: span events while the span is open, log records with its context afterwards."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.export import otlp_env, tracer
from otel_llm_bridge.export.call_span import CallSpan
from otel_llm_bridge.export.delivery import Delivery
from otel_llm_bridge.export.processors import DeliverySpanProcessor
from otel_llm_bridge.export.transport import connect
from otel_llm_bridge.invocation import Invocation
from otel_llm_bridge.providers import SCOPE, Providers
from otel_llm_bridge.semconv.vocabulary import EVENTS
from otel_llm_bridge.settings import Settings
from otel_llm_bridge.telemetry import inference_layer

from ..conftest import MESSAGES, Bridge, eventually
from ..truth.recording import Recording

try:
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter as Exporter
except ImportError:  # its name before OpenTelemetry 1.39
    from opentelemetry.sdk._logs.export import InMemoryLogExporter as Exporter

_NAMES = {event.name for event in EVENTS}


def _names(span: Any) -> list[str]:
    return [event.name for event in span.events]


@pytest.fixture
def with_logs(make_bridge: Callable[..., Bridge]) -> tuple[Bridge, Any]:
    """The bridge, and where its log records go."""
    exporter = Exporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return make_bridge(logger_provider=provider), exporter


def test_events_of_a_call(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """A sync call: before the request and after the answer."""
    litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
    names = _names(bridge.span())
    assert names[:2] == ["litellm.pre_api_call", "litellm.post_api_call"]
    assert set(names) <= _NAMES


def test_events_of_a_failure(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """A failure, sync and async: LiteLLM's failure hook once, and the exception."""
    asked = {"model": "openai/error-401", "messages": MESSAGES, **openai_kwargs}
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**asked)
    with pytest.raises(litellm.AuthenticationError):
        asyncio.run(litellm.acompletion(**asked))
    for span in bridge.all():
        assert _names(span).count("litellm.failure") == 1
        assert _names(span).count("exception") == 1


@pytest.mark.parametrize(("chunk_events", "expected"), [(False, 0), (True, 11)])
def test_events_of_a_stream(chunk_events: bool, expected: int, make_bridge: Callable[..., Bridge], provider: FakeProvider) -> None:
    """The first and the last chunk; one event for each of the others only when asked for."""
    bridge = make_bridge(chunk_events=chunk_events)
    stream = litellm.completion(
        model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, api_base=provider.at("words-10", "/v1"), api_key="sk-test"
    )
    chunks = len(list(stream))
    names = _names(bridge.span())
    assert names.count("litellm.first_chunk") == names.count("litellm.last_chunk") == 1
    assert names.count("litellm.chunk") == (chunks - 1 if chunk_events else 0)
    assert (expected == 0) == (not chunk_events)


async def test_what_comes_late_is_a_log_record(with_logs: tuple[Bridge, Any], openai_kwargs: dict[str, Any]) -> None:
    """LiteLLM's async success hook runs after the call: a log record of that name, with the span's ids."""
    bridge, exporter = with_logs
    await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
    await eventually(lambda: len(exporter.get_finished_logs()) > 0)
    span = bridge.span()
    assert "litellm.success" not in _names(span)
    (log,) = exporter.get_finished_logs()
    record = log.log_record
    assert (getattr(record, "event_name", None) or (record.attributes or {}).get("event.name")) == "litellm.success"
    assert record.trace_id == span.context.trace_id
    assert record.span_id == span.context.span_id


class _Nowhere(DeliverySpanProcessor):
    """Our processor, which the bridge's own spans need; nothing is delivered."""

    def __init__(self) -> None:
        super().__init__(Delivery(lambda _: None, connect(otlp_env.endpoint("traces"), "traces")))

    def on_end(self, span: Any) -> None:
        pass


@pytest.mark.parametrize("put_first", [True, False])
@pytest.mark.parametrize("kind", [TracerProvider, functools.partial(tracer.Provider, SCOPE)], ids=["SDK", "ours"])
def test_an_event_in_the_moment_of_the_end(kind: Any, put_first: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Another thread ends the call while an event is put on its span: it is in one place, and in one only."""
    recorded = Recording(ALWAYS_ON)
    provider = kind(shutdown_on_exit=False)
    provider.add_span_processor(_Nowhere())
    layer = inference_layer(Providers(Settings.resolve({}), **{**recorded.providers(), "tracer_provider": provider}))
    call = Invocation(layer, {"operation": "chat"})
    span: Any = call.span
    assert isinstance(span, CallSpan) is (kind is not TracerProvider)
    put = span.add_event

    def add_event(*args: Any) -> None:
        ending = threading.Thread(target=call.finish)
        for step in (lambda: put(*args), lambda: (ending.start(), ending.join()))[:: 1 if put_first else -1]:
            step()

    span.add_event = add_event
    call.event("litellm.success")
    assert (_names(span), len(recorded.logs())) == ((["litellm.success"], 0) if put_first else ([], 1))
    assert kind is TracerProvider or caplog.messages == []


async def test_a_service_hook_is_an_event(bridge: Bridge, provider: FakeProvider) -> None:
    """LiteLLM's service hooks, here the Router's, are events of the span that is current."""
    from .test_router import deployment

    router = litellm.Router(model_list=[deployment(provider, "a", "ok", "deployment-a")])
    await router.acompletion(model="a", messages=MESSAGES)

    def services() -> list[Any]:
        return [event for span in bridge.all() for event in span.events if event.name == "litellm.service"]

    await eventually(lambda: len(services()) > 0)
    attributes = dict(services()[0].attributes or {})
    assert attributes["litellm.service.name"] == "router"
    assert attributes["litellm.succeeded"] is True


async def test_a_guardrail_is_an_event(bridge: Bridge) -> None:
    """What a guardrail reports is an event with its name and its verdict, and none of the text."""
    from litellm.integrations.custom_guardrail import CustomGuardrail

    guardrail = CustomGuardrail(guardrail_name="no-secrets")
    tracer_call = litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, mock_response="x")
    original = litellm.litellm_core_utils.litellm_logging.Logging.pre_call

    def reporting(self: Any, *args: Any, **kwargs: Any) -> Any:
        guardrail.add_standard_logging_guardrail_information_to_request_data(
            guardrail_json_response={"found": "canary"}, request_data={"metadata": {}}, guardrail_status="guardrail_intervened",
            start_time=1.0, end_time=2.0, duration=1.0,
        )  # fmt: skip
        return original(self, *args, **kwargs)

    litellm.litellm_core_utils.litellm_logging.Logging.pre_call = reporting
    try:
        await tracer_call
    finally:
        litellm.litellm_core_utils.litellm_logging.Logging.pre_call = original
    events = [event for event in bridge.span().events if event.name == "litellm.guardrail"]
    assert [dict(event.attributes or {}) for event in events] == [
        {"litellm.guardrail.name": "no-secrets", "litellm.guardrail.status": "guardrail_intervened"}
    ]
    assert "canary" not in bridge.span().to_json()

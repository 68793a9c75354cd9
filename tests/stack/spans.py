"""A Router call's tree as plain SDK spans, sent over OTLP: what the stack is given where its own behaviour is tested."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context

from otel_llm_bridge.semconv import gen_ai, litellm

from .stack import Stack


class Batch(SpanProcessor):
    """Keeps the ended spans until they are asked for."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.spans.append(span)


def exporter(stack: Stack, protocol: str = "grpc", timeout: float = 10) -> SpanExporter:
    """The SDK's exporter to the stack's Collector."""
    if protocol == "grpc":
        return GrpcExporter(endpoint=stack.url("OTLP_GRPC_PORT"), insecure=True, timeout=timeout)
    return HttpExporter(endpoint=stack.url("OTLP_HTTP_PORT") + "/v1/traces", timeout=timeout)


@contextlib.contextmanager
def sent(stack: Stack, service: str, protocol: str = "grpc") -> Iterator[tuple[Tracer, Batch]]:
    """A tracer whose spans have been acknowledged by the Collector when the block is left."""
    provider, batch = TracerProvider(resource=Resource({"service.name": service})), Batch()
    provider.add_span_processor(batch)
    yield provider.get_tracer("otel_llm_bridge"), batch
    sender = exporter(stack, protocol)
    assert sender.export(batch.spans) is SpanExportResult.SUCCESS
    sender.shutdown()


def router_tree(tracer: Tracer, model: str = "gpt-4o-mini") -> str:
    """A Router call whose first attempt fails and whose second serves; the trace's id in hexadecimal."""
    router = tracer.start_span(f"{litellm.SPAN_ROUTER} assistant", attributes={litellm.MODEL_GROUP: "assistant", litellm.ROUTER_ATTEMPTS: 2})
    within = set_span_in_context(router)
    request = {gen_ai.OPERATION_NAME: gen_ai.CHAT, gen_ai.PROVIDER_NAME: "openai", gen_ai.REQUEST_MODEL: model}
    failed = tracer.start_span(
        f"{gen_ai.CHAT} {model}", context=within, kind=SpanKind.CLIENT,
        attributes={**request, litellm.ATTEMPT_NUMBER: 1, litellm.ATTEMPT_KIND: litellm.KIND_FIRST, litellm.DEPLOYMENT_ID: "east"},
    )  # fmt: skip
    failed.set_attribute(gen_ai.ERROR_TYPE, "ServiceUnavailableError")
    failed.record_exception(RuntimeError("overloaded"))
    failed.set_status(Status(StatusCode.ERROR, "overloaded"))
    failed.end()
    router.add_event(litellm.EVENT_RETRY, {litellm.ATTEMPT_NUMBER: 2})
    served = tracer.start_span(
        f"{gen_ai.CHAT} {model}", context=within, kind=SpanKind.CLIENT,
        attributes={**request, litellm.ATTEMPT_NUMBER: 2, litellm.ATTEMPT_KIND: litellm.KIND_RETRY, litellm.DEPLOYMENT_ID: "west"},
    )  # fmt: skip
    served.add_event(litellm.EVENT_FIRST_CHUNK)
    served.set_attributes({gen_ai.USAGE_INPUT_TOKENS: 12, gen_ai.USAGE_OUTPUT_TOKENS: 34})
    served.end()
    router.end()
    return f"{router.get_span_context().trace_id:032x}"

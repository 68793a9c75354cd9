"""Real OpenTelemetry pipelines that send to a receiver, for the tests of what receives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

from otel_llm_bridge.viewer import Receiver


def exporter_for(receiver: Receiver, protocol: str, timeout: float = 5) -> SpanExporter:
    """The real exporter of one protocol, pointed at the receiver."""
    if protocol == "grpc":
        return GrpcSpanExporter(receiver.grpc_endpoint, insecure=True, timeout=timeout)
    compression = Compression.Gzip if protocol == "http+gzip" else Compression.NoCompression
    return HttpSpanExporter(receiver.http_endpoint + "/v1/traces", timeout=timeout, compression=compression)


@contextmanager
def tracer_to(receiver: Receiver, protocol: str = "http", **resource: Any) -> Iterator[Tracer]:
    """A tracer whose spans are sent when they end."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop", **resource}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter_for(receiver, protocol)))
    yield provider.get_tracer("tests.viewer", "1.2", schema_url="https://example.org/schema")
    provider.shutdown()

"""Spans with given ids and times, so that what is shown can be compared word for word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_llm_bridge.viewer import Store

#: 2026-01-02 03:04:05 UTC.
EPOCH = 1_767_323_045_000_000_000
MS = 1_000_000


def any_value(value: Any) -> AnyValue:
    """A Python value as OTLP's."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    return AnyValue(string_value=value)


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span(
    name: str,
    number: int,
    parent: int = 0,
    trace: int = 1,
    start_ms: float = 0,
    ms: float = 10,
    kind: int = 1,
    error: bool = False,
    events: Sequence[tuple[str, float]] = (),
    attributes: Mapping[str, Any] | None = None,
) -> Span:
    """A span; ids are small numbers, times milliseconds."""
    start = EPOCH + round(start_ms * MS)
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        kind=kind,
        start_time_unix_nano=start,
        end_time_unix_nano=start + round(ms * MS),
        attributes=pairs(attributes or {}),
        events=[Span.Event(name=event, time_unix_nano=start + round(at * MS)) for event, at in events],
        status={"code": 2 if error else 0},
    )


def request(*spans: Span, service: str = "shop") -> ExportTraceServiceRequest:
    """The spans in one export request of one service."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.extend(pairs({"service.name": service}))
    group.scope_spans.add().spans.extend(spans)
    return message


def store_of(*spans: Span) -> Store:
    """A store that holds the spans."""
    store = Store()
    store.add("traces", request(*spans))
    return store


def add_log(store: Store, name: str, of: Span, after_ms: float) -> None:
    """A log record that belongs to a span."""
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add(
        event_name=name,
        trace_id=of.trace_id,
        span_id=of.span_id,
        time_unix_nano=of.start_time_unix_nano + round(after_ms * MS),
    )
    store.add("logs", message)

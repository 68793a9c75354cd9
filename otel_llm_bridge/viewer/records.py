"""What the receiver keeps of OTLP: plain frozen records, decoded from the protobuf messages once.

Source: opentelemetry-proto 1.x (``trace.proto``, ``metrics.proto``, ``logs.proto``, ``common.proto``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

SPAN_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS_CODES: Final = ("UNSET", "OK", "ERROR")

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Scope:
    """The instrumentation scope and the resource that a record came with."""

    name: str
    version: str
    schema_url: str
    resource: Attributes

    @property
    def service(self) -> str:
        """``service.name`` of the resource, or the SDK's own word for a missing one."""
        return str(self.resource.get("service.name", "unknown_service"))


@dataclass(frozen=True)
class Event:
    """One span event."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True)
class Link:
    """One span link; ids in hexadecimal."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True)
class Span:
    """One ended span; ids in hexadecimal, times in nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    status_code: str
    status_message: str
    scope: Scope

    @property
    def resource(self) -> Attributes:
        """Attributes of the resource."""
        return self.scope.resource

    @property
    def scope_name(self) -> str:
        """Name of the instrumentation scope."""
        return self.scope.name

    @property
    def scope_version(self) -> str:
        """Version of the instrumentation scope."""
        return self.scope.version

    @property
    def schema_url(self) -> str:
        """Schema of the instrumentation scope."""
        return self.scope.schema_url

    @property
    def duration_ns(self) -> int:
        """End minus start, never below zero."""
        return max(0, self.end_ns - self.start_ns)


@dataclass(frozen=True)
class Trace:
    """The spans of one trace that have arrived, in the order in which they started."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def start_ns(self) -> int:
        """Start of the earliest span."""
        return self.spans[0].start_ns

    @property
    def end_ns(self) -> int:
        """End of the latest span."""
        return max(span.end_ns for span in self.spans)

    def walk(self) -> Iterator[tuple[int, Span]]:
        """Each span once with its depth: parents before children, siblings by start.

        A span whose parent has not arrived stands at the top; so does a span of a parent cycle,
        which only a broken sender makes.
        """
        present = {span.span_id for span in self.spans}
        children: dict[str | None, list[Span]] = {}
        for span in self.spans:
            known = span.parent_span_id in present and span.parent_span_id != span.span_id
            children.setdefault(span.parent_span_id if known else None, []).append(span)
        seen: set[str] = set()
        for top in [*children.get(None, ()), *self.spans]:
            stack = [(0, top)]
            while stack:
                depth, span = stack.pop()
                if span.span_id in seen:
                    continue
                seen.add(span.span_id)
                yield depth, span
                stack.extend((depth + 1, child) for child in reversed(children.get(span.span_id, ())))


@dataclass(frozen=True)
class Point:
    """One data point of a metric. ``value`` is a number, or the histogram's figures as a mapping."""

    attributes: Attributes
    start_ns: int
    time_ns: int
    value: Any


@dataclass(frozen=True)
class Metric:
    """One metric as one export carried it; ``kind`` is the field of OTLP's ``data``: sum, gauge, histogram …"""

    name: str
    unit: str
    description: str
    kind: str
    points: tuple[Point, ...]
    scope: Scope


@dataclass(frozen=True)
class LogRecord:
    """One log record; the ids are those of the span that it belongs to, or None."""

    time_ns: int
    observed_ns: int
    severity_number: int
    severity_text: str
    event_name: str
    body: Any
    attributes: Attributes
    trace_id: str | None
    span_id: str | None
    scope: Scope


def logs_by_span(trace_id: str, logs: Iterable[LogRecord]) -> dict[str, list[LogRecord]]:
    """The log records of one trace, by the span that they belong to."""
    found: dict[str, list[LogRecord]] = {}
    for log in logs:
        if log.trace_id == trace_id and log.span_id:
            found.setdefault(log.span_id, []).append(log)
    return found


def plain(value: Any) -> Any:
    """OTLP's ``AnyValue`` as a Python value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes_of(pairs: Iterable[Any]) -> dict[str, Any]:
    """OTLP's repeated ``KeyValue`` as a dict."""
    return {pair.key: plain(pair.value) for pair in pairs}


def spans_of(request: Any) -> Iterator[tuple[Span, int]]:
    """Each span of an ``ExportTraceServiceRequest`` with its encoded size in bytes."""
    for scope, group in _scopes(request.resource_spans, "scope_spans"):
        for span in group.spans:
            yield _span(span, scope), span.ByteSize()


def metrics_of(request: Any) -> Iterator[tuple[Metric, int]]:
    """Each metric of an ``ExportMetricsServiceRequest`` with its encoded size in bytes."""
    for scope, group in _scopes(request.resource_metrics, "scope_metrics"):
        for metric in group.metrics:
            kind = metric.WhichOneof("data") or "none"
            points = tuple(_point(point) for point in getattr(metric, kind).data_points) if kind != "none" else ()
            yield Metric(metric.name, metric.unit, metric.description, kind, points, scope), metric.ByteSize()


def logs_of(request: Any) -> Iterator[tuple[LogRecord, int]]:
    """Each record of an ``ExportLogsServiceRequest`` with its encoded size in bytes."""
    for scope, group in _scopes(request.resource_logs, "scope_logs"):
        for log in group.log_records:
            attributes = attributes_of(log.attributes)
            record = LogRecord(
                time_ns=log.time_unix_nano,
                observed_ns=log.observed_time_unix_nano,
                severity_number=log.severity_number,
                severity_text=log.severity_text,
                # The field is younger than the lowest OpenTelemetry: before, the name was an attribute.
                event_name=getattr(log, "event_name", "") or str(attributes.get("event.name", "")),
                body=plain(log.body),
                attributes=attributes,
                trace_id=log.trace_id.hex() or None,
                span_id=log.span_id.hex() or None,
                scope=scope,
            )
            yield record, log.ByteSize()


def _scopes(resources: Iterable[Any], field: str) -> Iterator[tuple[Scope, Any]]:
    for resource in resources:
        attributes = attributes_of(resource.resource.attributes)
        for group in getattr(resource, field):
            yield Scope(group.scope.name, group.scope.version, group.schema_url, attributes), group


def _span(span: Any, scope: Scope) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_named(SPAN_KINDS, span.kind),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=attributes_of(span.attributes),
        events=tuple(Event(e.name, e.time_unix_nano, attributes_of(e.attributes)) for e in span.events),
        links=tuple(Link(k.trace_id.hex(), k.span_id.hex(), attributes_of(k.attributes)) for k in span.links),
        status_code=_named(STATUS_CODES, span.status.code),
        status_message=span.status.message,
        scope=scope,
    )


def _named(names: tuple[str, ...], number: int) -> str:
    """The name of an enum's value; a number that the table lacks (protobuf enums are open) is the first one."""
    return names[number] if 0 <= number < len(names) else names[0]


def _point(point: Any) -> Point:
    fields = point.DESCRIPTOR.fields_by_name
    if "as_int" in fields:
        kind = point.WhichOneof("value")
        value: Any = getattr(point, kind) if kind else None
    else:
        wanted = ("count", "sum", "min", "max", "bucket_counts", "explicit_bounds", "scale", "zero_count")
        value = {
            name: list(getattr(point, name)) if name in ("bucket_counts", "explicit_bounds") else getattr(point, name)
            for name in wanted
            if name in fields
        }
    return Point(attributes_of(point.attributes), point.start_time_unix_nano, point.time_unix_nano, value)

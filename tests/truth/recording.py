"""The bridge with all three signals recorded, and what it emitted as the records that the checker reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import export as logs_export
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

import otel_llm_bridge
from otel_llm_bridge import streams

# Both were renamed in OpenTelemetry 1.39.
_LogExporter: Any = getattr(logs_export, "InMemoryLogRecordExporter", None) or getattr(logs_export, "InMemoryLogExporter")
_LogProcessor: Any = logs_export.SimpleLogRecordProcessor


class _Starts(SpanProcessor):
    """Notes what a sampler could see: the attributes that a span was started with."""

    def __init__(self) -> None:
        self.keys: dict[int, list[str]] = {}

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.keys[span.context.span_id] = list(span.attributes or {})


class Recording:
    """Providers for all signals, in memory."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._starts, self._spans, self._logs = _Starts(), InMemorySpanExporter(), _LogExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(self._starts)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.logger_provider = sdk_logs.LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(_LogProcessor(self._logs))

    def providers(self) -> dict[str, Any]:
        """As arguments of `otel_llm_bridge.instrument`."""
        return {
            "tracer_provider": self.tracer_provider,
            "meter_provider": self.meter_provider,
            "logger_provider": self.logger_provider,
        }

    def spans(self) -> list[ReadableSpan]:
        """Finished spans, in the order of their start."""
        streams.settle_left_streams(5)
        return sorted(self._spans.get_finished_spans(), key=lambda span: span.start_time or 0)

    def inference(self) -> list[dict[str, Any]]:
        """The attributes of each upstream attempt."""
        return [dict(span.attributes or {}) for span in self.spans() if "gen_ai.operation.name" in (span.attributes or {})]

    def metrics(self) -> dict[str, Metric]:
        """The bridge's metrics by name, cumulative since the start."""
        streams.settle_left_streams(5)
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "otel_llm_bridge"
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The data points of one metric; none when nothing was recorded."""
        metric = self.metrics().get(name)
        return list(metric.data.data_points) if metric else []

    def logs(self) -> list[Any]:
        """The log records."""
        return [data.log_record for data in self._logs.get_finished_logs()]

    def records(self) -> list[dict[str, Any]]:
        """Everything, as simple records of the checker."""
        return [
            *(self._span(span) for span in self.spans()),
            *(_metric(metric) for metric in self.metrics().values()),
            *(_log(record) for record in self.logs()),
        ]

    def _span(self, span: ReadableSpan) -> dict[str, Any]:
        assert span.context is not None
        context = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
        return {
            "signal": "span",
            "name": span.name,
            "kind": span.kind.name,
            "status": {"code": span.status.status_code.name, "message": span.status.description},
            "attributes": _plain(span.attributes),
            "events": [{"name": event.name, "attributes": _plain(event.attributes)} for event in span.events],
            "duration_s": ((span.end_time or 0) - (span.start_time or 0)) / 1e9,
            "start_attributes": self._starts.keys[span.context.span_id],
            "trace_id": context[0],
            "span_id": context[1],
            "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else "",
        }


def _plain(attributes: Any) -> dict[str, Any]:
    """Through JSON, as an exporter would: tuples become lists, and int and double stay apart."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(attributes or {}), default=list))
    return plain


_INSTRUMENTS = {"Histogram": "histogram", "ExponentialHistogram": "exponential_histogram", "Gauge": "gauge"}


def _metric(metric: Metric) -> dict[str, Any]:
    kind = type(metric.data).__name__
    monotonic = getattr(metric.data, "is_monotonic", False)
    points = metric.data.data_points
    return {
        "signal": "metric",
        "name": metric.name,
        "unit": metric.unit,
        "instrument": _INSTRUMENTS.get(kind) or ("counter" if monotonic else "updowncounter"),
        "points": [
            {"attributes": _plain(point.attributes), "explicit_bounds": _bounds(point)} for point in points
        ],
    }


def _bounds(point: Any) -> list[float] | None:
    bounds = getattr(point, "explicit_bounds", None)
    return None if bounds is None else list(bounds)


def _log(record: Any) -> dict[str, Any]:
    attributes = _plain(record.attributes)
    former = attributes.pop("event.name", None)  # before log records had a field for it
    return {
        "signal": "event",
        "event_name": getattr(record, "event_name", None) or former,
        "severity_number": getattr(record.severity_number, "value", None),
        "attributes": attributes,
    }


def recording(**options: Any) -> Iterator[Callable[..., Recording]]:
    """Body of a fixture: a function that switches the bridge on, recorded; it is off again afterwards."""

    def make(sampler: Sampler = ALWAYS_ON, **more: Any) -> Recording:
        recorded = Recording(sampler)
        otel_llm_bridge.instrument(**{**recorded.providers(), "strict": True, "handle_signals": False, **options, **more})
        return recorded

    yield make
    otel_llm_bridge.uninstrument()

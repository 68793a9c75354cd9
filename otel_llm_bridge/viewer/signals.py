"""The three OTLP signals in one table: path, service, messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass(frozen=True)
class Signal:
    """One row: how a signal is called over HTTP, gRPC and in a JSON line."""

    name: str
    path: str
    #: The full name of the gRPC service; its only method is ``Export``.
    service: str
    #: The first key of its JSON form, by which a line of a file is told apart.
    json_key: str
    #: The field of the partial success that counts what was refused.
    rejected_field: str
    request: Any
    response: Any


def _signal(name: str, json_key: str, rejected_field: str, module: Any, stem: str) -> Signal:
    return Signal(
        name=name,
        path=f"/v1/{name}",
        service=module.DESCRIPTOR.services_by_name[f"{stem}Service"].full_name,
        json_key=json_key,
        rejected_field=rejected_field,
        request=getattr(module, f"Export{stem}ServiceRequest"),
        response=getattr(module, f"Export{stem}ServiceResponse"),
    )


SIGNALS: Final = (
    _signal("traces", "resourceSpans", "rejected_spans", trace_service_pb2, "Trace"),
    _signal("metrics", "resourceMetrics", "rejected_data_points", metrics_service_pb2, "Metrics"),
    _signal("logs", "resourceLogs", "rejected_log_records", logs_service_pb2, "Logs"),
)
BY_PATH: Final = {signal.path: signal for signal in SIGNALS}

"""Names of the metrics in which an SDK reports on itself.

Source: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

from typing import Final

PROCESSOR_PROCESSED: Final = "otel.sdk.processor.span.processed"
PROCESSOR_QUEUE_SIZE: Final = "otel.sdk.processor.span.queue.size"
PROCESSOR_QUEUE_CAPACITY: Final = "otel.sdk.processor.span.queue.capacity"
EXPORTER_EXPORTED: Final = "otel.sdk.exporter.span.exported"
EXPORTER_INFLIGHT: Final = "otel.sdk.exporter.span.inflight"
POINTS_EXPORTED: Final = "otel.sdk.exporter.metric_data_point.exported"

# The conventions know no spool.
SPOOL_SPANS: Final = "otel_llm_bridge.spool.span.count"
SPOOL_REPLAYED: Final = "otel_llm_bridge.spool.span.replayed"

COMPONENT_TYPE: Final = "otel.component.type"
COMPONENT_NAME: Final = "otel.component.name"
ERROR_TYPE: Final = "error.type"

PROCESSOR_TYPE: Final = "otel_llm_bridge_span_processor"
EXPORTER_TYPE: Final = "otel_llm_bridge_span_exporter"
METRIC_EXPORTER_TYPE: Final = "otel_llm_bridge_metric_exporter"
UNIT_SPAN: Final = "{span}"
UNIT_POINT: Final = "{data_point}"

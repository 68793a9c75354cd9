"""Tag names under which Jaeger shows what OTLP has fields for.

Source: Jaeger v2, ``internal/jptrace`` and OpenTelemetry's "Transformation to non-OTLP formats".
"""

from __future__ import annotations

from typing import Final

SPAN_KIND: Final = "span.kind"
ERROR: Final = "error"
STATUS_CODE: Final = "otel.status_code"
STATUS_DESCRIPTION: Final = "otel.status_description"
SCOPE_NAME: Final = "otel.scope.name"
SCOPE_VERSION: Final = "otel.scope.version"
SERVICE_NAME: Final = "service.name"
#: The field of a log that holds the event's name.
EVENT: Final = "event"

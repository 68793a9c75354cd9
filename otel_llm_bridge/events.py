"""Lifecycle events: a span event while the span records, a log record with the span's context afterwards."""

from __future__ import annotations

import inspect
import time
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry._logs import Logger
    from opentelemetry.trace import Span


@cache
def takes_structures() -> bool:
    """Whether the installed OpenTelemetry lets attributes of log records have structured values.

    That came with the API's own class of records, and with its ``event_name``.
    """
    from opentelemetry._logs import LogRecord

    return "event_name" in inspect.signature(LogRecord.__init__).parameters


@cache
def _record_factory() -> Callable[..., Any] | None:
    """Make log records in the way of the installed OpenTelemetry; ``None`` when it has only the old API.

    The class and its ``event_name`` moved from the SDK to the API between 1.30 and 1.45.
    """
    if takes_structures():
        from opentelemetry._logs import LogRecord

        return lambda logger, name, **fields: LogRecord(event_name=name, **fields)
    try:
        from opentelemetry.sdk._logs import LogRecord as SdkLogRecord  # type: ignore[attr-defined]  # not in newer ones
    except ImportError:
        return None

    takes_name = "event_name" in inspect.signature(SdkLogRecord.__init__).parameters

    def make(logger: Logger, name: str, attributes: dict[str, Any], **fields: Any) -> Any:
        if takes_name:
            fields["event_name"] = name
        else:  # what the name of an event was before the data model had a field for it
            attributes = {"event.name": name, **attributes}
        return SdkLogRecord(attributes=attributes, resource=getattr(logger, "resource", None), **fields)

    return make


def emit_record(
    logger: Logger,
    span: Span,
    name: str,
    attributes: Mapping[str, Any],
    body: Any = None,
    severity: str = "INFO",
    see: Callable[[Any], None] | None = None,
) -> None:
    """Emit a log record named ``name`` that belongs to ``span``; ``see`` is given it before.

    Source: opentelemetry-specification, logs/data-model.md (EventName, TraceId, SpanId).
    """
    make = _record_factory()
    if make is None:
        return
    from opentelemetry._logs import SeverityNumber

    context = span.get_span_context()
    now = time.time_ns()
    record = make(
        logger,
        name,
        timestamp=now,
        observed_timestamp=now,
        trace_id=context.trace_id,
        span_id=context.span_id,
        trace_flags=context.trace_flags,
        severity_number=SeverityNumber[severity],
        severity_text=severity,
        body=body,
        attributes=dict(attributes),
    )
    if see is not None:
        see(record)
    logger.emit(record)

"""Log records as OTLP bytes, with the limits that spans have; the SDK's encoder takes many times as long.

Source of the field numbers: opentelemetry-proto, ``logs/v1/logs.proto``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .encoding import Encoder
from .items import Context
from .wire import field, pack_fixed64, utf8, varint


class BareRecord:
    """A log record without body and attributes. The attributes are counted as dropped."""

    body = None
    attributes: Mapping[str, Any] = {}

    def __init__(self, span: Any) -> None:
        self._record = span.log_record
        self.log_record = self
        self.dropped_attributes = _dropped(span) + len(self._record.attributes or ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


def _dropped(span: Any) -> int:
    """How many attributes the SDK has dropped: with older versions of OpenTelemetry the record itself knows."""
    known: int | None = getattr(span, "dropped_attributes", None)
    return known or getattr(span.log_record, "dropped_attributes", 0) or 0


class LogEncoder(Encoder):
    """Encodes what a log record processor is given."""

    def context(self, span: Any) -> Context:
        """Resource and scope of a log record, encoded once for each pair."""
        # With older versions of OpenTelemetry the record itself has the resource.
        owner = span if hasattr(span, "resource") else span.log_record
        return self._context(owner.resource, span.instrumentation_scope)

    def _bare(self, span: Any) -> Any:
        return BareRecord(span)

    def _body(self, span: Any, limit: int) -> bytes:
        record = span.log_record
        shortened: list[tuple[str, int]] = []
        parts: list[bytes] = []
        if record.timestamp:
            parts.append(b"\x09" + pack_fixed64(record.timestamp))
        if record.severity_number is not None:
            parts.append(b"\x10" + varint(record.severity_number.value))
        if record.severity_text:
            parts.append(field(b"\x1a", utf8(record.severity_text)))
        if record.body is not None:
            parts.append(field(b"\x2a", self._any("body", record.body, limit, shortened)))
        parts += self._attributes(b"\x32", record.attributes, limit, shortened)
        parts += self._told(b"\x32", shortened, limit)
        if dropped := _dropped(span):
            parts.append(b"\x38" + varint(dropped))
        if record.trace_flags:
            parts.append(b"\x45" + int(record.trace_flags).to_bytes(4, "little"))
        if record.trace_id:
            parts.append(b"\x4a\x10" + record.trace_id.to_bytes(16, "big"))
        if record.span_id:
            parts.append(b"\x52\x08" + record.span_id.to_bytes(8, "big"))
        if record.observed_timestamp:
            parts.append(b"\x59" + pack_fixed64(record.observed_timestamp))
        event_name = getattr(record, "event_name", None)
        if event_name:
            parts.append(field(b"\x62", utf8(event_name)))
        return b"".join(parts)

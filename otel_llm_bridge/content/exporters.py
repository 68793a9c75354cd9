"""A policy for each destination: one exporter is given everything, another one what it may have.

The spans themselves are shared by all exporters, so these copy what they change::

    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=inside)))
    provider.add_span_processor(BatchSpanProcessor(RedactingExporter(OTLPSpanExporter(endpoint=outside))))
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from ..guard import report
from ..json_text import dump
from ..semconv.content import is_content
from .policy import ContentPolicy


class RedactingExporter(SpanExporter):
    """Exports copies of spans without the content that ``policy`` does not allow.

    Holds for every attribute of `semconv.content`, for the text of exceptions and for the description of the
    status, on spans of any instrumentation. A span that cannot be copied is not exported at all.

    Args:
        exporter: where the copies go.
        policy: content goes on where it allows spans to have it, through its redactor; the default is that
            nothing does.
    """

    def __init__(self, exporter: SpanExporter, policy: ContentPolicy | None = None) -> None:
        self._exporter = exporter
        self._policy = policy or ContentPolicy()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the copies."""
        copies = []
        for span in spans:
            try:
                copies.append(self._copy(span))
            except Exception as error:
                report("RedactingExporter", error)
        return self._exporter.export(copies)

    def _copy(self, span: ReadableSpan) -> ReadableSpan:
        policy, allowed = self._policy, self._policy.on_span
        status = span.status
        if status.description:
            status = Status(status.status_code, policy.text(status.description) if allowed else None)
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=redacted(span.attributes or {}, policy, allowed),
            events=[
                Event(event.name, redacted(event.attributes or {}, policy, allowed), event.timestamp) for event in span.events
            ],
            links=span.links,
            kind=span.kind,
            status=status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """The exporter's own."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """The exporter's own."""
        self._exporter.shutdown()


class RedactingLogExporter:
    """The same for log records: what `RedactingExporter` is for spans.

    No subclass of the SDK's: that class, and what it must have, go by different names in the versions that are
    supported. What it lacks here is the exporter's own.

    Args:
        exporter: a log record exporter of the SDK.
        policy: content goes on where it allows log records to have it.
    """

    def __init__(self, exporter: Any, policy: ContentPolicy | None = None) -> None:
        self._exporter = exporter
        self._policy = policy or ContentPolicy()

    def export(self, batch: Sequence[Any]) -> Any:
        """Export the copies."""
        copies = []
        for data in batch:
            try:
                copies.append(self._copy(data))
            except Exception as error:
                report("RedactingLogExporter", error)
        return self._exporter.export(copies)

    def _copy(self, data: Any) -> Any:
        # The record and what holds it are frozen in some versions of the SDK and not in others.
        record = copy.copy(data.log_record)
        object.__setattr__(record, "attributes", redacted(record.attributes or {}, self._policy, self._policy.on_event))
        done = copy.copy(data)
        object.__setattr__(done, "log_record", record)
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """The exporter's own."""
        return bool(self._exporter.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """The exporter's own."""
        self._exporter.shutdown()


def redacted(attributes: Mapping[str, Any], policy: ContentPolicy, allowed: bool) -> dict[str, Any]:
    """``attributes`` as ``policy`` wants them: without content, or with what its redactor leaves of it."""
    done: dict[str, Any] = {}
    for name, value in attributes.items():
        if not is_content(name):
            done[name] = value
        elif allowed:
            done[name] = _through(value, policy)
    return done


def _through(value: Any, policy: ContentPolicy) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            document = json.loads(value)
        except ValueError:
            return policy.text(value)
        return dump(policy.redact(document))
    return policy.redact(value)

"""Spans of the bridge's own, for its own pipeline: made in a sixth of the time that the SDK's take.

They are what the SDK would have made: the same sampler, ids, limits and bytes (a test compares the two). The SDK makes
them itself where anybody else listens: another span processor, limits that differ from the defaults, the SDK's own
metrics.

Source: opentelemetry-specification, trace/sdk.md (Sampling, Span limits) and trace/api.md (Span).
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ..guard import logger
from ..semconv import gen_ai
from .processors import DeliverySpanProcessor

#: The SDK's defaults, of attributes, events and links alike. With others the SDK makes the spans.
_MOST: Final = 128
_LIMITS: Final = {
    "max_span_attributes": _MOST, "max_events": _MOST, "max_links": _MOST, "max_event_attributes": _MOST, "max_link_attributes": _MOST,
    "max_attribute_length": None, "max_span_attribute_length": None,
}  # fmt: skip
_SDK_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"

_PLAIN: Final = frozenset({str, int, float, bool})
_STRINGS: Final = frozenset({str})
_UNSET: Final = Status()
_NOTHING: Final[Mapping[str, Any]] = {}


class Event(NamedTuple):
    """As `opentelemetry.sdk.trace.Event`."""

    name: str
    attributes: Mapping[str, Any]
    timestamp: int
    dropped_attributes: int = 0


class CallSpan(trace.Span):
    """A recording span: the API's interface to write, the attributes of the SDK's ``ReadableSpan`` to read."""

    dropped_attributes = dropped_events = dropped_links = 0
    end_time: int | None = None
    status: Status = _UNSET
    links: Sequence[Any] = ()

    def __init__(
        self, tracer: Tracer, name: str, context: SpanContext, parent: SpanContext | None, kind: SpanKind, start_time: int | None
    ) -> None:
        self._tracer = tracer
        self._lock = threading.Lock()
        self.name, self.context, self.parent, self.kind = name, context, parent, kind
        self.resource = tracer.resource
        self.instrumentation_scope = tracer.scope
        self.start_time = time.time_ns() if start_time is None else start_time
        self.attributes: dict[str, Any] = {}
        self.events: list[Event] = []

    def get_span_context(self) -> SpanContext:
        """See `opentelemetry.trace.Span`."""
        return self.context

    def is_recording(self) -> bool:
        """See `opentelemetry.trace.Span`."""
        return self.end_time is None

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """See `opentelemetry.trace.Span`."""
        with self._lock:
            if self.end_time is not None:
                logger.warning("an attribute of a span that has ended is not recorded")
                return
            own = self.attributes
            taken, dropped = _taken(attributes)
            own.update(taken)
            self.dropped_attributes += dropped
            while len(own) > _MOST:
                del own[next(iter(own))]
                self.dropped_attributes += 1

    def set_attribute(self, key: str, value: Any) -> None:
        """See `opentelemetry.trace.Span`."""
        self.set_attributes({key: value})

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        clean, dropped = _NOTHING, 0
        if attributes:
            bounded = _bounded(attributes)
            clean, dropped = dict(bounded), bounded.dropped
        event = Event(name, clean, time.time_ns() if timestamp is None else timestamp, dropped)
        with self._lock:
            if self.end_time is not None:
                # No warning: the end may have come in another thread; one of ours becomes a log record then.
                logger.debug("an event of a span that has ended is not recorded")
                return
            self.events.append(event)
            if len(self.events) > _MOST:
                del self.events[0]
                self.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        link = trace.Link(context, _bounded(attributes or {}))
        with self._lock:
            if self.end_time is None:
                self.links = (*self.links, link)
                if len(self.links) > _MOST:
                    self.links = self.links[1:]
                    self.dropped_links += 1

    def update_name(self, name: str) -> None:
        """See `opentelemetry.trace.Span`."""
        if self.end_time is None:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """See `opentelemetry.trace.Span`. OK stays, and nothing goes back to UNSET."""
        if isinstance(status, StatusCode):
            status = Status(status, description)
        unsettled = self.status.status_code is not StatusCode.OK and status.status_code is not StatusCode.UNSET
        if unsettled and self.end_time is None:
            self.status = status

    def record_exception(
        self, exception: BaseException, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """See `opentelemetry.trace.Span`. Only others call it: what we say of an exception is a matter of the content policy."""
        kind = type(exception)
        named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        told = {
            gen_ai.EXCEPTION_TYPE: named,
            gen_ai.EXCEPTION_MESSAGE: str(exception),
            gen_ai.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(exception)),
            gen_ai.EXCEPTION_ESCAPED: str(escaped),
        }
        self.add_event(gen_ai.EVENT_EXCEPTION, {**told, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        with self._lock:
            if self.end_time is not None:
                logger.warning("a span that has ended is ended again")
                return
            self.end_time = time.time_ns() if end_time is None else end_time
        self._tracer.processor.on_end(self)  # type: ignore[arg-type]  # it reads what a ReadableSpan has


def _bounded(attributes: Mapping[str, Any]) -> BoundedAttributes:
    """As the SDK takes them: types checked, copied, limited."""
    return BoundedAttributes(_MOST, attributes, immutable=True)


def _taken(attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """``attributes`` as the SDK takes them, and how many it drops. Most are plain: these are only looked at."""
    odd = [key for key, value in attributes.items() if value.__class__ not in _PLAIN]
    if "" in attributes and "" not in odd:
        odd.append("")
    if not odd:
        return attributes, 0
    taken, dropped = dict(attributes), 0
    for key in odd:
        value = taken[key]
        if key and value.__class__ is list and _STRINGS.issuperset(map(type, value)):
            taken[key] = tuple(value)
            continue
        bounded = _bounded({key: value})
        dropped += bounded.dropped
        if key in bounded:
            taken[key] = bounded[key]
        else:
            del taken[key]
    return taken, dropped


class Tracer(trace.Tracer):
    """Makes `CallSpan`s; the SDK's tracer makes what is beyond them.

    Args:
        provider: gives the sampler and the ids, and says whether anybody else listens.
        stock: the SDK's tracer of the same scope.
        processor: the only one of ``provider``.
        scope: of the spans.
    """

    def __init__(self, provider: Provider, stock: trace.Tracer, processor: SpanProcessor, scope: InstrumentationScope) -> None:
        self._provider, self._stock, self.processor, self.scope = provider, stock, processor, scope
        self.resource = provider.resource
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        # Since OpenTelemetry 1.43 a flag says that the trace id is random.
        says_random = getattr(self._ids, "is_trace_id_random", None)
        self._random = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
        self._root_flags = self._random if says_random is not None and says_random() else 0

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Any] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """See `opentelemetry.trace.Tracer`."""
        if links or not self._provider.is_alone:
            return self._stock.start_span(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is None or not parent.is_valid:
            parent = None
            trace_id, flags = self._ids.generate_trace_id(), self._root_flags
        else:
            trace_id, flags = parent.trace_id, parent.trace_flags & self._random
        sampled = self._sampler.should_sample(context, trace_id, name, kind, attributes, ())
        if sampled.decision is Decision.RECORD_AND_SAMPLE:
            flags |= TraceFlags.SAMPLED
        made = SpanContext(trace_id, self._ids.generate_span_id(), False, TraceFlags(flags), sampled.trace_state)
        if sampled.decision is Decision.DROP:
            return NonRecordingSpan(made)
        span = CallSpan(self, name, made, parent, kind, start_time)
        if sampled.attributes:
            span.set_attributes(sampled.attributes)
        self.processor.on_start(span, context)  # type: ignore[arg-type]  # it reads what a ReadableSpan has
        return span

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """See `opentelemetry.trace.Tracer`."""
        return self._stock.start_as_current_span(*args, **kwargs)


class Provider(TracerProvider):
    """The SDK's provider, whose tracer of one scope is ours.

    Args:
        scope: name of the instrumentation scope.
        **options: of the SDK's provider.
    """

    def __init__(self, scope: str, **options: Any) -> None:
        super().__init__(**options)
        self._scope = scope
        self._added: list[SpanProcessor] = []
        limits = SpanLimits()
        self._is_stock = os.environ.get(_SDK_METRICS, "").lower() == "true" or any(
            getattr(limits, name, default) != default for name, default in _LIMITS.items()
        )

    @property
    def is_alone(self) -> bool:
        """Whether the one processor that the pipeline has added is the only one."""
        return len(self._added) == 1

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """See `opentelemetry.sdk.trace.TracerProvider`."""
        self._added.append(span_processor)
        super().add_span_processor(span_processor)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> trace.Tracer:
        """See `opentelemetry.trace.TracerProvider`."""
        stock = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if instrumenting_module_name != self._scope or self._is_stock or not self.is_alone:
            return stock
        (processor,) = self._added
        if not isinstance(processor, DeliverySpanProcessor):
            return stock
        scope = InstrumentationScope(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        return Tracer(self, stock, processor, scope)

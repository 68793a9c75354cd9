"""Spans of the bridge's own, for its own pipeline: made in a sixth of the time that the SDK's take.

They are what the SDK would have made: the same sampler, ids, limits and bytes (a test compares the two). The SDK makes
them itself where anybody else listens: another span processor, limits that differ from the defaults, the SDK's own
metrics.

Source: opentelemetry-specification, trace/sdk.md (Sampling, Span limits) and trace/api.md (Span).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from random import getrandbits
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from ..contexts import SPAN, current_context
from .call_span import MOST, CallSpan
from .processors import DeliverySpanProcessor
from .sampler import decision_of

#: The SDK's defaults. With others the SDK makes the spans.
_LIMITS: Final = {
    "max_span_attributes": MOST, "max_events": MOST, "max_links": MOST, "max_event_attributes": MOST, "max_link_attributes": MOST,
    "max_attribute_length": None, "max_span_attribute_length": None,
}  # fmt: skip
_SDK_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"

class Tracer(trace.Tracer):
    """Makes `CallSpan`s; the SDK's tracer makes what is beyond them.

    Args:
        provider: gives the sampler and the ids, and says whether anybody else listens.
        stock: the SDK's tracer of the same scope.
        processor: the only one of ``provider``.
        scope: of the spans.
    """

    def __init__(self, provider: Provider, stock: trace.Tracer, processor: DeliverySpanProcessor, scope: InstrumentationScope) -> None:
        self._provider, self._stock, self.processor, self.scope = provider, stock, processor, scope
        self.resource = provider.resource
        self._sampler = provider.sampler
        self._decide = decision_of(provider.sampler)
        self._notes = processor.notes_starts
        ids = provider.id_generator
        self._new_trace_id, self._new_span_id = ids.generate_trace_id, ids.generate_span_id
        if type(ids) is RandomIdGenerator:  # without its two functions, which look for the one number in 2 ** 64 that is none
            self._new_trace_id, self._new_span_id = functools.partial(getrandbits, 128), functools.partial(getrandbits, 64)
        # Since OpenTelemetry 1.43 a flag says that the trace id is random.
        says_random = getattr(ids, "is_trace_id_random", None)
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
        if context is None:
            context = current_context()
        parent: SpanContext | None = trace.get_current_span(context).get_span_context() if SPAN in context else None
        if parent is None or not parent.is_valid:
            parent = None
            trace_id, flags = self._new_trace_id(), self._root_flags
        else:
            trace_id, flags = parent.trace_id, parent.trace_flags & self._random
        if self._decide is None:
            sampled = self._sampler.should_sample(context, trace_id, name, kind, attributes, ())
            decision, attributes, state = sampled.decision, sampled.attributes, sampled.trace_state
        else:
            decision = Decision.RECORD_AND_SAMPLE if self._decide(parent, trace_id) else Decision.DROP
            state = parent.trace_state if parent is not None else None
        if decision is Decision.RECORD_AND_SAMPLE:
            flags |= TraceFlags.SAMPLED
        made = SpanContext(trace_id, self._new_span_id(), False, TraceFlags(flags), state)
        if decision is Decision.DROP:
            return NonRecordingSpan(made)
        span = CallSpan(self, name, made, parent, kind, start_time)
        if attributes:
            span.set_attributes(attributes)
        if self._notes:
            self.processor.on_start(span, context)
        return span

    @property
    def waits(self) -> bool:
        """Whether a span may start without name and attributes, to be said by `CallSpan.end_unwritten`.

        Not with a sampler that may ask for them, nor where the span is read at once: by others, or for the disk.
        """
        return self._decide is not None and self._provider.is_alone and self.processor.delivery.waits

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
        #: Whether the one processor that the pipeline has added is the only one.
        self.is_alone = False
        limits = SpanLimits()
        self._is_stock = os.environ.get(_SDK_METRICS, "").lower() == "true" or any(
            getattr(limits, name, default) != default for name, default in _LIMITS.items()
        )

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """See `opentelemetry.sdk.trace.TracerProvider`."""
        self._added.append(span_processor)
        self.is_alone = len(self._added) == 1
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

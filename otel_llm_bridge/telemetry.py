"""Invocation to telemetry: spans, span events, log records. The only place that ends a span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .events import emit_record
from .guard import guarded
from .semconv import gen_ai, litellm
from .semconv.vocabulary import INFERENCE, ROUTER, Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from .invocation import Invocation
    from .providers import Providers


class Layer:
    """How one kind of invocation becomes a span: its name, its kind, its table of facts.

    Args:
        providers: the tracer, and the logger of the events that come after a span has ended.
        table: the facts that this kind of span carries.
        kind: of the span.
        name: the span's name, from the facts.
    """

    def __init__(
        self,
        providers: Providers,
        table: Iterable[Fact],
        kind: SpanKind,
        name: Callable[[dict[str, Any]], str],
    ) -> None:
        self._providers = providers
        self._kind = kind
        self._name = name
        self._attributes = {fact.name: fact.attribute for fact in table}
        self._at_start = {fact.name: fact.attribute for fact in table if fact.at_start}
        self._at_end: list[Callable[[Invocation], None]] = []
        self._at_event: list[Callable[[Invocation, str, dict[str, Any]], None]] = []

    def at_end(self, see: Callable[[Invocation], None]) -> None:
        """Let ``see`` have each invocation at its end, while its span still records."""
        self._at_end.append(see)

    def at_event(self, see: Callable[[Invocation, str, dict[str, Any]], None]) -> None:
        """Let ``see`` have each lifecycle event, whether the span records or not."""
        self._at_event.append(see)

    def start(self, invocation: Invocation) -> Span:
        """Start the span, under the caller's current one, with what a sampler needs."""
        facts = invocation.facts
        return self._providers.tracer.start_span(
            self._name(facts),
            kind=self._kind,
            attributes={
                attribute: facts[name] for name, attribute in self._at_start.items() if facts.get(name) is not None
            },
            start_time=invocation.started_ns,
        )

    @staticmethod
    def context_with(span: Span) -> Context:
        """The caller's Context with ``span`` as the current one."""
        return trace.set_span_in_context(span)

    def event(self, invocation: Invocation, name: str, attributes: dict[str, Any]) -> None:
        """See `Invocation.event`."""
        for see in self._at_event:
            with guarded("event"):
                see(invocation, name, attributes)
        span = invocation.span
        if invocation.finished:
            if span.get_span_context().trace_flags.sampled:
                emit_record(self._providers.logger, span, name, attributes)
        elif span.is_recording():
            span.add_event(name, attributes)

    def stop(self, invocation: Invocation) -> None:
        """Write the facts, run what wants to see the end, set the status, end the span."""
        span, error = invocation.span, invocation.error
        if error is not None:
            invocation.facts.setdefault("error_type", type(error).__qualname__)
        for see in self._at_end:
            with guarded("stop"):
                see(invocation)
        if span.is_recording():
            names = self._attributes
            span.set_attributes(
                {names[name]: value for name, value in invocation.facts.items() if value is not None and name in names}
            )
            if error is not None:
                # The message of an exception may quote the prompt: only the class goes out by default.
                kind = type(error)
                span.add_event(gen_ai.EVENT_EXCEPTION, {gen_ai.EXCEPTION_TYPE: f"{kind.__module__}.{kind.__qualname__}"})
                span.set_status(Status(StatusCode.ERROR))
        span.end()


def inference_layer(providers: Providers) -> Layer:
    """One upstream attempt: ``{operation} {model}``, CLIENT. Source: gen_ai.client.inference of the GenAI conventions."""

    def name(facts: dict[str, Any]) -> str:
        model = facts.get("model")
        return f"{facts['operation']} {model}" if model else str(facts["operation"])

    return Layer(providers, INFERENCE, SpanKind.CLIENT, name)


def router_layer(providers: Providers) -> Layer:
    """The logical call above its attempts: ``litellm.router {group}``, INTERNAL."""

    def name(facts: dict[str, Any]) -> str:
        group = facts.get("model_group")
        return f"{litellm.SPAN_ROUTER} {group}" if group else litellm.SPAN_ROUTER

    return Layer(providers, ROUTER, SpanKind.INTERNAL, name)

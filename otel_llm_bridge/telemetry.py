"""Invocation to telemetry: spans, span events, log records. The only place that ends a span."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from .content import ContentPolicy
from .events import emit_record
from .guard import fault, guarded
from .recording import Recording
from .semconv import litellm
from .semconv.vocabulary import INFERENCE, ROUTER, Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.trace import Span

    from .invocation import Invocation
    from .providers import Providers
    from .settings import Settings


class Layer:
    """How one kind of invocation becomes a span: its name, its kind, its table of facts.

    Args:
        providers: the tracer, and the logger of the events that come after a span has ended.
        table: the facts that this kind of span carries.
        kind: of the span.
        name: the span's name, from the facts.
        settings, policy: see `Recording`.
    """

    def __init__(
        self,
        providers: Providers,
        table: Iterable[Fact],
        kind: SpanKind,
        name: Callable[[dict[str, Any]], str],
        settings: Settings | None = None,
        policy: ContentPolicy | None = None,
    ) -> None:
        self.recording = Recording(providers, table, settings, policy)
        self._providers = providers
        self._kind = kind
        self._name = name
        self._at_end: list[Callable[[Invocation], None]] = []
        self._when_over: list[Callable[[Invocation], None]] = []
        self._at_event: dict[str, tuple[Callable[[Invocation, str, dict[str, Any]], None], ...]] = {}

    def at_end(self, see: Callable[[Invocation], None]) -> None:
        """Let ``see`` have each invocation at its end, while its span still records."""
        self._at_end.append(see)

    def when_over(self, see: Callable[[Invocation], None]) -> None:
        """Let ``see`` have each invocation after its span has ended; what it takes is not the call's."""
        self._when_over.append(see)

    def over(self, invocation: Invocation) -> None:
        """The span has ended."""
        for see in self._when_over:
            see(invocation)

    def at_event(self, see: Callable[[Invocation, str, dict[str, Any]], None], events: Iterable[str]) -> None:
        """Let ``see`` have the lifecycle events of these names, whether the span records or not."""
        for name in events:
            self._at_event[name] = (*self._at_event.get(name, ()), see)

    def start(self, invocation: Invocation) -> Span:
        """Start the span, under the caller's current one; with what a sampler needs, unless that may wait."""
        providers, name, attributes = self._providers, "", None
        if invocation.waits and not (providers.may_wait and providers.tracer.waits):
            invocation.waits = False
        if invocation.waits:
            invocation.put_off(self.recording.identify, invocation.outside)
        else:
            facts = invocation.facts
            self.recording.identify(facts, invocation.outside)
            attributes = self.recording.at_start(facts)
            name = self._name(facts)
        span: Span = providers.tracer.start_span(
            name, invocation.outside, self._kind, attributes, start_time=invocation.started_ns
        )
        if invocation.waits and not span.is_recording():
            invocation.waits = False  # it is not delivered, so that nobody would read it later
        return span

    def event(self, invocation: Invocation, name: str, attributes: dict[str, Any]) -> None:
        """See `Invocation.event`."""
        for see in self._at_event.get(name, ()):
            try:
                see(invocation, name, attributes)
            except Exception as error:
                fault("event", error)
        span = invocation.span
        if not invocation.finished:
            now = time.time_ns()
            if span.is_recording():
                span.add_event(name, attributes, now)
            # Another thread may have ended the call meanwhile. To look is cheaper than a lock for each event.
            if not invocation.finished or _has(span, name, now):  # type: ignore[unreachable]
                return
        if span.get_span_context().trace_flags.sampled:
            emit_record(self._providers.logger, span, name, {**attributes, **self.recording.shared(invocation.facts)})

    def stop(self, invocation: Invocation) -> None:
        """Write the facts, run what wants to see the end, set the status, end the span."""
        span, error = invocation.span, invocation.error
        if error is not None:
            invocation.facts.setdefault("error_type", type(error).__qualname__)
        if invocation.waits and not invocation.prompt and error is None and span.is_recording():
            span.end_unwritten(functools.partial(self._write, invocation))  # type: ignore[attr-defined]  # one of ours
            return
        self._see_end(invocation)
        if span.is_recording():
            self._say(invocation, span)
            if error is not None:
                self.recording.failed(invocation, error)
        if "conversation" in invocation.kept:
            with guarded("content"):
                self.recording.content(invocation)
        span.end()

    def _see_end(self, invocation: Invocation) -> None:
        for see in self._at_end:
            try:
                see(invocation)
            except Exception as of_ours:
                fault("stop", of_ours)

    def _write(self, invocation: Invocation, span: Any) -> None:
        """What `stop` says of a call whose span may wait, in the thread that delivers."""
        self._see_end(invocation)
        self._say(invocation, span)

    def _say(self, invocation: Invocation, span: Any) -> None:
        attributes = self.recording.attributes(invocation.facts)
        if invocation.waits:
            span.fill(self._name(invocation.facts), attributes)
        else:
            span.set_attributes(attributes)


def _has(span: Any, name: str, at: int) -> bool:
    return any((event.name, event.timestamp) == (name, at) for event in getattr(span, "events", ()))


def span_name(prefix: str, detail: str | None) -> str:
    """``{prefix} {detail}``; the prefix alone where the detail is not known."""
    return f"{prefix} {detail}" if detail else prefix


def inference_layer(
    providers: Providers, settings: Settings | None = None, policy: ContentPolicy | None = None
) -> Layer:
    """One upstream attempt: ``{operation} {model}``, CLIENT. Source: gen_ai.client.inference of the GenAI conventions."""

    def name(facts: dict[str, Any]) -> str:
        return span_name(facts["operation"], facts.get("model"))

    return Layer(providers, INFERENCE, SpanKind.CLIENT, name, settings, policy)


def router_layer(
    providers: Providers, settings: Settings | None = None, policy: ContentPolicy | None = None
) -> Layer:
    """The logical call above its attempts: ``litellm.router {group}``, INTERNAL."""

    def name(facts: dict[str, Any]) -> str:
        return span_name(litellm.SPAN_ROUTER, facts.get("model_group"))

    return Layer(providers, ROUTER, SpanKind.INTERNAL, name, settings, policy)


def below_layer(providers: Providers, settings: Settings | None = None) -> Layer:
    """An attempt under somebody else's LLM span: ``litellm.attempt {model}``, INTERNAL, with our own names only."""

    def name(facts: dict[str, Any]) -> str:
        return span_name(litellm.SPAN_ATTEMPT, facts.get("model"))

    table = [fact for fact in INFERENCE if not fact.attribute.startswith("gen_ai.")]
    return Layer(providers, table, SpanKind.INTERNAL, name, settings, ContentPolicy())

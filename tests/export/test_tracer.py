"""Our own spans against those of the SDK: the same calls, the same bytes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_llm_bridge import guard
from otel_llm_bridge.export.call_span import CallSpan
from otel_llm_bridge.export.delivery import Delivery
from otel_llm_bridge.export.encoding import Encoder
from otel_llm_bridge.export.processors import DeliverySpanProcessor
from otel_llm_bridge.export.sampler import decision_of
from otel_llm_bridge.export.tracer import Provider
from otel_llm_bridge.export.transport import Outcome, Verdict

_SCOPE = "ours"
_RESOURCE = Resource({"service.name": "app"})


class _Counting(IdGenerator):
    """The same ids for both."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def generate_trace_id(self) -> int:
        return next(self._ids) << 64

    def generate_span_id(self) -> int:
        return next(self._ids)


class _Kept(DeliverySpanProcessor):
    """Our processor, whose spans are kept instead of delivered."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[Any] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.append(span)

    def on_end(self, span: Any) -> None:
        self.ended.append(span)

    def shutdown(self) -> None:
        pass


def _provider(made: Callable[..., TracerProvider], sampler: Sampler) -> tuple[TracerProvider, _Kept]:
    provider = made(resource=_RESOURCE, sampler=sampler, id_generator=_Counting(), shutdown_on_exit=False)
    kept = _Kept()
    provider.add_span_processor(kept)
    return provider, kept


def _both(do: Callable[[trace.Tracer], Any], sampler: Sampler = ALWAYS_ON) -> tuple[_Kept, _Kept]:
    kept = []
    for made in (TracerProvider, lambda **options: Provider(_SCOPE, **options)):
        provider, processor = _provider(made, sampler)
        do(provider.get_tracer(_SCOPE, "1", "https://example.invalid/1"))
        kept.append(processor)
    return kept[0], kept[1]


def _told(spans: list[Any]) -> list[Any]:
    """As the SDK's encoder tells them; attributes have no order."""
    encoded = [span for resource in encode_spans(spans).resource_spans for scope in resource.scope_spans for span in scope.spans]
    for span in encoded:
        for part in (span, *span.events, *span.links):
            attributes = sorted(part.attributes, key=lambda pair: str(pair.key))
            del part.attributes[:]
            part.attributes.extend(attributes)
    return encoded


_text = st.text(max_size=9)
_scalar = st.one_of(_text, st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.binary(max_size=3), st.none())
_values = st.one_of(_scalar, st.lists(_text, max_size=3), st.lists(_scalar, max_size=3), st.tuples(_text, _text), st.dictionaries(_text, _scalar, max_size=2))
_attributes = st.dictionaries(_text, _values, max_size=5)
_errors = st.sampled_from([ValueError("why"), KeyError("x")])
_statuses = st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why"), StatusCode.ERROR, StatusCode.UNSET])
_elsewhere = SpanContext(7, 8, True, TraceFlags(1), TraceState([("a", "1")]))
_operations = st.one_of(
    st.tuples(st.just("set_attributes"), _attributes),
    st.tuples(st.just("set_attribute"), _text, _values),
    st.tuples(st.just("add_event"), _text, _attributes, st.integers(1, 9)),
    st.tuples(st.just("add_link"), st.just(_elsewhere), _attributes),
    st.tuples(st.just("update_name"), _text),
    st.tuples(st.just("set_status"), _statuses),
    st.tuples(st.just("record_exception"), _errors, _attributes, st.just(5), st.booleans()),
)


@settings(max_examples=200, deadline=None)
@given(_text, st.sampled_from(SpanKind), _attributes, st.lists(_operations, max_size=6))
def test_the_same_bytes(name: str, kind: SpanKind, attributes: dict[str, Any], operations: list[tuple[Any, ...]]) -> None:
    """Whatever is done to a span, ours is encoded to what the SDK's is."""

    def do(tracer: trace.Tracer) -> None:
        span = tracer.start_span(name, kind=kind, attributes=attributes, start_time=1)
        for method, *arguments in operations:
            getattr(span, method)(*arguments)
        span.end(9)
        span.end(10)
        span.set_attribute("late", 1)
        span.add_event("late")

    theirs, ours = _both(do)
    assert isinstance(ours.ended[0], CallSpan)
    assert len(ours.ended) == len(theirs.ended) == 1
    assert _told(ours.ended) == _told(theirs.ended)


def test_limits() -> None:
    """Of 200 attributes and 200 events the last 128 stay, and the others are counted."""

    def do(tracer: trace.Tracer) -> None:
        span = tracer.start_span("s", start_time=1)
        span.set_attributes({f"a{number}": number for number in range(100)})
        for number in range(200):
            span.set_attribute(f"b{number}", number)
            span.add_event(f"e{number}", {f"c{of}": of for of in range(200)} if number == 199 else None, number + 1)
        span.end(9)

    theirs, ours = _both(do)
    assert ours.ended[0].dropped_attributes == 172
    assert _told(ours.ended) == _told(theirs.ended)


class _RecordOnly(Sampler):
    def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY, {"sampler": "said"}, TraceState([("s", "1")]))

    def get_description(self) -> str:
        return "record only"


class _ByName(ParentBased):
    """One of the program's own, that asks for what the SDK's do not look at."""

    def should_sample(self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *args: Any, **kwargs: Any) -> SamplingResult:
        decision = Decision.RECORD_AND_SAMPLE if name == "s" and attributes == {"a": 1} else Decision.DROP
        return SamplingResult(decision, attributes)


_EACH_WAY = ParentBased(
    TraceIdRatioBased(0.5), remote_parent_sampled=ALWAYS_OFF, remote_parent_not_sampled=TraceIdRatioBased(0.5),
    local_parent_sampled=TraceIdRatioBased(0.0), local_parent_not_sampled=ALWAYS_ON,
)  # fmt: skip
_STATE = TraceState([("a", "1")])
_KNOWN = [
    ALWAYS_ON, ALWAYS_OFF, ParentBased(ALWAYS_ON), ParentBased(ALWAYS_OFF), TraceIdRatioBased(0.0), TraceIdRatioBased(1.0), _EACH_WAY,
    ParentBasedTraceIdRatio(0.5),
]  # fmt: skip
_UNKNOWN = [_RecordOnly(), _ByName(ALWAYS_OFF), ParentBased(_RecordOnly()), ParentBased(ALWAYS_ON, local_parent_sampled=_RecordOnly())]
_PARENTS = {
    "root": None,
    "invalid": SpanContext(0, 0, False),
    **{
        f"{'remote' if is_remote else 'local'}, {'sampled' if flags else 'not sampled'}, {trace_id:x}": SpanContext(trace_id, 6, is_remote, TraceFlags(flags), _STATE)
        for is_remote in (True, False) for flags in (0, 1) for trace_id in (5, (1 << 128) - 5)
    },
}  # fmt: skip


@pytest.mark.parametrize("sampler", [*_KNOWN, *_UNKNOWN], ids=lambda sampler: sampler.get_description()[:40])
@pytest.mark.parametrize("parent", _PARENTS.values(), ids=_PARENTS)
def test_sampling(sampler: Sampler, parent: SpanContext | None) -> None:
    """The same decision, the same context, the same attributes, below every kind of parent."""
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent is not None else None
    made: list[tuple[SpanContext, bool, Any]] = []

    def do(tracer: trace.Tracer) -> None:
        span = tracer.start_span("s", context, attributes={"a": 1})
        made.append((span.get_span_context(), span.is_recording(), dict(getattr(span, "attributes", None) or {})))
        span.end()

    theirs, ours = _both(do, sampler)
    assert made[0] == made[1]
    assert len(theirs.ended) == len(ours.ended)


@pytest.mark.parametrize("sampler", [*_KNOWN, *_UNKNOWN], ids=lambda sampler: sampler.get_description()[:40])
def test_what_a_sampler_may_ask_for(sampler: Sampler) -> None:
    """A span starts without name and attributes only where the sampler looks at neither."""
    assert (decision_of(sampler) is None) is (sampler in _UNKNOWN)


# What is said after the end ------------------------------------------------------------------------------------------


class _Held:
    """A transport that takes nothing."""

    def send(self, body: bytes, timeout: float) -> Outcome:
        return Outcome(Verdict.RETRY)

    def forget(self) -> None:
        pass

    def close(self) -> None:
        pass


def _delivered(**options: Any) -> tuple[trace.Tracer, Delivery, list[Any]]:
    """Our tracer before a delivery that nobody reads, and what that has encoded."""
    encoded: list[Any] = []

    def encode(span: Any) -> Any:
        item = Encoder().encode(span)
        encoded.append(span)
        return item

    delivery = Delivery(encode, _Held(), schedule_delay=3600.0, **options)
    provider = Provider(_SCOPE, shutdown_on_exit=False)
    provider.add_span_processor(DeliverySpanProcessor(delivery))
    return provider.get_tracer(_SCOPE), delivery, encoded


def _ended(tracer: trace.Tracer, said: list[str]) -> CallSpan:
    span: Any = tracer.start_span("")
    span.set_attribute("early", 1)

    def write(span: CallSpan) -> None:
        said.append("said")
        span.fill("name", {"late": 2})

    span.end_unwritten(write)
    assert not span.is_recording()
    return span


def test_a_span_is_written_by_who_reads_it_first() -> None:
    """The end returns before the rest is said; that is said once, before the span is encoded or what was measured is read."""
    tracer, delivery, encoded = _delivered()
    said: list[str] = []
    span = _ended(tracer, said)
    assert (said, span.name, span.attributes) == ([], "", {"early": 1})
    delivery.write_up()
    delivery.write_up()
    assert (said, span.name, span.attributes) == (["said"], "name", {"early": 1, "late": 2})
    another = _ended(tracer, said)
    delivery.flush(10.0, final=True)
    assert encoded == [span, another] and said == ["said"] * 2
    assert (another.name, another.attributes) == ("name", {"early": 1, "late": 2})
    delivery.close(0.0)
    assert _ended(tracer, said).attributes == {"early": 1, "late": 2}, "nobody will read it, but what is measured counts"


def test_somebody_begins_to_look_while_a_span_runs() -> None:
    """It started to be written later, and is written when it ends."""
    tracer, delivery, _encoded = _delivered()
    span: Any = tracer.start_span("")
    delivery.write_up(always=True)
    span.end_unwritten(lambda span: span.fill("name", {}))
    assert span.name == "name"


def test_a_span_is_written_at_once_where_it_is_lost() -> None:
    """A span that the queue has no place for is said when it ends."""
    tracer, _delivery, _encoded = _delivered(queue_size=2, batch_size=2)
    said: list[str] = []
    for _ in range(3):
        _ended(tracer, said)
    assert said.count("said") >= 1


def test_two_threads_that_read_a_span() -> None:
    """The second one goes on when the first one has said all."""
    tracer, delivery, _encoded = _delivered()
    saying, go_on, seen = threading.Event(), threading.Event(), []

    def write(span: CallSpan) -> None:
        saying.set()
        go_on.wait(10)
        span.fill("name", {})

    span: Any = tracer.start_span("")
    span.end_unwritten(write)
    threads = [threading.Thread(target=lambda: (delivery.write_up(), seen.append(span.name))) for _ in range(2)]
    threads[0].start()
    saying.wait(10)
    threads[1].start()
    assert seen == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert seen == ["name", "name"]


def test_a_fault_in_what_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span goes out with what it has."""
    monkeypatch.setattr(guard, "_strict", False)
    monkeypatch.setattr(guard, "_seen", set())
    tracer, delivery, encoded = _delivered()
    span: Any = tracer.start_span("")
    span.end_unwritten(lambda _span: 1 / 0)
    delivery.flush(10.0, final=True)
    assert encoded == [span]
    assert "internal fault in writing a span (ZeroDivisionError)" in caplog.text


def test_a_listener_gets_the_sdks_spans() -> None:
    """Once somebody adds a processor of their own, it has on_start, on_end and the SDK's spans, and we have them, too."""
    provider, kept = _provider(lambda **options: Provider(_SCOPE, **options), ALWAYS_ON)
    tracer = provider.get_tracer(_SCOPE)
    tracer.start_span("before").end()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer.start_span("after").end()
    assert [span.name for span in exporter.get_finished_spans()] == ["after"]
    assert [(span.name, isinstance(span, CallSpan)) for span in kept.ended] == [("before", True), ("after", False)]


@pytest.mark.parametrize("variable", ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT"])
def test_other_limits_are_the_sdks(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With limits of the user's the SDK makes the spans."""
    monkeypatch.setenv(variable, "3")
    provider, kept = _provider(lambda **options: Provider(_SCOPE, **options), ALWAYS_ON)
    span = provider.get_tracer(_SCOPE).start_span("s", attributes={"a": "long text"})
    for number in range(9):
        span.set_attribute(str(number), number)
        span.add_event(str(number))
    span.end()
    assert not isinstance(kept.ended[0], CallSpan)


def test_other_pipelines_are_the_sdks() -> None:
    """Where the one processor is not ours (a console exporter), and for other scopes, the SDK makes the spans."""
    provider = Provider(_SCOPE, shutdown_on_exit=False)
    assert not isinstance(provider.get_tracer("theirs").start_span("s"), CallSpan)
    provider.add_span_processor(SpanProcessor())
    assert not isinstance(provider.get_tracer(_SCOPE).start_span("s"), CallSpan)


def test_with_links_and_as_current() -> None:
    """Links given at the start, and ``start_as_current_span``, which records what it leaves with."""

    def do(tracer: trace.Tracer) -> None:
        tracer.start_span("linked", links=[Link(_elsewhere, {"a": 1})], start_time=1).end(2)
        with pytest.raises(ValueError, match="why"), tracer.start_as_current_span("around", start_time=3) as span:
            assert trace.get_current_span() is span
            raise ValueError("why")

    theirs, ours = _both(do)
    assert [span.name for span in ours.ended] == ["linked", "around"]
    assert [len(span.links) for span in ours.ended] == [1, 0]
    assert [[event.name for event in span.events] for span in ours.ended] == [[event.name for event in span.events] for span in theirs.ended]

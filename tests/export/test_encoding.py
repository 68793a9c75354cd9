"""Our bytes against those of the SDK's encoder, and the limits."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from otel_llm_bridge import events
from otel_llm_bridge.export.encoding import Encoder
from otel_llm_bridge.export.items import interrupted, request
from otel_llm_bridge.export.log_encoding import LogEncoder
from otel_llm_bridge.semconv import litellm as names
from otel_llm_bridge.shortening import cut, shorten

_text = st.text(max_size=90)
_scalar = st.one_of(_text, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
_values = st.one_of(_scalar, st.lists(_text, max_size=4), st.lists(st.integers(-9, 2**40), max_size=4), st.binary(max_size=9))
_attributes = st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=70), _values, max_size=6)
_ids = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "2")])]),
)
_times = st.integers(0, 2**63 - 1)
_spans = st.builds(
    ReadableSpan,
    name=_text,
    context=_ids,
    parent=st.none() | _ids,
    resource=st.builds(Resource, _attributes, st.sampled_from(["", "https://example.invalid/1"])),
    attributes=_attributes,
    events=st.lists(st.builds(Event, _text, _attributes, _times), max_size=3),
    links=st.lists(st.builds(Link, _ids, _attributes), max_size=3),
    kind=st.sampled_from(SpanKind),
    instrumentation_scope=st.builds(
        InstrumentationScope, _text, st.none() | _text, st.sampled_from(["", "https://example.invalid/2"]), _attributes
    ),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why"), Status(StatusCode.ERROR)]),
    start_time=_times,
    end_time=_times,
)


def _ours(spans: list[ReadableSpan], encoder: Encoder | None = None) -> ExportTraceServiceRequest:
    encoder = encoder or Encoder()
    items = [encoder.encode(span) for span in spans]
    assert all(items)
    return ExportTraceServiceRequest.FromString(request(items))


def _by_context(message: ExportTraceServiceRequest) -> list[Any]:
    """Spans with their resource and scope: the grouping is free, the content is not."""
    return [
        [MessageToDict(part) for part in (resource.resource, scope.scope, span)] + [resource.schema_url, scope.schema_url]
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(_spans, min_size=1, max_size=4))
def test_the_bytes_mean_the_same_as_those_of_the_sdk(spans: list[ReadableSpan]) -> None:
    """Every field of random spans is what the SDK's own encoder makes of it."""
    key = repr
    assert sorted(_by_context(_ours(spans)), key=key) == sorted(_by_context(encode_spans(spans)), key=key)


@pytest.mark.parametrize("sign", ["a", "ü", "🙂"])
def test_texts_of_all_lengths(sign: str) -> None:
    """Lengths take one byte, two or three: those of the texts, and those of all that is around them, to the whole request."""
    sizes = [*range(1, 140), *range(16_340, 16_400), 60_000]
    spans = [
        ReadableSpan(name="s", context=SpanContext(1, size, False), resource=Resource({"r": "1"}), attributes={"text": sign * size})
        for size in sizes
    ]
    for some in (spans, spans[:1], spans[120:130], spans[150:151]):
        assert _by_context(_ours(some)) == _by_context(encode_spans(some))


class _Records(LogRecordProcessor):
    """Keeps what a processor is given."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def on_emit(self, log_record: Any) -> None:
        self.kept.append(log_record)

    emit = on_emit  # until OpenTelemetry 1.35

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def _records(*bodies: Any, context: SpanContext = SpanContext(1, 2, False, TraceFlags(1)), **attributes: Any) -> list[Any]:
    """Log records as the bridge makes them, in the installed OpenTelemetry's class."""
    records = _Records()
    provider = LoggerProvider(resource=Resource({"service.name": "s"}), shutdown_on_exit=False)
    provider.add_log_record_processor(records)
    # Old encoders leave the schema of a scope of logs out.
    logger = provider.get_logger("scope", "1", "https://example.invalid/2" if events.takes_structures() else None)
    for body in bodies:
        events.emit_record(logger, NonRecordingSpan(context), "event", attributes, body, "WARN")
    return records.kept


_nested = st.recursive(_scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3), max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(_nested, st.dictionaries(st.text(string.ascii_letters, min_size=1), _nested if events.takes_structures() else _values, max_size=5), _ids)
def test_the_bytes_of_log_records_mean_the_same_as_those_of_the_sdk(body: Any, attributes: dict[str, Any], context: SpanContext) -> None:
    """Body, attributes, severity, times, ids and the event's name of random records are what the SDK's encoder makes of them."""
    records = _records(body, context=context, **attributes)
    items = [LogEncoder().encode(record) for record in records]
    ours = ExportLogsServiceRequest.FromString(request(items))
    assert MessageToDict(ours) == MessageToDict(encode_logs(records))


def test_a_log_record_that_is_too_long_is_shortened_and_says_so() -> None:
    """Structured messages keep their form, bodies and attributes fit, and the record names both with their sizes."""
    messages = [{"role": "user", "parts": [{"type": "text", "content": "é" * 5000}]}, {"role": "assistant", "parts": []}]
    (record,) = _records({"text": "x" * 9000}, long=messages if events.takes_structures() else "y" * 9000)
    item = LogEncoder(attribute_bytes=1024).encode(record)
    assert len(item.body) < 3 * 1024
    (read,) = ExportLogsServiceRequest.FromString(request([item])).resource_logs[0].scope_logs[0].log_records
    assert read.body.kvlist_value.values[0].value.string_value.endswith("[9000 bytes]")
    told = {pair.key: pair.value for pair in read.attributes}
    assert [value.string_value for value in told[names.TRUNCATED_ATTRIBUTES].array_value.values] == ["body", "long"]
    assert all(value.int_value > 9000 for value in told[names.TRUNCATED_BYTES].array_value.values)
    if events.takes_structures():
        first, second = told["long"].array_value.values
        assert [value.kvlist_value.values[0].value.string_value for value in (first, second)] == ["user", "assistant"]


def _span(**attributes: Any) -> ReadableSpan:
    context = SpanContext(1, 2, False, TraceFlags(1))
    return ReadableSpan("n", context, attributes=attributes, resource=Resource({"service.name": "s"}), start_time=1, end_time=2)


def _read(message: ExportTraceServiceRequest) -> dict[str, Any]:
    (span,) = message.resource_spans[0].scope_spans[0].spans
    return {pair.key: pair.value for pair in span.attributes}


_MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": "é" * 5000}]}, {"role": "assistant", "parts": []}]


@pytest.mark.parametrize(
    ("value", "check"),
    [
        ("x" * 5000, lambda kept: kept.string_value.endswith("[5000 bytes]")),
        ("€" * 5000, lambda kept: kept.string_value.startswith("€€")),
        (json.dumps(_MESSAGES), lambda kept: json.loads(kept.string_value)[0]["role"] == "user"),
        (json.dumps([[i] for i in range(5000)]), lambda kept: isinstance(json.loads(kept.string_value), list)),
        (json.dumps({str(i): "v" for i in range(5000)}), lambda kept: isinstance(json.loads(kept.string_value), dict)),
        ("[not json " + "x" * 5000, lambda kept: kept.string_value.startswith("[not json")),
        (["word" * 10] * 500, lambda kept: "more]" in kept.array_value.values[-1].string_value),
        (list(range(2**40, 2**40 + 5000)), lambda kept: 0 < len(kept.array_value.values) < 5000),
        (b"\0" * 5000, lambda kept: kept.string_value == "[5000 bytes]"),
    ],
    ids=["text", "multibyte", "messages", "long list", "wide object", "not json", "texts", "numbers", "bytes"],
)
def test_a_long_value_is_shortened_and_the_span_says_so(value: Any, check: Any) -> None:
    """A value over the limit fits afterwards, keeps its form, and its name and size are on the span."""
    kept = _read(_ours([_span(short="s", long=value)], Encoder(attribute_bytes=1024)))
    assert check(kept["long"]), kept["long"]
    assert len(kept["long"].SerializeToString()) <= 1024 + 16
    assert kept["short"].string_value == "s"
    assert [value.string_value for value in kept[names.TRUNCATED_ATTRIBUTES].array_value.values] == ["long"]
    assert kept[names.TRUNCATED_BYTES].array_value.values[0].int_value > 1024


def test_a_value_that_was_cut_to_the_limit_is_not_cut_again() -> None:
    """Content comes with a note of the size that it had; the encoder's own note would say the limit."""
    value = cut("x" * 9000, 1024)
    kept = _read(_ours([_span(text=value)], Encoder(attribute_bytes=1024)))
    assert value.endswith("[9000 bytes]")
    assert kept["text"].string_value == value


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=300),
        lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=40), inner, max_size=8),
        max_leaves=30,
    ),
    st.integers(64, 600),
)
def test_json_stays_json_and_fits(value: Any, limit: int) -> None:
    """Whatever the document, its shortened form parses to the same kind of value and is short enough."""
    document = json.dumps([value], ensure_ascii=False)
    short = shorten(document, limit)
    assert len(short.encode("utf-8", "surrogatepass")) <= limit or short == document
    assert isinstance(json.loads(short), list)


@given(st.text(), st.integers(1, 60))
def test_a_cut_never_splits_a_character(text: str, limit: int) -> None:
    """The cut text is valid UTF-8 of at most the limit."""
    assert len(cut(text, limit).encode()) <= limit


class _Odd(str):
    """A text that cannot be encoded."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        raise LookupError("no such thing")


@pytest.mark.parametrize(
    "attributes",
    [{f"key{i:0200}": i for i in range(1000)}, {"fine": 1, "odd": _Odd("x" * 100)}],
    ids=["names alone are too many", "a value that raises"],
)
def test_a_span_that_cannot_be_encoded_as_a_whole_keeps_its_place(attributes: dict[str, Any]) -> None:
    """It says where it belongs, when it was and how it ended; OTLP's counts say what is missing."""
    parent, context = SpanContext(1, 3, False, TraceFlags(1)), SpanContext(1, 2, False, TraceFlags(1))
    span = ReadableSpan(
        "n", context, parent, Resource({"service.name": "s"}), attributes, [Event("e", attributes)], [Link(parent, attributes)],
        status=Status(StatusCode.ERROR, "why"), start_time=1, end_time=2,
    )  # fmt: skip
    encoder = Encoder(attribute_bytes=64_000, span_bytes=100_000)
    whole = MessageToDict(_ours([ReadableSpan("n", context, parent, span.resource, status=span.status, start_time=1, end_time=2)], encoder))
    bare = MessageToDict(_ours([span], encoder))
    (kept,) = bare["resourceSpans"][0]["scopeSpans"][0]["spans"]
    missing = {"droppedAttributesCount": len(attributes), "droppedEventsCount": 1, "droppedLinksCount": 1}
    assert {name: kept.pop(name) for name in missing} == missing
    assert bare == whole


def test_a_log_record_that_cannot_be_encoded_as_a_whole_keeps_its_place() -> None:
    """Its ids, its severity and its name stay; OTLP's count says what is missing."""
    (record,) = _records({"text": "t"}, **{f"key{i:0200}": i for i in range(100)})
    item = LogEncoder(attribute_bytes=1024, span_bytes=2000).encode(record)
    (read,) = ExportLogsServiceRequest.FromString(request([item])).resource_logs[0].scope_logs[0].log_records
    assert (read.dropped_attributes_count, len(read.attributes), read.HasField("body")) == (100, 0, False)
    assert read.trace_id == (1).to_bytes(16, "big")


def test_a_huge_span_is_made_to_fit() -> None:
    """Many values that are each within the limit are shortened together."""
    encoder = Encoder(attribute_bytes=64_000, span_bytes=100_000)
    item = encoder.encode(_span(**{f"key{i}": "v" * 50_000 for i in range(20)}))
    assert len(item.body) <= 100_000


def test_an_interrupted_span_has_an_end_a_status_and_an_attribute() -> None:
    """The bytes appended to a started span read back as its end, status ERROR and the outcome."""
    item = Encoder().encode(_span(model="m"))
    body = interrupted(item.body, 99, names.SPAN_OUTCOME, names.OUTCOME_INTERRUPTED)
    span = ExportTraceServiceRequest.FromString(request([type(item)(item.context, body)])).resource_spans[0].scope_spans[0].spans[0]
    assert (span.end_time_unix_nano, span.status.code) == (99, 2)
    assert {pair.key: pair.value.string_value for pair in span.attributes} == {"model": "m", names.SPAN_OUTCOME: "interrupted"}

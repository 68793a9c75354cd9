"""A TracerProvider of the user's own: counted and flushed, never replaced or shut down."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_llm_bridge.export.pipeline import Pipeline
from otel_llm_bridge.export.slices import slices
from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import PREAMBLE, missing, received, run

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture
def theirs() -> Iterator[TracerProvider]:
    """A provider as a user makes it."""
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider


def _spans(provider: TracerProvider, count: int) -> None:
    for number in range(count):
        provider.get_tracer("user").start_span(f"s{number}").end()


def _otlp(receiver: Receiver, timeout: float = 10.0) -> OTLPSpanExporter:
    return OTLPSpanExporter(endpoint=f"{receiver.http_endpoint}/v1/traces", timeout=timeout)


@pytest.mark.parametrize("attach_first", [True, False])
def test_what_the_users_exporter_confirmed_is_exported(attach_first: bool, theirs: TracerProvider, receiver: Receiver) -> None:
    """Whether the user adds the processor before or after us, the figures are those of the exporter."""
    pipeline = Pipeline()
    if attach_first:
        pipeline.attach(theirs)
    theirs.add_span_processor(BatchSpanProcessor(_otlp(receiver)))
    pipeline.attach(theirs)
    pipeline.flush(60)
    _spans(theirs, 30)
    report = pipeline.flush(60)
    assert report and (report.ended, report.exported, len(received(receiver))) == (30, 30, 30)
    theirs.shutdown()


@pytest.mark.parametrize("kind", [SimpleSpanProcessor, BatchSpanProcessor])
def test_a_processor_that_comes_after_us_is_seen_with_the_next_span(kind: Any, theirs: TracerProvider) -> None:
    """What it has exported by itself before anybody flushed through us is no loss; what ended before it came is one."""
    pipeline, exporter = Pipeline(), InMemorySpanExporter()
    pipeline.attach(theirs)
    _spans(theirs, 2)
    theirs.add_span_processor(kind(exporter))
    _spans(theirs, 3)
    assert theirs.force_flush(60_000)
    report = pipeline.flush(60)
    assert len(exporter.get_finished_spans()) == 3
    assert (report.ended, report.exported, dict(report.dropped)) == (5, 3, {"user_pipeline": 2})


def test_many_threads_find_it_once(theirs: TracerProvider) -> None:
    """Each span is confirmed once, whoever's span was the first that the new processor was given."""
    pipeline, exporter = Pipeline(), InMemorySpanExporter()
    pipeline.attach(theirs)
    theirs.add_span_processor(SimpleSpanProcessor(exporter))
    together = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (together.wait(), _spans(theirs, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = pipeline.flush(60)
    assert (report.ended, report.exported, dict(report.dropped)) == (160, 160, {})


def test_what_waited_before_is_not_counted(theirs: TracerProvider, receiver: Receiver) -> None:
    """Spans that ended before we came, and wait in the user's processor, are delivered and are in no figure: none goes below zero."""
    theirs.add_span_processor(BatchSpanProcessor(_otlp(receiver), schedule_delay_millis=60_000))
    _spans(theirs, 5)
    pipeline = Pipeline()
    pipeline.attach(theirs)
    _spans(theirs, 2)
    report = pipeline.flush(60)
    assert len(received(receiver)) == 7
    assert report and (report.ended, report.exported, dict(report.dropped)) == (2, 2, {}), report
    theirs.shutdown()


def test_a_refusal_is_failed(theirs: TracerProvider, receiver: Receiver) -> None:
    """What the user's exporter gave up is counted as failed although force_flush says True."""
    receiver.fault = Fault.refuse(400)
    theirs.add_span_processor(BatchSpanProcessor(_otlp(receiver)))
    pipeline = Pipeline()
    pipeline.attach(theirs)
    _spans(theirs, 5)
    assert theirs.force_flush(5000) is True
    report = pipeline.flush(60)
    assert not report and report.failed == 5
    theirs.shutdown()


def test_a_flush_of_theirs_that_hangs_is_bounded(theirs: TracerProvider, receiver: Receiver) -> None:
    """Their force_flush ignores its timeout; ours does not, and says what is pending."""
    receiver.fault = Fault.hang
    theirs.add_span_processor(BatchSpanProcessor(_otlp(receiver, timeout=3)))
    pipeline = Pipeline()
    pipeline.attach(theirs)
    _spans(theirs, 5)
    started = time.monotonic()
    report = pipeline.flush(0.3)
    assert time.monotonic() - started < 2.9
    assert not report and report.pending == 5
    receiver.fault = Fault.none


def test_what_their_full_queue_dropped_is_counted(theirs: TracerProvider, receiver: Receiver) -> None:
    """The difference between ended and handed on has a number and a reason."""
    receiver.fault = Fault.slow(0.5)
    theirs.add_span_processor(BatchSpanProcessor(_otlp(receiver), max_queue_size=64, max_export_batch_size=32))
    pipeline = Pipeline()
    pipeline.attach(theirs)
    _spans(theirs, 1000)
    receiver.fault = Fault.none
    report = pipeline.flush(60)
    assert report.dropped["user_pipeline"] + report.exported == 1000
    assert report.exported == len(received(receiver)) < 1000
    theirs.shutdown()


class _Foreign(SimpleSpanProcessor):
    """A processor of another make: nothing about its exporter can be seen."""

    def __init__(self) -> None:
        super().__init__(InMemorySpanExporter())
        self._hidden = self.span_exporter
        del self.span_exporter

    def on_end(self, span: Any) -> None:
        """Takes the span and tells nobody."""


def test_without_a_known_exporter_nothing_is_claimed(theirs: TracerProvider) -> None:
    """Spans stay pending: a flush that returned proves nothing."""
    theirs.add_span_processor(_Foreign())
    pipeline = Pipeline()
    pipeline.attach(theirs)
    _spans(theirs, 3)
    report = pipeline.flush(2)
    assert (report.pending, report.exported, bool(report)) == (3, 0, False)


def test_a_provider_without_sdk_methods_is_left_alone() -> None:
    """An API-only provider is accepted and counts nothing."""
    from opentelemetry.trace import NoOpTracerProvider

    pipeline = Pipeline()
    pipeline.attach(NoOpTracerProvider())
    assert pipeline.flush(1).ended == 0


def test_attaching_twice_counts_once_and_nothing_is_shut_down(theirs: TracerProvider) -> None:
    """The same provider is watched once; our shutdown leaves it working."""
    exporter = InMemorySpanExporter()
    theirs.add_span_processor(SimpleSpanProcessor(exporter))
    pipeline = Pipeline()
    assert pipeline.attach(theirs) is pipeline.attach(theirs)
    _spans(theirs, 2)
    assert pipeline.shutdown(2).exported == 2
    _spans(theirs, 1)
    assert len(exporter.get_finished_spans()) == 3


def test_our_processor_in_their_provider_is_the_truth(theirs: TracerProvider, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may put our delivery into a provider of their own: its figures are taken as they are."""
    from otel_llm_bridge.export.providers import span_processor
    from otel_llm_bridge.settings import Settings

    from .support import endpoint_of

    for name, value in endpoint_of(receiver, "http/protobuf").items():
        monkeypatch.setenv(name, value)
    theirs.add_span_processor(span_processor(Settings.resolve(environ={})))
    pipeline = Pipeline()
    pipeline.attach(theirs)
    _spans(theirs, 4)
    assert pipeline.flush(60).exported == len(received(receiver)) == 4
    theirs.shutdown()


class _Exporter(SpanExporter):
    """Answers as told, and keeps what it was given."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self.answers, self.given, self.shut_down = list(answers), [], False

    def export(self, spans: Any) -> SpanExportResult:
        self.given.append(spans)
        answer = self.answers.pop(0) if self.answers else SpanExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer

    def shutdown(self) -> None:
        self.shut_down = True


def _large(provider: TracerProvider, count: int, length: int) -> None:
    for number in range(count):
        provider.get_tracer("user").start_span(f"s{number}", attributes={"gen_ai.input.messages": "x" * length}).end()


def _attached(pipeline: Pipeline, provider: TracerProvider, most: int = 3_670_016) -> None:
    attached = pipeline.attach(provider)
    assert attached is not None
    attached.max_request_bytes = most


class _Held(SimpleSpanProcessor):
    """Keeps everything back: the test itself calls the exporter."""

    def on_end(self, span: Any) -> None:
        """Nothing."""


def test_a_batch_that_a_grpc_receiver_would_refuse_arrives_in_slices(theirs: TracerProvider, receiver: Receiver) -> None:
    """Forty prompts of 400 kB through the stock processor and exporter, to a receiver that takes 4 MiB at a time."""
    theirs.add_span_processor(BatchSpanProcessor(GrpcExporter(endpoint=receiver.grpc_endpoint), schedule_delay_millis=60_000))
    pipeline = Pipeline()
    _attached(pipeline, theirs)
    _large(theirs, 40, 400_000)
    report = pipeline.flush(60)
    assert (report.exported, report.failed, len(received(receiver))) == (40, 0, 40)
    sizes = [len(request.body) for request in receiver.requests]
    assert 3_000_000 < max(sizes) <= 3_670_016 and len(sizes) == 5, sizes
    theirs.shutdown()


def test_one_span_that_is_too_large_fails_alone(theirs: TracerProvider, receiver: Receiver) -> None:
    """What no slice can hold takes no other span with it; the exporter of old versions tries it again for a minute."""
    theirs.add_span_processor(BatchSpanProcessor(GrpcExporter(endpoint=receiver.grpc_endpoint), schedule_delay_millis=60_000))
    pipeline = Pipeline()
    _attached(pipeline, theirs)
    _large(theirs, 5, 100_000)
    _large(theirs, 1, 5_000_000)
    _large(theirs, 5, 100_000)
    report = pipeline.flush(15)
    assert (report.exported, report.failed + report.pending, len(received(receiver))) == (10, 1, 10)
    theirs.shutdown()


@pytest.mark.parametrize(
    ("answers", "sizes", "result", "figures"),
    [
        ([OK, OK, OK], [2, 2, 1], OK, (5, 0)),
        ([OK, FAILED, OK], [2, 2, 1], FAILED, (3, 2)),
        ([FAILED, FAILED, FAILED], [2, 2, 1], FAILED, (0, 5)),
        ([OK, ValueError("of the exporter"), OK], [2, 2], ValueError, (2, 3)),
    ],
)
def test_the_answers_of_slices(answers: list[Any], sizes: list[int], result: Any, figures: tuple[int, int], theirs: TracerProvider) -> None:
    """The batch is confirmed if each slice is; each span is counted once, also when the exporter raises."""
    exporter, pipeline = _Exporter(*answers), Pipeline()
    memory, processor = InMemorySpanExporter(), _Held(exporter)
    theirs.add_span_processor(processor)
    _attached(pipeline, theirs, 250_000)
    theirs.add_span_processor(SimpleSpanProcessor(memory))
    _large(theirs, 5, 100_000)
    spans = memory.get_finished_spans()
    if result is ValueError:
        with pytest.raises(ValueError, match="of the exporter"):
            processor.span_exporter.export(spans)
    else:
        assert processor.span_exporter.export(spans) is result
    assert [len(part) for part in exporter.given] == sizes
    assert [span for part in exporter.given for span in part] == list(spans[: sum(sizes)])
    report = pipeline.flush(1)
    assert (report.exported, report.failed, report.pending) == (*figures, 0)


def test_after_the_shutdown_the_rest_of_a_batch_is_not_tried(theirs: TracerProvider) -> None:
    """An exporter that was shut down refuses each slice, with a warning each: one is enough."""
    exporter, pipeline = _Exporter(FAILED), Pipeline()
    memory, processor = InMemorySpanExporter(), _Held(exporter)
    theirs.add_span_processor(processor)
    _attached(pipeline, theirs, 250_000)
    theirs.add_span_processor(SimpleSpanProcessor(memory))
    _large(theirs, 5, 100_000)
    processor.span_exporter.shutdown()
    assert exporter.shut_down and processor.span_exporter.export(memory.get_finished_spans()) is FAILED
    assert len(exporter.given) == 1
    assert pipeline.flush(1).failed == 5


def test_a_receiver_that_hangs_is_waited_for_once(theirs: TracerProvider, receiver: Receiver) -> None:
    """Not once for each slice: the exporter's own timeout is that of the batch."""
    receiver.fault = Fault.hang
    theirs.add_span_processor(BatchSpanProcessor(_otlp(receiver, timeout=1.5), schedule_delay_millis=60_000))
    pipeline = Pipeline()
    _attached(pipeline, theirs, 250_000)
    _large(theirs, 12, 100_000)
    report = pipeline.flush(60)
    assert report.failed == 12
    assert len(receiver.requests) < 6
    receiver.fault = Fault.none


def test_a_small_batch_is_handed_on_as_it_is(theirs: TracerProvider) -> None:
    """The same object, in one export."""
    memory = InMemorySpanExporter()
    theirs.add_span_processor(SimpleSpanProcessor(memory))
    _spans(theirs, 3)
    spans = memory.get_finished_spans()
    (only,) = slices(spans, 3_670_016)
    assert only is spans


_VALUES = st.one_of(st.text(max_size=300), st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.lists(st.text(max_size=50), max_size=20))
_KEYS = st.text("abc._é", min_size=1, max_size=24)


@given(st.lists(st.tuples(st.text(max_size=200), st.dictionaries(_KEYS, _VALUES, max_size=8), st.dictionaries(_KEYS, _VALUES, max_size=3)), min_size=1, max_size=12))
def test_no_slice_is_larger_than_it_may_be(made: list[tuple[str, Any, Any]]) -> None:
    """Whatever the spans carry: each is in one slice, in the batch's order but for what is too large, and a slice of several is under the limit."""
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False, resource=Resource({}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name, attributes, more in made:
        span = provider.get_tracer("user").start_span(name, attributes=attributes)
        span.add_event(name, more)
        span.set_status(trace.StatusCode.ERROR, name)
        span.end()
    spans = memory.get_finished_spans()
    parts = list(slices(spans, 3000))
    assert sorted(spans.index(span) for part in parts for span in part) == list(range(len(spans)))
    several = [spans.index(span) for part in parts if len(part) > 1 for span in part]
    assert several == sorted(several)
    assert all(len(encode_spans(part).SerializeToString()) <= 3000 for part in parts if len(part) > 1)


_HANDLER = """
import asyncio
from otel_llm_bridge.export.pipeline import flush_after
@flush_after(5.0)
def plain(event):
    span(1)
    return event
@flush_after(timeout=5.0)
async def awaited(event):
    span(2)
    return event
@flush_after(5.0)
def failing(event):
    span(3)
    raise KeyError(event)
assert plain("a") == "a" and asyncio.run(awaited("b")) == "b"
try:
    failing("c")
except KeyError:
    figures()
os._exit(0)
"""


def test_a_handler_has_delivered_before_it_returns(tmp_path: Path, receiver: Receiver) -> None:
    """The decorator flushes after plain, async and failing handlers: a frozen process has nothing left to lose."""
    ended = run(_HANDLER, tmp_path, receiver)
    assert (ended.figures["exported"], len(received(receiver))) == (3, 3), ended.errors


@pytest.mark.parametrize("how", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGTERM)\nthreading.Event().wait(10)"], ids=["exit", "SIGTERM"])
def test_the_users_pipeline_is_flushed_at_the_end(how: str, tmp_path: Path, receiver: Receiver) -> None:
    """With a provider of the user's own, SIGTERM loses nothing either."""
    body = f"""
import threading
pipeline.attach(provider)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=60_000))
[span(i) for i in range(20)]
{how}
"""
    preamble = PREAMBLE.replace("line = pipeline.build(settings)\n    provider = line.tracer_provider", _THEIR_PROVIDER)
    ended = run(body, tmp_path, receiver, preamble=preamble)
    assert len(ended.ended) == 20 and missing(ended.ended, receiver) == set(), ended.errors


_THEIR_PROVIDER = """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    provider = TracerProvider()
"""

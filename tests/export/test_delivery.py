"""What becomes of spans when the receiver takes them, refuses them, or does neither."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_llm_bridge.export import otlp_env
from otel_llm_bridge.export.delivery import Delivery
from otel_llm_bridge.export.encoding import Encoder
from otel_llm_bridge.export.http_transport import retry_after
from otel_llm_bridge.export.ledger import FlushReport
from otel_llm_bridge.export.processors import DeliverySpanProcessor
from otel_llm_bridge.export.transport import connect
from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import endpoint_of, received, until

PROTOCOLS = ["http/protobuf", "grpc"]


class Line:
    """A provider, its delivery, and a way to make spans."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(DeliverySpanProcessor(delivery, exit_timeout=1.0))
        self.tracer = self.provider.get_tracer("tests")

    def spans(self, count: int, **attributes: Any) -> Line:
        """End ``count`` spans."""
        for number in range(count):
            with self.tracer.start_as_current_span(f"s{number}", attributes={"number": number, **attributes}):
                pass
        return self


@pytest.fixture
def line(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Line]]:
    """Makes lines to the receiver, with our options and ``OTEL_*`` variables; closes them afterwards."""
    made: list[Line] = []

    def make(protocol: str = "http/protobuf", environ: dict[str, str] | None = None, **options: Any) -> Line:
        for name, value in {**endpoint_of(receiver, protocol), **(environ or {})}.items():
            monkeypatch.setenv(name, value)
        options = {"schedule_delay": 0.05, "request_timeout": 2.0, **options}
        cap = options.pop("span_bytes", 3_000_000)
        transport = connect(otlp_env.endpoint("traces"), "traces")
        made.append(Line(Delivery(Encoder(span_bytes=cap).encode, transport, **options)))
        return made[-1]

    yield make
    for each in made:
        each.delivery.close(0.0)


def exact(report: FlushReport) -> bool:
    """The identity that holds at any moment."""
    parts = report.exported + report.spooled + report.quarantined + report.failed + report.pending
    return report.ended == parts + sum(report.dropped.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_everything_arrives_once(line: Callable[..., Line], receiver: Receiver, protocol: str, compression: str) -> None:
    """Spans reach the receiver once each, and the report is true because they were confirmed."""
    report = line(protocol, {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}).spans(1500).delivery.flush(60)
    assert report and (report.ended, report.exported) == (1500, 1500)
    assert len(received(receiver)) == len(set(received(receiver))) == 1500


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "fault",
    [Fault.refuse(503), Fault.refuse(502), Fault.refuse(401), Fault.refuse(404), Fault.refuse(500), Fault.reset,
     Fault.redirect_307("http://127.0.0.1:1/"), Fault.too_many_requests(), Fault.refuse(503, retry_after=0.2)],
    ids=lambda fault: f"{fault.name}-{fault.status}-{fault.retry_after}",
)  # fmt: skip
def test_what_is_refused_for_now_is_sent_again(line: Callable[..., Line], receiver: Receiver, protocol: str, fault: Fault) -> None:
    """After a few refusals of any temporary kind, a redirect or a wrong key included, every span arrives."""
    receiver.fail_next(2, fault)
    report = line(protocol).spans(40).delivery.flush(60)
    assert report and report.exported == 40, report
    assert sorted(received(receiver)) == sorted(set(received(receiver)))
    assert len(received(receiver)) == 40


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", [Fault.refuse(503), Fault.hang, Fault.reset], ids=lambda fault: fault.name)
def test_a_flush_without_an_answer_is_false_and_in_time(
    line: Callable[..., Line], receiver: Receiver, protocol: str, fault: Fault
) -> None:
    """With nothing confirmed the report is false, names what is pending, and comes by the deadline."""
    receiver.fault = fault
    made = line(protocol)
    started = time.monotonic()
    report = made.spans(30).delivery.flush(0.5)
    assert time.monotonic() - started < 4.0
    assert not report and (report.exported, report.pending) == (0, 30)
    assert made.provider.force_flush(200) is False
    receiver.fault = Fault.none
    assert made.delivery.flush(60).exported == 30


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_receivers_wish_to_wait_is_respected(line: Callable[..., Line], receiver: Receiver, protocol: str) -> None:
    """With Retry-After beyond the deadline a flush comes back at once, and nothing is sent meanwhile."""
    receiver.fault = Fault.too_many_requests(retry_after=30)
    delivery = line(protocol).spans(3).delivery
    receiver.wait_for_requests(1)
    until(lambda: delivery.retry.asked_to_wait, what="the answer")
    report = delivery.flush(8.0)
    assert report.pending == 3 and report.elapsed < 4.0
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partial_success_is_counted_to_the_span(line: Callable[..., Line], receiver: Receiver, protocol: str) -> None:
    """What the receiver took the request for and refused all the same is failed, the rest exported."""
    receiver.fault = Fault.partial_success(7)
    report = line(protocol).spans(20).delivery.flush(60)
    assert (report.exported, report.failed, bool(report)) == (13, 7, False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_final_refusal_is_failed_and_does_not_block(line: Callable[..., Line], receiver: Receiver, protocol: str) -> None:
    """400 is counted as failed, and spans that end later are delivered."""
    receiver.fault = Fault.refuse(400)
    made = line(protocol)
    assert made.spans(5).delivery.flush(60).failed == 5
    receiver.fault = Fault.none
    report = made.spans(5).delivery.flush(60)
    assert (report.exported, report.failed, exact(report)) == (5, 5, True)


def test_a_request_that_is_too_large_is_halved(line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that takes 64 kB gets everything in smaller requests; a single span over that is failed."""
    with Receiver(max_http_bytes=65_536) as small:
        made = line(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": small.http_endpoint})
        made.spans(40, text="x" * 5_000).spans(1, text="y" * 90_000)
        report = made.delivery.flush(60)
        assert (report.exported, report.failed) == (40, 1)
        assert len(received(small)) == 40


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_request_is_larger_than_allowed(line: Callable[..., Line], receiver: Receiver, protocol: str) -> None:
    """100 spans of 250 kB leave in requests that the Collector's 4 MiB limit takes."""
    made = line(protocol, batch_bytes=3_670_016)
    report = made.spans(100, text="z" * 250_000).delivery.flush(60)
    assert report and report.exported == 100
    assert max(len(request.body) for request in receiver.requests) < 3.5 * 1024 * 1024


def test_a_full_queue_drops_and_counts_exactly(line: Callable[..., Line], receiver: Receiver) -> None:
    """With a receiver that hangs, what does not fit into the queue is dropped with its count, never silently."""
    receiver.fault = Fault.hang
    made = line(queue_size=100, batch_size=10)
    report = made.spans(1000).delivery.flush(0.2)
    assert (report.ended, report.pending, report.dropped) == (1000, 100, {"queue_full": 900})
    receiver.fault = Fault.none
    report = made.delivery.flush(60)
    assert (report.exported, exact(report)) == (100, True)
    until(lambda: len(set(received(receiver))) == 100)


def test_back_pressure_loses_nothing_with_a_slow_receiver(line: Callable[..., Line], receiver: Receiver) -> None:
    """With the policy block, callers wait for a place, and every span arrives."""
    receiver.fault = Fault.slow(0.02)
    made = line(queue_size=50, batch_size=25, policy="block", block_timeout=30.0)
    report = made.spans(500).delivery.flush(60)
    assert report and report.exported == 500


def test_back_pressure_is_bounded(line: Callable[..., Line], receiver: Receiver) -> None:
    """With a receiver that hangs, a call waits no longer than the limit, and the loss is counted."""
    receiver.fault = Fault.hang
    made = line(queue_size=10, batch_size=10, policy="block", block_timeout=0.1)
    made.spans(10)
    started = time.monotonic()
    made.spans(3)
    assert 0.25 < time.monotonic() - started < 10.0
    assert made.delivery.ledger.report().dropped == {"queue_full": 3}


def test_a_hanging_receiver_never_slows_a_call_by_default(line: Callable[..., Line], receiver: Receiver) -> None:
    """5,000 spans end in seconds although not one request is answered."""
    receiver.fault = Fault.hang
    made = line(queue_size=1000)
    started = time.monotonic()
    made.spans(5_000)
    assert time.monotonic() - started < 15.0
    report = made.delivery.ledger.report()
    assert report.dropped["queue_full"] == 4_000 and exact(report)


def test_spans_after_the_shutdown_are_counted(line: Callable[..., Line]) -> None:
    """What ends too late is in the figures, not forgotten."""
    made = line()
    made.spans(3)
    made.provider.shutdown()
    made.spans(2)
    report = made.delivery.ledger.report()
    assert (report.exported, report.dropped) == (3, {"after_shutdown": 2})


def test_spans_that_are_not_sampled_do_not_count(line: Callable[..., Line], receiver: Receiver) -> None:
    """A span that the sampler left out is neither ended nor lost."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    made = line()
    made.provider.sampler = ALWAYS_OFF
    made.tracer = made.provider.get_tracer("off")
    assert made.spans(5).delivery.flush(1).ended == 0


def test_ends_from_many_threads_and_from_within_the_lock_are_exact(line: Callable[..., Line], receiver: Receiver) -> None:
    """Threads, and spans that the garbage collector ends on any of them, leave exact figures and no deadlock."""
    import gc
    import threading

    made = line()

    class Left:
        """Something that ends its span when it is collected."""

        def __init__(self) -> None:
            self.me, self.span = self, made.tracer.start_span("left")

        def __del__(self) -> None:
            self.span.end()

    def work() -> None:
        for _ in range(300):
            Left()
            made.spans(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    gc.collect()
    report = made.delivery.flush(60)
    assert report and report.ended == 4800 and len(set(received(receiver))) == 4800


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), ("0", 0.0), ("-3", 0.0), ("Thu, 01 Jan 1970 00:00:10 GMT", 7.0), ("soon", None), ("", None), ("nan", None), (None, None)],
)
def test_retry_after_is_read_as_http_says(value: str | None, seconds: float | None) -> None:
    """Seconds or a date; anything else is no wish at all."""
    assert retry_after(value, now=3.0) == seconds


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request for another host goes to the proxy, with the whole URL and the proxy's password; one for loopback does not."""
    import http.server
    import threading

    seen: list[tuple[str, str | None]] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.path, self.headers["proxy-authorization"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    away = otlp_env.Endpoint(otlp_env.HTTP, "http://collector.invalid:4318/v1/traces")
    here = otlp_env.Endpoint(otlp_env.HTTP, "http://127.0.0.1:9/v1/traces")
    assert connect(away, "traces").send(b"x", 10.0).detail == "200"
    assert connect(here, "traces").send(b"x", 10.0).detail == "ConnectionRefusedError"
    assert seen == [(away.url, "Basic bWU6c2VjcmV0")]
    server.shutdown()
    server.server_close()


def test_where_no_thread_can_be_started(line: Callable[..., Line], receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late in an exit: the thread that flushes delivers, and the shutdown has no thread to wait for."""

    start = threading.Thread.start

    def refuse_ours(thread: threading.Thread) -> None:
        if thread.name.startswith("otel-llm-bridge"):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    one = line()
    with monkeypatch.context() as late:
        late.setattr(threading.Thread, "start", refuse_ours)
        one.spans(3)
        assert one.delivery.flush(5).exported == 3
        assert one.delivery.close(1)
    assert len(receiver.store.spans()) == 3

"""What goes in over the real exporters is what the store holds; what is refused is refused clearly."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_llm_bridge.export import report
from otel_llm_bridge.viewer import Fault, Receiver

from .senders import exporter_for, tracer_to

PROTOCOLS = ("http", "http+gzip", "grpc")
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def one_span() -> Any:
    """An ended span of the real SDK."""
    provider, memory = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span("one").end()
    return memory.get_finished_spans()[0]


def otlp_json(name: str = "s", trace_id: str = TRACE_ID, span_id: str = SPAN_ID) -> dict[str, Any]:
    """One span as OTLP JSON."""
    span = {"traceId": trace_id, "spanId": span_id, "name": name, "kind": 3, "startTimeUnixNano": "1000", "endTimeUnixNano": "3000"}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def post(
    receiver: Receiver, body: bytes, path: str = "/v1/traces", method: str = "POST", **headers: str
) -> tuple[int, bytes]:
    """A raw HTTP request; header names with underscores for dashes."""
    address = receiver.http_endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=10)
    sent = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_span_arrives_whole(protocol: str) -> None:
    """Every field of a span survives each transport."""
    with Receiver() as receiver:
        with tracer_to(receiver, protocol) as tracer, tracer.start_as_current_span("parent") as parent:
            link = trace.Link(parent.get_span_context(), {"why": "test"})
            with tracer.start_as_current_span("child", kind=trace.SpanKind.CLIENT, links=[link]) as child:
                child.set_attributes({"a": "ä", "b": 2, "c": 1.5, "d": True, "e": ["x", "y"]})
                child.add_event("happened", {"n": 1})
                child.set_status(trace.Status(trace.StatusCode.ERROR, "broken"))
        spans = {span.name: span for span in receiver.store.wait_for(2).spans()}
        got, top = spans["child"], spans["parent"]
        assert got.attributes == {"a": "ä", "b": 2, "c": 1.5, "d": True, "e": ["x", "y"]}
        assert (got.kind, got.status_code, got.status_message) == ("CLIENT", "ERROR", "broken")
        assert (got.trace_id, got.parent_span_id, top.parent_span_id) == (top.trace_id, top.span_id, None)
        assert [(event.name, event.attributes) for event in got.events] == [("happened", {"n": 1})]
        assert [(item.span_id, item.attributes) for item in got.links] == [(top.span_id, {"why": "test"})]
        assert (got.scope_name, got.scope_version, got.schema_url) == ("tests.viewer", "1.2", "https://example.org/schema")
        assert got.resource["service.name"] == "shop"
        assert top.start_ns <= got.start_ns < got.end_ns <= top.end_ns
        assert any("ä".encode() in request.body for request in receiver.requests)
        assert receiver.store.counts.duplicates == 0


def test_metrics_and_logs_arrive() -> None:
    """The two other signals are kept with their values, attributes and the span that they belong to."""
    with Receiver() as receiver:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(receiver.http_endpoint + "/v1/metrics"), 60_000)
        meters = MeterProvider([reader], shutdown_on_exit=False)
        meter = meters.get_meter("m")
        meter.create_counter("calls", "1").add(3, {"model": "a"})
        meter.create_histogram("time", "s").record(0.5)
        meters.shutdown()
        metrics = {metric.name: metric for metric in receiver.store.metrics()}
        assert metrics["calls"].points[0].value == 3
        assert metrics["calls"].points[0].attributes == {"model": "a"}
        assert metrics["time"].points[0].value["sum"] == 0.5

        loggers = LoggerProvider(shutdown_on_exit=False)
        loggers.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(receiver.http_endpoint + "/v1/logs")))
        context = trace.set_span_in_context(
            trace.NonRecordingSpan(trace.SpanContext(int(TRACE_ID, 16), int(SPAN_ID, 16), False, trace.TraceFlags(1)))
        )
        loggers.get_logger("l").emit(event_name="late", body={"k": [1]}, context=context)
        loggers.shutdown()
        receiver.store.wait_for(lambda store: store.logs())
        log = receiver.store.logs()[0]
        assert (log.event_name, log.body, log.trace_id, log.span_id) == ("late", {"k": [1]}, TRACE_ID, SPAN_ID)


def test_events_of_old_senders() -> None:
    """An event whose name is an attribute, as it was before log records had a field for it, has that name."""
    record = {"timeUnixNano": "1", "attributes": [{"key": "event.name", "value": {"stringValue": "early"}}]}
    with Receiver() as receiver:
        body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()
        assert post(receiver, body, "/v1/logs")[0] == 200
        (log,) = receiver.store.logs()
        assert log.event_name == "early"


def test_json_with_gzip_and_duplicate() -> None:
    """OTLP JSON is understood, packed too, and a span that comes twice is counted and kept once."""
    with Receiver() as receiver:
        body = json.dumps(otlp_json()).encode()
        assert post(receiver, body) == (200, b"{}")
        assert post(receiver, gzip.compress(body), Content_Encoding="gzip")[0] == 200
        assert [(span.trace_id, span.kind) for span in receiver.store.spans()] == [(TRACE_ID, "CLIENT")]
        assert receiver.store.counts.duplicates == 1


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (403, {"body": b"{}", "Host": "evil.example:4318"}),
        (403, {"body": b"{}", "Host": "127.0.0.1.evil.example"}),
        (415, {"body": b"{}", "Content_Type": "text/plain"}),
        (415, {"body": b"{}", "Content_Encoding": "br"}),
        (400, {"body": b"{"}),
        (400, {"body": b'{"resourceSpans": 7}'}),
        (400, {"body": b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}'}),
        (400, {"body": b"\xff\xff", "Content_Type": "application/x-protobuf"}),
        (400, {"body": b"not gzip", "Content_Encoding": "gzip"}),
        (413, {"body": b"x" * 3000}),
        (413, {"body": gzip.compress(b"x" * 5000), "Content_Encoding": "gzip"}),
        (411, {"body": b"", "Content_Length": "-1"}),
        (404, {"body": b"{}", "path": "/v1/profiles"}),
        (405, {"body": b"", "method": "GET"}),
        (501, {"body": b"", "method": "DELETE"}),
        (400, {"body": b"[" * 2000}),
    ],
)
def test_bad_request_is_refused(status: int, request_: dict[str, Any]) -> None:
    """Foreign hosts, wrong types, broken and oversized bodies are refused, and the next good request is not."""
    with Receiver(grpc_port=None, max_http_bytes=2048) as receiver:
        assert post(receiver, **request_)[0] == status
        assert receiver.store.spans() == []
        assert post(receiver, json.dumps(otlp_json()).encode())[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_only_loopback(host: str) -> None:
    """It cannot be made to listen on an address that others reach."""
    with pytest.raises(ValueError, match="loopback"):
        Receiver(host=host)


@pytest.mark.parametrize("which", ["http_port", "grpc_port"])
def test_busy_port_is_named(which: str) -> None:
    """A port that is taken is an error that names it, for both protocols, and nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            Receiver(**{which: port}).start()


FAULTS = {
    "refuse": (Fault.refuse(503, retry_after=30), False, 0),
    "too many": (Fault.too_many_requests(retry_after=30), False, 0),
    "bad request": (Fault.refuse(400), False, 0),
    "reset": (Fault.reset, False, 0),
    "lost answer": (Fault.lost_answer, False, 1),
    "unauthorised": (Fault.unauthorised, False, 0),
    "partial": (Fault.partial_success(1), True, 0),
    "slow": (Fault.slow(0.05), True, 1),
}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("name", FAULTS)
def test_fault_reaches_the_real_exporter(name: str, protocol: str) -> None:
    """Each fault makes the stock exporter fail or succeed as the protocol says, and stores what it should."""
    fault, succeeds, stored = FAULTS[name]
    with Receiver() as receiver:
        receiver.fault = fault
        exporter = exporter_for(receiver, protocol, timeout=1)
        result = exporter.export([one_span()])
        exporter.shutdown()
        assert result is (SpanExportResult.SUCCESS if succeeds else SpanExportResult.FAILURE)
        assert len(receiver.store.spans()) == stored
        assert {request.fault for request in receiver.requests} == {fault.name}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_held_request_ends_with_the_receiver(protocol: str) -> None:
    """A request that hangs is left unanswered until the receiver stops, which does not wait for it."""
    receiver = Receiver().start()
    receiver.fault = Fault.hang
    exporter = exporter_for(receiver, protocol, timeout=30)
    results: list[SpanExportResult] = []
    thread = threading.Thread(target=lambda: results.append(exporter.export([one_span()])), daemon=True)
    thread.start()
    receiver.wait_for_requests(1)
    assert results == []
    stopping = time.monotonic()
    receiver.stop()
    assert time.monotonic() - stopping < 10
    exporter.shutdown()
    thread.join(30)
    assert results == [SpanExportResult.FAILURE]


def test_redirect_names_the_other_place() -> None:
    """A redirect carries the location with the signal's path."""
    with Receiver() as receiver:
        receiver.fault = Fault.redirect_307("http://127.0.0.1:1")
        address = receiver.http_endpoint.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
            connection.request("POST", "/v1/traces", b"{}", {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:1/v1/traces")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_retry_after_failed_requests(protocol: str) -> None:
    """With the first request refused as retryable, the stock exporter's second one is stored."""
    with Receiver() as receiver:
        receiver.fail_next(1, Fault.refuse(503, retry_after=0.05 if protocol == "grpc" else 1))
        exporter = exporter_for(receiver, protocol, timeout=10)
        assert exporter.export([one_span()]) is SpanExportResult.SUCCESS
        exporter.shutdown()
        assert [request.fault for request in receiver.requests] == ["refuse", "none"]
        assert len(receiver.store.spans()) == 1


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_restart_on_the_same_ports(protocol: str) -> None:
    """After a stop nothing answers, kept-alive connections included; a new receiver takes the same ports at once."""
    first = Receiver().start()
    ports = {
        "http_port": int(first.http_endpoint.rpartition(":")[2]),
        "grpc_port": int(first.grpc_endpoint.rpartition(":")[2]),
    }
    exporter = exporter_for(first, protocol, timeout=1)
    assert exporter.export([one_span()]) is SpanExportResult.SUCCESS
    first.stop()
    assert exporter.export([one_span()]) is SpanExportResult.FAILURE
    exporter.shutdown()
    with Receiver(store=first.store, **ports) as second:
        exporter = exporter_for(second, protocol, timeout=10)
        assert exporter.export([one_span()]) is SpanExportResult.SUCCESS
        exporter.shutdown()
        assert len(second.store.spans()) == 2


def test_report_is_taken_and_only_to_loopback() -> None:
    """The figures that a child posts arrive; a foreign address is never contacted."""
    with Receiver(grpc_port=None) as receiver:
        assert report.send(receiver.report_url, {"pid": 1, "ended": 3})
        assert receiver.reports == [{"pid": 1, "ended": 3}]
        url = receiver.report_url
    assert not report.send(url, {"pid": 1})
    assert not report.send("http://192.0.2.1/x", {"pid": 1})
    assert not report.send("nonsense", {"pid": 1})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_senders_at_once(protocol: str) -> None:
    """Twenty threads with twenty spans each: all four hundred arrive, once."""
    with Receiver() as receiver:
        with tracer_to(receiver, protocol) as tracer:
            threads = [
                threading.Thread(target=lambda: [tracer.start_span(f"s{n}").end() for n in range(20)]) for _ in range(20)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert len(receiver.store.wait_for(400).spans()) == 400
        assert receiver.store.counts.duplicates == 0

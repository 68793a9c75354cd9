"""The read API in Jaeger's shape, OTLP JSON lines there and back, and the `view` command."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from otel_llm_bridge.semconv.vocabulary import INFERENCE, ROUTER
from otel_llm_bridge.viewer import Receiver, Store, jsonl, otlp_json
from otel_llm_bridge.viewer.api import trace_json
from otel_llm_bridge.viewer.page import Pages, details, listing
from otel_llm_bridge.viewer.signals import SIGNALS
from otel_llm_bridge.viewer.summary import CONTENT
from otel_llm_bridge.viewer.terminal import plain, tree

from .commands import COMMAND, run, started
from .making import EPOCH, MS, add_log, any_value, pairs, request, span, store_of


def store() -> Store:
    """Two traces of `shop`, one of `bank`; the later one of `shop` has failed."""
    kept = store_of(
        span("GET /", 1, ms=300, kind=2),
        span("chat gpt-4o", 2, 1, start_ms=5, ms=200, kind=3, events=[("first", 50)], attributes={"tokens": 12, "ratio": 0.5, "words": ["a"], "on": True}),
        span("chat gpt-4o", 3, trace=2, start_ms=1000, ms=20, kind=3, error=True, attributes={"user": "x"}),
    )  # fmt: skip
    kept.add("traces", request(span("pay", 1, trace=3, start_ms=2000), service="bank"))
    return kept


def get(path: str, kept: Store | None = None, **query: str) -> Any:
    """The answer of the API, decoded, with its status."""
    reply = Pages(kept or store())(path, urllib.parse.parse_qs(urllib.parse.urlencode(query)))
    assert reply is not None
    assert reply.content_type == "application/json"
    return {**json.loads(reply.body), "status": reply.status}


@pytest.mark.parametrize(
    ("path", "query", "data"),
    [
        ("/api/services", {}, ["bank", "shop"]),
        ("/api/services/shop/operations", {}, ["GET /", "chat gpt-4o"]),
        ("/api/services/nobody/operations", {}, []),
        ("/api/operations", {"service": "shop"}, [{"name": "GET /", "spanKind": "server"}, {"name": "chat gpt-4o", "spanKind": "client"}]),
        ("/api/operations", {"service": "shop", "spanKind": "server"}, [{"name": "GET /", "spanKind": "server"}]),
    ],
)  # fmt: skip
def test_lists(path: str, query: dict[str, str], data: list[Any]) -> None:
    """Services and operations come in Jaeger's envelope."""
    answer = get(path, **query)
    assert answer == {"data": data, "total": len(data), "limit": 0, "offset": 0, "errors": None, "status": 200}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [2, 1]),
        ({"limit": "1"}, [2]),
        ({"operation": "GET /"}, [1]),
        ({"operation": "all"}, [2, 1]),
        ({"tags": '{"error":"true"}'}, [2]),
        ({"tags": '{"user":"x","otel.status_code":"ERROR"}'}, [2]),
        ({"tag": "tokens:12"}, [1]),
        ({"tag": "on:true"}, [1]),
        ({"tag": "span.kind:client"}, [2, 1]),
        ({"tag": "service.name:shop"}, [2, 1]),
        ({"tag": "tokens:13"}, []),
        ({"minDuration": "150ms"}, [1]),
        ({"maxDuration": "0.1s"}, [2]),
        ({"minDuration": "1m1.5s"}, []),
        ({"start": str(EPOCH // 1000 + 500_000)}, [2]),
        ({"end": str(EPOCH // 1000 + 500_000)}, [1]),
        ({"service": "bank"}, [3]),
    ],
)
def test_search(query: dict[str, str], found: list[int]) -> None:
    """A trace is found when one of its spans fulfils the whole query; the newest come first."""
    answer = get("/api/traces", **{"service": "shop", **query})
    assert [int(trace["traceID"], 16) for trace in answer["data"]] == found


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "'service' is required"),
        ({"service": "shop", "limit": "none"}, "'limit' must be a whole number"),
        ({"service": "shop", "limit": "9" * 30}, "'limit' must be a whole number"),
        ({"service": "shop", "minDuration": "soon"}, "'minDuration' must be a duration"),
        ({"service": "shop", "tags": "[1]"}, "'tags' must be a JSON object"),
        ({"service": "shop", "tags": "["}, "'tags' must be a JSON object"),
        ({"service": "shop", "tag": "no colon"}, "'tag' must be key:value"),
    ],
)
def test_bad_search(query: dict[str, str], says: str) -> None:
    """A parameter that is missing or not understood is named, with status 400."""
    answer = get("/api/traces", **query)
    assert (answer["status"], answer["data"]) == (400, None)
    assert says in answer["errors"][0]["msg"]


def test_trace_in_jaegers_shape() -> None:
    """Times in microseconds, typed tags, references, logs with an event field, processes with their service."""
    answer = get("/api/traces/1")
    trace = answer["data"][0]
    child = trace["spans"][1]
    assert (trace["traceID"], child["startTime"], child["duration"]) == (f"{1:032x}", (EPOCH + 5 * MS) // 1000, 200_000)
    assert child["references"] == [{"refType": "CHILD_OF", "traceID": f"{1:032x}", "spanID": f"{1:016x}"}]
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in child["tags"]}
    assert tags == {
        "tokens": ("int64", 12), "ratio": ("float64", 0.5), "words": ("string", '["a"]'), "on": ("bool", True),
        "span.kind": ("string", "client"),
    }  # fmt: skip
    assert child["logs"] == [{"timestamp": (EPOCH + 55 * MS) // 1000, "fields": [{"key": "event", "type": "string", "value": "first"}]}]
    assert trace["processes"] == {"p1": {"serviceName": "shop", "tags": []}}
    failed = get("/api/traces", service="shop", limit="1")["data"][0]["spans"][0]
    assert {"key": "error", "type": "bool", "value": True} in failed["tags"]
    assert get("/api/traces/7")["errors"] == [{"code": 404, "msg": "trace not found"}]
    assert [one["traceID"] for one in get("/api/traces", traceID="3")["data"]] == [f"{3:032x}"]


def test_listing_sends_what_changed() -> None:
    """A reader that names the version it has seen gets only the rows that changed since, a late log included."""
    kept = store()
    first = listing(kept)
    assert len(first["rows"]) == 3
    assert listing(kept, first["version"])["rows"] == []
    kept.add("traces", request(span("late child", 9, 1, trace=1)))
    assert [row["id"] for row in listing(kept, first["version"])["rows"]] == [f"{1:032x}"]
    second = listing(kept)["version"]
    add_log(kept, "after", span("GET /", 1), 400)
    assert [row["id"] for row in listing(kept, second)["rows"]] == [f"{1:032x}"]


@pytest.mark.parametrize("path", ["/", "/api/services", "/api/view/traces", "/api/traces/1"])
def test_pages_refuse_foreign_hosts(path: str) -> None:
    """A name of the web that was made to point here gets neither page nor data."""
    kept = store()
    with Receiver(kept, grpc_port=None, pages=Pages(kept)) as receiver:
        address = receiver.http_endpoint.removeprefix("http://")
        for host, status in ((address, 200), ("rebound.example", 403)):
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("GET", path, headers={"Host": host})
            assert connection.getresponse().status == status
            connection.close()


VALUES = st.one_of(st.text(max_size=20), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.lists(st.text(max_size=5), max_size=3))


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=30), attributes=st.dictionaries(st.text(min_size=1, max_size=20), VALUES, max_size=6), ids=st.integers(1, 2**64 - 1))
def test_json_there_and_back(name: str, attributes: dict[str, Any], ids: int) -> None:
    """What is written as OTLP JSON is read back the same: ids, big numbers, every kind of value."""
    one = span(_encodable(name), ids, trace=ids)
    one.attributes.extend(pairs({_encodable(key): _encodable(value) for key, value in attributes.items()}))
    message, back = request(one), ExportTraceServiceRequest()
    text = otlp_json.dump(message)
    otlp_json.parse(text, back)
    assert back == message
    assert "\n" not in text
    assert json.loads(text)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] == f"{ids:016x}"


NAMES = st.sampled_from([*(fact.attribute for fact in (*INFERENCE, *ROUTER)), *CONTENT])


@settings(max_examples=150, deadline=None)
@given(name=st.text(max_size=10), attributes=st.dictionaries(NAMES, VALUES | st.just(float("nan")) | st.just(float("-inf")), max_size=12), kind=st.integers(0, 99))
def test_foreign_values_are_shown(name: str, attributes: dict[str, Any], kind: int) -> None:
    """Whatever an instrumentation sends under our names, trees, page and API show it, as valid JSON."""
    one = span(_encodable(name), 1, kind=kind, attributes={k: _encodable(v) for k, v in attributes.items()})
    kept = store_of(one)
    assert plain(tree(kept.traces()[0]))
    for document in (details(kept.traces()[0]), trace_json(kept.traces()[0]), listing(kept)):
        json.dumps(document, allow_nan=False).encode()


def _encodable(value: Any) -> Any:
    """A text without lone surrogates, which protobuf refuses."""
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def test_attribute_that_looks_like_an_id() -> None:
    """An attribute called traceId, and bytes, are left alone by the conversion of ids."""
    one = span("s", 1, attributes={"traceId": "not hexadecimal"})
    one.attributes.add(key="raw").value.bytes_value = b"\x00\xff"
    one.attributes.add(key="map").value.kvlist_value.values.add(key="spanId", value=any_value("zz"))
    message, back = request(one), ExportTraceServiceRequest()
    otlp_json.parse(otlp_json.dump(message), back)
    assert back == message


def test_collectors_own_line(tmp_path: Path) -> None:
    """A line as the Collector's file exporter writes it is read, whatever the signal; unknown fields do not matter."""
    lines = [
        '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"scope":{},"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","parentSpanId":"","flags":257,"name":"n","kind":3,"startTimeUnixNano":"1","endTimeUnixNano":"2","status":{},"fromTheFuture":1}]}]}]}',
        "",
        '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"dataPoints":[{"asInt":"5","timeUnixNano":"1"}],"aggregationTemporality":2,"isMonotonic":true}}]}]}]}',
        '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"b"},"severityNumber":9}]}]}]}',
    ]  # fmt: skip
    path = tmp_path / "collector.jsonl"
    path.write_text("\n".join(lines) + "\n")
    kept = Store()
    for signal_, message in jsonl.read(path):
        kept.add(signal_.name, message)
    assert (kept.spans()[0].name, kept.spans()[0].kind) == ("n", "CLIENT")
    assert (kept.metrics()[0].points[0].value, kept.logs()[0].body) == (5, "b")
    assert {signal_.name for signal_, _ in jsonl.read(path)} == {signal_.name for signal_ in SIGNALS}


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"other":1}', '{"resourceSpans":[{"scopeSpans":7}]}', "[" * 100_000, "\xff", '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\\ud800"}]}]}]}'])
def test_bad_line_is_named(line: str, tmp_path: Path) -> None:
    """A line that is no OTLP ends `view` with its number and exit code 2, not with a traceback."""
    path = tmp_path / "bad.jsonl"
    path.write_text(otlp_json.dump(request(span("s", 1))) + "\n" + line + "\n", encoding="latin-1")
    with pytest.raises(otlp_json.InvalidOtlp, match="line 2: "):
        list(jsonl.read(path))


def test_view_converts_a_file(tmp_path: Path) -> None:
    """With --file, the trees go to stdout and the page with its data to a file, and nothing is served."""
    path, page = tmp_path / "t.jsonl", tmp_path / "t.html"
    path.write_text(otlp_json.dump(request(span("<b>bold</b>", 1))) + "\n")
    done = run("view", "--file", str(path), "--tree", "--html", str(page))
    assert (done.returncode, "<b>bold</b>" in done.stdout) == (0, True)
    text = page.read_text("utf-8")
    assert "\\u003cb>bold" in text
    assert "<b>bold" not in text
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)


def test_view_bad_input(tmp_path: Path) -> None:
    """A missing or broken file, a busy port, a wrong number: a sentence, exit code 2, no traceback."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text("not json\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = str(taken.getsockname()[1])
        cases = (
            (["--file", str(tmp_path / "missing"), "--tree"], "missing: No such file"),
            (["--file", str(broken), "--tree"], "broken.jsonl: line 1: "),
            (["--http-port", busy, "--grpc-port", "0"], f"port {busy} (OTLP/HTTP) is not free"),
            (["--http-port", "0", "--grpc-port", busy], f"port {busy} (OTLP/gRPC) is not free"),
            (["--max-traces", "0"], "a whole number from 1"),
        )
        for arguments, says in cases:
            done = run("view", *arguments)
            assert (arguments, done.returncode, says in done.stderr) == (arguments, 2, True), done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_view_receives_until_a_signal(number: int, tmp_path: Path) -> None:
    """It says where the page is, takes OTLP, answers like Jaeger, and writes page, lines and trees when it ends."""
    page, lines = tmp_path / "page.html", tmp_path / "lines.jsonl"
    command = [*COMMAND, "view", "--http-port", "0", "--grpc-port", "0", "--html", str(page), "--json", str(lines), "--tree"]
    with started(command) as process:
        assert process.stderr is not None
        url = re.search(r"http://\S+/", process.stderr.readline())
        assert url
        body = otlp_json.dump(request(span("over the wire", 1))).encode()
        sent = urllib.request.Request(url[0] + "v1/traces", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(sent, timeout=20) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(url[0] + "api/services", timeout=20) as answer:
            assert json.load(answer)["data"] == ["shop"]
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "○ over the wire" in out
    assert "over the wire" in page.read_text("utf-8")
    assert [message for _, message in jsonl.read(lines)] == [request(span("over the wire", 1))]

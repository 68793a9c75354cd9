"""What must not be in the telemetry: health checks, keys."""

from __future__ import annotations

import gzip

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver

from . import support
from .support import ADMIN, GOOD, MASTER, UPSTREAM, Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Requests that make no trace of ours; ``/health`` calls every deployment.
HEALTH = ["/health/liveliness", "/health/readiness", "/health", "/metrics", "/routes"]


@pytest.mark.parametrize("path", HEALTH)
def test_health_checks_are_silent(proxy: Proxy, provider: FakeProvider, receiver: Receiver, path: str) -> None:
    """Neither the request nor the calls that a health check makes to the deployments become spans of ours."""
    known = {span.span_id for span in receiver.store.spans()}
    before = len(provider.requests)
    proxy.call("GET", path, headers=support.headers(ADMIN))
    assert (len(provider.requests) > before) == (path == "/health"), "the control: it does call the deployments"
    trace_id = support.new_trace()
    assert proxy.chat(trace=trace_id)[0] == 200
    support.wait_for_trace(receiver, trace_id)  # spans are sent in the order of their ends
    new = [span for span in receiver.store.spans() if span.span_id not in known and span.scope_name == support.OURS]
    assert {span.trace_id for span in new} == {trace_id}


#: Where a client may put its key: name -> (path, headers, fields of the body).
PLACES = {
    "Authorization": ("/v1/chat/completions", {"authorization": f"Bearer {GOOD}"}, {}),
    "x-api-key": ("/v1/chat/completions", {"x-api-key": GOOD}, {}),
    "x-goog-api-key": ("/v1/chat/completions", {"x-goog-api-key": GOOD}, {}),
    "query": (f"/v1/chat/completions?key={GOOD}&alt=sse", {}, {}),
    "a wrong one": ("/v1/chat/completions", {"authorization": "Bearer sk-canary-wrong-0123456789abcdef"}, {}),
    "metadata": ("/v1/chat/completions", {"authorization": f"Bearer {GOOD}"}, {"metadata": {"secret": "sk-canary-body-0123456789abcdef"}}),
    "a failing call": ("/v1/chat/completions", {"authorization": f"Bearer {GOOD}"}, {"model": "broken"}),
    "a stream": ("/v1/chat/completions", {"authorization": f"Bearer {GOOD}"}, {"stream": True}),
}
KEYS = (GOOD, MASTER, UPSTREAM, "sk-canary")


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_no_key_leaves_the_proxy(proxy: Proxy, receiver: Receiver, place: tuple[str, dict[str, str], dict[str, object]]) -> None:
    """Whatever a client or the configuration holds, no exported byte holds a key, whoever made the span."""
    path, headers, fields = place
    trace_id = support.new_trace()
    traceparent = support.headers(trace=trace_id)["traceparent"]
    proxy.call("POST", path, {**support.chat_body(), **fields}, {**headers, "traceparent": traceparent})
    support.wait_for_trace(receiver, trace_id)
    sent = b"".join(_plain(request.body) for request in receiver.requests)
    assert trace_id.encode() in sent or bytes.fromhex(trace_id) in sent, "the control: what was searched holds the trace"
    assert [key for key in KEYS if key.encode() in sent] == []


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body

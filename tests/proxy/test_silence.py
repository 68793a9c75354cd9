"""What must not be in the telemetry: health checks, keys."""

from __future__ import annotations

import gzip
import json

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
    assert [key for key in KEYS if key.encode() in sent(receiver, trace_id)] == []


#: What a client says where, and what becomes of it: name -> (group, text, more fields of the body).
SAID = {
    "an answer": ("assistant", "", {}),
    "a stream": ("assistant", "", {"stream": True}),
    "a fallback": ("flaky", "", {}),
    "a failure": ("broken", "", {}),
    "refused before": ("assistant", "forbidden before", {}),
    "refused during": ("assistant", "forbidden during", {}),
    "refused after": ("assistant", "forbidden after", {}),
    "refused by a hook": ("assistant", "against the rules", {}),
    "metadata and tags": ("assistant", "", {"metadata": {"note": "CANARY", "tags": ["blue"]}}),
    "a tool": ("assistant", "", {"tools": [{"type": "function", "function": {"name": "find", "description": "CANARY", "parameters": {"type": "object"}}}]}),
}


@pytest.mark.parametrize("case", SAID.values(), ids=list(SAID))
def test_nothing_that_was_said_leaves_the_proxy(proxy: Proxy, receiver: Receiver, case: tuple[str, str, dict[str, object]]) -> None:
    """With the defaults no exported byte holds the prompt, the answer that repeats it, or a refusal that quotes it."""
    group, text, fields = case
    trace_id = support.new_trace()
    canary = f"canary-{trace_id[:8]}-sings"
    body = json.loads(json.dumps(support.chat_body(group, f"{text} {canary}", **fields)).replace("CANARY", canary))
    answer = proxy.call("POST", "/v1/chat/completions", body, support.headers(trace=trace_id))[1]
    assert not text or canary.encode() in answer, "the control: the refusal does quote it"
    support.wait_for_trace(receiver, trace_id)
    assert canary.encode() not in sent(receiver, trace_id)


def sent(receiver: Receiver, trace_id: str) -> bytes:
    """All that was exported, the trace among it."""
    bodies = (request.body for request in receiver.requests)
    everything = b"".join(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body for body in bodies)
    assert trace_id.encode() in everything or bytes.fromhex(trace_id) in everything, "the control: what was searched holds the trace"
    return everything

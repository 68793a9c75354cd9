"""One trace from the client's request through the Router to each attempt."""

from __future__ import annotations

import json

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver

from . import support
from .support import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: group -> kinds of the attempts that one request takes.
GROUPS = {"assistant": ["first"], "flaky": ["first", "retry", "fallback"]}


@pytest.mark.parametrize(("group", "kinds"), GROUPS.items())
def test_one_trace_from_the_client_to_each_attempt(proxy: Proxy, receiver: Receiver, group: str, kinds: list[str]) -> None:
    """The client's span, the request, the Router and every attempt hang together, and nothing is there twice."""
    trace_id = support.new_trace()
    assert proxy.chat(group, trace=trace_id)[0] == 200
    trace = support.wait_for_trace(receiver, trace_id)
    spans = {span.span_id: span for span in trace.spans}
    (top,) = [span for span in trace.spans if span.parent_span_id == support.CLIENT_SPAN]
    assert (top.kind, top.name) == ("SERVER", "POST /v1/chat/completions")
    request = support.request_span(trace)
    assert request is top or spans[request.parent_span_id or ""] is top
    (router,) = [span for span in support.ours(trace) if span.name == f"litellm.router {group}"]
    above = [router]
    while above[-1].parent_span_id in spans:
        above.append(spans[above[-1].parent_span_id])
    assert request in above and above[-1] is top
    attempts = support.attempts(trace)
    assert [span.attributes["litellm.attempt.kind"] for span in attempts] == kinds
    assert {span.parent_span_id for span in attempts} == {router.span_id}
    assert (router.status_code, request.attributes["http.response.status_code"]) == ("UNSET", 200)


def test_without_a_traceparent_a_trace_of_its_own_begins(proxy: Proxy, receiver: Receiver) -> None:
    """A client that sends no context gets one new trace, complete."""
    mark = support.new_trace()
    assert proxy.chat(user=mark)[0] == 200
    receiver.store.wait_for(
        lambda store: any(span.attributes.get("litellm.end_user") == mark and span.scope_name == support.OURS for span in store.spans()), 30
    )
    (trace_id,) = {span.trace_id for span in receiver.store.spans() if span.attributes.get("litellm.end_user") == mark}
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: bool(support.attempts(trace)))
    assert [span.kind for span in trace.spans if span.parent_span_id is None] == ["SERVER"]


def test_who_asked_is_on_the_request_and_on_every_call_below(proxy: Proxy, receiver: Receiver) -> None:
    """Key alias, team, user, organization, tags and model group, by an allow-list; an e-mail address is not on it."""
    trace_id = support.new_trace()
    assert proxy.chat("flaky", trace=trace_id, user="customer-9", metadata={"tags": ["blue"]})[0] == 200
    trace = support.wait_for_trace(receiver, trace_id)
    caller = {
        "litellm.proxy.key_alias": "checkout",
        "litellm.proxy.team.id": "team-7",
        "litellm.proxy.team.alias": "shop",
        "litellm.proxy.user.id": "user-3",
        "litellm.proxy.organization.id": "org-1",
    }
    for span in support.ours(trace):
        assert {name: span.attributes.get(name) for name in caller} == caller, span.name
    request = support.request_span(trace)
    assert (request.attributes["litellm.model_group"], request.attributes["litellm.tags"]) == ("flaky", ["blue"])
    assert "somebody@example.org" not in str(trace)


def test_streamed_answers_end_when_the_client_has_them(proxy: Proxy, receiver: Receiver) -> None:
    """A stream that is read to its end is complete, with the same chain of spans."""
    trace_id = support.new_trace()
    status, body = proxy.chat(stream=True, trace=trace_id)
    assert status == 200 and body.rstrip().endswith(b"data: [DONE]")
    trace = support.wait_for_trace(receiver, trace_id)
    (attempt,) = support.attempts(trace)
    assert attempt.attributes["litellm.stream.outcome"] == "complete"
    request = support.request_span(trace)
    assert "litellm.proxy.client_disconnected" not in request.attributes
    assert request.end_ns >= attempt.end_ns


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_leave(proxy: Proxy, provider: FakeProvider, receiver: Receiver, stream: bool) -> None:
    """A client that leaves in the middle is seen on the request, whose spans all end, and is no error."""
    trace_id = support.new_trace()
    before = len(provider.requests)
    connection = proxy.connection()
    body = json.dumps(support.chat_body("talker" if stream else "slow", stream=stream))
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", **support.headers(trace=trace_id)})
    if stream:
        answer = connection.getresponse()
        assert answer.readline().startswith(b"data:")
        answer.close()
    else:
        assert provider.wait_until(lambda provider: len(provider.requests) > before, 30)
    connection.close()
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: bool(support.attempts(trace)))
    request = support.request_span(trace)
    assert request.attributes["litellm.proxy.client_disconnected"] is True
    assert request.status_code == "UNSET"
    (attempt,) = support.attempts(trace)
    if stream:
        assert attempt.attributes["litellm.stream.outcome"] in ("closed_early", "cancelled", "abandoned")
        assert attempt.status_code == "UNSET"
    else:
        assert (request.attributes["http.response.status_code"], attempt.attributes["error.type"]) == (499, "CancelledError")

"""What the Proxy itself refuses is seen on the request span: where, why, and with which answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from otel_llm_bridge.viewer import Receiver

from . import support
from .support import GOOD, LIMITED, Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Refusal(NamedTuple):
    """A request and what becomes of it."""

    body: Any
    status: int
    stage: str | None
    error: str
    key: str = GOOD
    #: Requests before it, to use up a limit.
    before: int = 0
    #: Upstream attempts that it makes in spite of it.
    attempts: int = 0


_chat = support.chat_body
REFUSALS = {
    "unknown key": Refusal(_chat(), 401, "authentication", "HTTPException", key="sk-nobody-has-this-key-0000"),
    "rate limit of the key": Refusal(_chat(), 429, "pre_call", "ProxyRateLimitError", key=LIMITED, before=1),
    "guardrail before the call": Refusal(_chat(text="forbidden before"), 400, "pre_call", "HTTPException"),
    "guardrail during the call": Refusal(_chat(text="forbidden during"), 400, "during_call", "HTTPException", attempts=1),
    "guardrail on the answer": Refusal(_chat(text="forbidden after"), 400, "post_call", "HTTPException", attempts=1),
    "a hook of the operator": Refusal(_chat(text="against the rules"), 403, "pre_call", "HTTPException"),
    "unknown model": Refusal(_chat("nobody"), 400, None, "ProxyModelNotFoundError"),
    "body that is no JSON": Refusal(b"{", 400, "authentication", "ProxyException"),
    "every attempt failed": Refusal(_chat("broken"), 503, None, "ServiceUnavailableError", attempts=2),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
def test_refusals_are_visible(proxy: Proxy, receiver: Receiver, refusal: Refusal) -> None:
    """Stage, exception and status are attributes; stages are events; only a 5xx is an error of the server."""
    for _ in range(refusal.before):
        proxy.call("POST", "/v1/chat/completions", refusal.body, support.headers(refusal.key))
    trace_id = support.new_trace()
    status, body = proxy.call("POST", "/v1/chat/completions", refusal.body, support.headers(refusal.key, trace_id))
    assert status == refusal.status, body
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: len(support.attempts(trace)) >= refusal.attempts)
    request = support.request_span(trace)
    attributes = request.attributes
    assert attributes["http.response.status_code"] == refusal.status
    assert (attributes.get("litellm.proxy.rejected_at"), attributes["error.type"]) == (refusal.stage, refusal.error)
    events = [event for event in request.events if event.name == "litellm.proxy.rejected"]
    assert [event.attributes["litellm.proxy.rejected_at"] for event in events] == ([refusal.stage] if refusal.stage else [])
    assert request.status_code == ("ERROR" if refusal.status >= 500 else "UNSET")
    assert len(support.attempts(trace)) == refusal.attempts


def test_guardrails_that_ran_are_events(proxy: Proxy, receiver: Receiver) -> None:
    """A guardrail that intervened before any call is named on the request span."""
    trace_id = support.new_trace()
    assert proxy.chat(text="forbidden before", trace=trace_id)[0] == 400
    request = support.request_span(support.wait_for_trace(receiver, trace_id))
    names = [event.attributes["litellm.guardrail.name"] for event in request.events if event.name == "litellm.guardrail"]
    assert "rule-pre_call" in names

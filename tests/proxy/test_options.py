"""The bridge's options hold on the Proxy's own spans as they do on those of the calls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from otel_llm_bridge.viewer.records import Span

from . import support
from .support import GOOD, MASTER, UPSTREAM, Proxy
from .test_silence import sent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONS: Final = {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
    "OTEL_LLM_BRIDGE_REDACTOR": "emails",
    "OTEL_LLM_BRIDGE_VOCABULARY": "both",
    "OTEL_LLM_BRIDGE_METADATA_KEYS": "order,user,tags",
    "OTEL_LLM_BRIDGE_BAGGAGE_KEYS": "user.id,session.id,region",
}
TEXT: Final = "the canary sings for ada@example.org"
#: No issuer's prefix tells what it is: only the request itself does.
PLAIN_KEY: Final = "plain-and-unknown-0123456789"


@pytest.fixture(scope="module")
def proxy(proxy_python: str, provider: FakeProvider, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A Proxy whose operator wants all of it."""
    with support.running(proxy_python, tmp_path_factory.mktemp("proxy-options"), provider, receiver, environment=OPTIONS) as proxy:
        yield proxy


def _rejection(span: Span) -> str:
    (event,) = [event for event in span.events if event.name == "litellm.proxy.rejected"]
    return str(event.attributes["exception.message"])


def test_content_is_recorded_after_the_redactor(proxy: Proxy, receiver: Receiver) -> None:
    """Messages are on the attempt and on its event, and no address is in them."""
    trace_id = support.new_trace()
    assert proxy.chat(text=TEXT, trace=trace_id)[0] == 200
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: bool(support.attempts(trace)))
    (attempt,) = support.attempts(trace)
    assert "the canary sings for [e-mail]" in str(attempt.attributes["gen_ai.input.messages"])
    receiver.store.wait_for(lambda store: any(trace_id == record.trace_id and "sings" in repr(record) for record in store.logs()), 30)
    assert b"ada@example.org" not in sent(receiver, trace_id)


def test_texts_of_refusals_are_content(proxy: Proxy, receiver: Receiver) -> None:
    """Where content is recorded a refusal says why, through the same redactor."""
    trace_id = support.new_trace()
    assert proxy.chat(text=f"forbidden before, {TEXT}", trace=trace_id)[0] == 400
    said = _rejection(support.request_span(support.wait_for_trace(receiver, trace_id)))
    assert "the guardrail refuses" in said and "the canary sings for [e-mail]" in said


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-goog-api-key", "query"])
def test_keys_are_in_no_text(proxy: Proxy, receiver: Receiver, header: str) -> None:
    """A refusal that quotes the client's key, and LiteLLM's hash of it, is recorded without them, wherever the client put the key."""
    trace_id = support.new_trace()
    path = f"/v1/chat/completions?key={PLAIN_KEY}" if header == "query" else "/v1/chat/completions"
    value = f"Bearer {PLAIN_KEY}" if header == "authorization" else PLAIN_KEY
    headers = {"traceparent": support.headers(trace=trace_id)["traceparent"], **({} if header == "query" else {header: value})}
    assert proxy.call("POST", path, support.chat_body(), headers)[0] == 401
    _rejection(support.request_span(support.wait_for_trace(receiver, trace_id)))
    everything = sent(receiver, trace_id)
    secrets = [PLAIN_KEY, hashlib.sha256(PLAIN_KEY.encode()).hexdigest(), GOOD, MASTER, UPSTREAM]
    assert [secret for secret in secrets if secret.encode() in everything] == []


def test_both_vocabularies(proxy: Proxy, receiver: Receiver) -> None:
    """Request and Router are chains in OpenInference's words, the attempt an LLM in both vocabularies."""
    trace_id = support.new_trace()
    assert proxy.chat(trace=trace_id)[0] == 200
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: bool(support.attempts(trace)))
    (attempt,) = support.attempts(trace)
    kinds = {span.name.split(" ")[0]: span.attributes["openinference.span.kind"] for span in support.ours(trace)}
    assert kinds == {support.request_span(trace).name.split(" ")[0]: "CHAIN", "litellm.router": "CHAIN", "chat": "LLM"}
    assert attempt.attributes["llm.model_name"] and attempt.attributes["gen_ai.request.model"] == "gpt-4o-mini"


def test_metadata_by_its_allow_list(proxy: Proxy, receiver: Receiver) -> None:
    """Of the client's metadata the named key is on the Router's span and on the attempt, and nothing else of it anywhere."""
    trace_id = support.new_trace()
    metadata = {"order": "o-17", "note": "nobody-asked-for-this", "tags": ["blue"]}
    assert proxy.chat(trace=trace_id, user="customer-9", metadata=metadata)[0] == 200
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: bool(support.attempts(trace)))
    calls = [span for span in support.ours(trace) if span is not support.request_span(trace)]
    assert [span.name for span in calls] and all(span.attributes["litellm.metadata.order"] == "o-17" for span in calls)
    assert {span.attributes.get("litellm.end_user") for span in calls} == {"customer-9"}
    assert b"nobody-asked-for-this" not in sent(receiver, trace_id)


def test_baggage_by_its_allow_list(proxy: Proxy, receiver: Receiver) -> None:
    """User, conversation and other named entries of the client's baggage are on the request and on all calls below it; others are not."""
    trace_id = support.new_trace()
    baggage = {"baggage": "user.id=u-5,session.id=s-6,region=north,other=not-asked-for"}
    assert proxy.call("POST", "/v1/chat/completions", support.chat_body(), {**support.headers(trace=trace_id), **baggage})[0] == 200
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: bool(support.attempts(trace)))
    assert {span.attributes.get("litellm.end_user") for span in support.ours(trace)} == {"u-5"}
    assert {span.attributes.get("litellm.metadata.region") for span in support.ours(trace)} == {"north"}
    (attempt,) = support.attempts(trace)
    assert attempt.attributes["gen_ai.conversation.id"] == "s-6"
    assert b"not-asked-for" not in sent(receiver, trace_id)

"""A provider's error in the midst of a stream that LiteLLM hands to the caller as an event like any other."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import answers, chunks

from ..conftest import Bridge
from ..demo.calls import make
from ..demo.families import BY_NAME

_FAMILIES = ("interactions-stream", "ainteractions-stream", "aanthropic_messages-stream", "generate_content_stream", "agenerate_content_stream")


@pytest.mark.parametrize("name", _FAMILIES)
def test_the_answer_has_failed(name: str, make_bridge: Any, provider: FakeProvider) -> None:
    """The caller has read the stream to its end, and the span says what the provider said: failed; its tokens are an estimate."""
    bridge: Bridge = make_bridge(capture_content="SPAN_ONLY")
    got, error = make(BY_NAME[name], provider, "stream-error-3")
    assert error is None and "The server had an error" in str(got[-1])
    span = bridge.span()
    said = dict(span.attributes or {})
    assert said["gen_ai.response.status"] == "failed"
    assert "gen_ai.response.finish_reasons" not in said and "error.type" not in said and span.status.is_unset
    assert said["litellm.stream.outcome"] == "complete"
    assert said["litellm.usage.source"] == "litellm_estimate" and said["gen_ai.usage.input_tokens"] > 0
    (message,) = json.loads(str(said["gen_ai.output.messages"]))
    assert message["finish_reason"] == "error"


@pytest.mark.parametrize("name", _FAMILIES)
def test_an_error_and_nothing_else(name: str, make_bridge: Any, provider: FakeProvider) -> None:
    """Nothing was answered: no tokens are guessed."""
    bridge: Bridge = make_bridge(capture_content="SPAN_ONLY")
    make(BY_NAME[name], provider, "stream-error-0")
    said = dict(bridge.span().attributes or {})
    assert said["gen_ai.response.status"] == "failed"
    assert not [attribute for attribute in said if attribute.startswith(("gen_ai.usage", "litellm.cost"))]


@pytest.mark.parametrize("reader", sorted(chunks.READERS.keys() - {"chat"}))
def test_every_reader(reader: str) -> None:
    """All that read events, and all that put them together, see it: LiteLLM raises some in some versions only."""
    event = {"type": "error", "event_type": "error", "error": {"code": "server_error", "message": "No"}}
    stream = chunks.READERS[reader](None, SimpleNamespace(kept={}), None)
    stream.feed(event)
    assert stream.close(True)["response_status"] == "failed"
    pieces = answers.Pieces()
    answers.CHUNKS[reader](pieces, event)
    assert [message["finish_reason"] for message in pieces.messages()] == ["error"]

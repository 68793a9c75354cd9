"""Every call family, sync, async and streamed: one inference span, with what the family tells."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import Bridge
from ..demo.calls import make
from ..demo.families import BY_NAME, FAMILIES, PROMPT, Family

#: What a family's answer has no usage for.
_NO_USAGE = ("image", "transcription", "speech", "rerank", "moderation", "ocr")
_ROWS = [pytest.param(family, id=family.name) for family in FAMILIES]


@pytest.mark.parametrize("family", _ROWS)
def test_one_inference_span(family: Family, bridge: Bridge, provider: FakeProvider) -> None:
    """A call of any family is exactly one CLIENT span, with operation, provider, model and server."""
    provider.reset()
    got, error = make(family, provider)
    assert error is None
    assert got

    span = bridge.span()
    attributes = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.name == f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}"
    assert attributes["gen_ai.provider.name"] in {"openai", "anthropic", "gcp.gemini", "cohere", "mistral_ai", "cloudflare"}
    assert attributes["server.address"] == "127.0.0.1"
    assert f"127.0.0.1:{attributes['server.port']}" in provider.url
    if not family.name.lstrip("a").startswith(_NO_USAGE):
        assert attributes["gen_ai.usage.input_tokens"] > 0
        assert attributes["litellm.usage.source"] in {"provider", "litellm_estimate"}
    if family.streams:
        assert attributes["litellm.stream.outcome"] == "complete"
        assert attributes["litellm.stream.chunks"] == len(got)
        assert 0 < attributes["gen_ai.response.time_to_first_chunk"] <= (span.end_time - span.start_time) / 1e9  # type: ignore[operator]
    assert PROMPT not in span.to_json()


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("completion", ("model", "messages")),
        ("rerank", ("model", "query", "documents")),
        # What takes *args, for another function that has the names, or for native code.
        ("aembedding", ("model", "input")),
        ("aspeech", ("model", "input", "voice")),
        ("atranscription", ("model", "file")),
        ("atext_completion", ("prompt", "model")),
        ("ocr", ("model", "document")),
        ("aocr", ("model", "document")),
    ],
)
def test_arguments_by_place(name: str, places: tuple[str, ...], bridge: Bridge, provider: FakeProvider) -> None:
    """A call whose arguments have no names says the same as one whose arguments have."""
    family = BY_NAME[name]
    made = family.kwargs(provider)
    placed = [made.pop(place) for place in places]
    answer = family.callable()(*placed, **made)
    assert asyncio.run(answer) if family.is_async else answer
    span = bridge.span()
    attributes = dict(span.attributes or {})
    assert attributes["gen_ai.request.model"] == family.model.partition("/")[2]
    assert span.name == f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}"


@pytest.mark.parametrize("family", _ROWS)
def test_a_failure_has_a_span(family: Family, bridge: Bridge, provider: FakeProvider) -> None:
    """A failed call of any family is one span with status ERROR, the exception's class and no text of it."""
    _, error = make(family, provider, "error-401")
    assert error is not None

    (span,) = bridge.inference()
    attributes = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert attributes["error.type"] == type(error).__qualname__
    assert [event.name for event in span.events].count("exception") == 1
    assert str(error) not in span.to_json()

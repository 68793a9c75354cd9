"""Tokens of streams: whose figure they are, of every API, read to the end and left."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable
from typing import Any

import litellm
import pytest

from otel_llm_bridge.demo.provider import FakeProvider

from ..demo.families import FAMILIES, MESSAGES, Family
from .recording import Recording

TOKENS = "gen_ai.client.token.usage"
STREAMS = [family for family in FAMILIES if family.streams]
#: Some versions of LiteLLM give the whole text of the events as a chunk or two.
IN_ONE_PIECE = {"aanthropic_messages-stream", "agenerate_content_stream"}


def _ids(family: Family) -> str:
    return family.name


def read(family: Family, provider: FakeProvider, behaviour: str, most: int | None = None) -> int:
    """Read a stream, to its end or as far as ``most`` chunks; returns how many there were."""
    asked = family.kwargs(provider, behaviour)
    if not family.is_async:
        return len(list(itertools.islice(family.callable()(**asked), most)))

    async def read_async() -> int:
        stream, count = await family.callable()(**asked), 0
        async for _ in stream:
            count += 1
            if count == most:
                break
        return count

    return asyncio.run(read_async())


@pytest.mark.parametrize("family", STREAMS, ids=_ids)
def test_without_the_providers_figure(family: Family, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A stream that ends without usage has LiteLLM's count, says so, and is in no metric of tokens."""
    recorded = record(metrics="released")
    read(family, provider, "no-usage")
    (span,) = recorded.inference()
    assert span["litellm.usage.source"] == "litellm_estimate"
    assert span["gen_ai.usage.input_tokens"] > 5 < span["gen_ai.usage.output_tokens"]
    assert span["litellm.cost.total"] > 0
    assert recorded.points(TOKENS) == []


@pytest.mark.parametrize("family", STREAMS, ids=_ids)
def test_a_stream_that_is_left(family: Family, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """What was read is counted. A figure that the provider has only begun with (Anthropic: 1) is not the answer's."""
    recorded = record(metrics="released")
    chunks = read(family, provider, "words-100", most=40)
    if chunks < 40 and family.name in IN_ONE_PIECE:
        pytest.skip("this LiteLLM gives it in one piece: it cannot be left")
    gc.collect()
    (span,) = recorded.inference()
    assert (chunks, span["litellm.stream.outcome"]) == (40, "abandoned")
    assert span["litellm.usage.source"] == "litellm_estimate"
    assert 25 < span["gen_ai.usage.output_tokens"] < 60
    assert span["gen_ai.usage.input_tokens"] > 5
    assert span["litellm.cost.total"] > 0
    assert recorded.points(TOKENS) == []


def test_what_the_provider_said_of_the_input_stays(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Anthropic tells the input, and what of it was cached, at the beginning: that is true of a stream that is left, too."""
    recorded = record()
    (family,) = (family for family in STREAMS if family.name == "completion-anthropic-stream")
    read(family, provider, "words-100", most=40)
    gc.collect()
    (span,) = recorded.inference()
    counted = litellm.token_counter(model="", messages=[*MESSAGES])
    assert (span["gen_ai.usage.input_tokens"], span["gen_ai.usage.cache_read.input_tokens"]) == (7, 1)
    assert counted != 7


def test_events_in_pieces() -> None:
    """The text of server-sent events may come in any pieces."""
    from otel_llm_bridge.litellm.server_sent import ServerSentEvents

    text = b'event: x\ndata: {"a": "\xc3\xa9"}\n\ndata: [DONE]\ndata: {"b": 2}\n'
    for size in range(1, len(text) + 1):
        events = ServerSentEvents()
        found: list[Any] = [event for start in range(0, len(text), size) for event in events.of(text[start : start + size])]
        assert found == [{"a": "é"}, {"b": 2}], size

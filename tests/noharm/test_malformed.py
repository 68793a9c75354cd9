"""What a provider answers, however odd, never makes a call with the bridge differ from one without it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from opentelemetry.sdk.trace import TracerProvider

import otel_llm_bridge
from otel_llm_bridge import guard, invocation

from ..conftest import MESSAGES
from ..spine.test_parity import _plain
from .answers import ANSWERS, Saying, malformed


@pytest.fixture(scope="module")
def saying() -> Iterator[Saying]:
    """One server for all examples."""
    with Saying() as server:
        yield server


@pytest.fixture(autouse=True, scope="module")
def collect_between_calls() -> Iterator[None]:
    """Garbage is collected after each call, never during one.

    LiteLLM leaves a stream open when a chunk cannot be read, in a cycle of references. When the collector finds it
    while `httpx` holds the lock of its connection pool, closing the stream waits for that same lock, for ever: a known
    fault of httpcore (https://github.com/encode/httpcore/discussions/990) that shows without the bridge as well, after
    some hundred broken streams in one process. Which order of the calls met it was chance.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def _chat(**asked: Any) -> Any:
    return litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, **asked)


def _achat(**asked: Any) -> Any:
    return asyncio.run(litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **asked))


def _stream(**asked: Any) -> Any:
    return list(_chat(stream=True, **asked))


def _astream(**asked: Any) -> Any:
    async def read() -> list[Any]:
        return [chunk async for chunk in await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, **asked)]

    return asyncio.run(read())


def _embedding(**asked: Any) -> Any:
    return litellm.embedding(model="openai/text-embedding-3-small", input=["x"], **asked)


def _responses(**asked: Any) -> Any:
    return litellm.responses(model="openai/gpt-4o-mini", input="x", **asked)


#: Call -> the kind of answer that it is given.
CALLS = {_chat: "chat", _achat: "chat", _stream: "stream", _astream: "stream", _embedding: "embedding", _responses: "responses"}


def _outcome(call: Any, saying: Saying, body: Any) -> Any:
    saying.body = body
    try:
        result = call(api_base=saying.base, api_key="sk-test", max_retries=0, timeout=20)
    except Exception as error:
        return type(error).__name__, getattr(error, "status_code", None)
    else:
        return type(result).__name__, _plain(result)
    finally:
        gc.collect()


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_"))
def test_malformed_answers(call: Any, saying: Saying) -> None:
    """Same result, or same error, with and without the bridge; none of its parts stumbles, and nothing stays open."""

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True, phases=[Phase.generate])
    @given(malformed(CALLS[call]))
    def check(body: Any) -> None:
        without = _outcome(call, saying, body)
        guard._seen.clear()
        otel_llm_bridge.instrument(handle_signals=False, capture_content="SPAN_AND_EVENT", tracer_provider=TracerProvider(shutdown_on_exit=False))
        try:
            assert _outcome(call, saying, body) == without
        finally:
            otel_llm_bridge.uninstrument()
        assert guard._seen == set()
        assert list(invocation.open_invocations()) == []

    check()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_"))
def test_the_answers_are_good_before_they_are_spoilt(call: Any, saying: Saying) -> None:
    """Without a change each answer is understood, so that the changes are what is tested."""
    name, _ = _outcome(call, saying, ANSWERS[CALLS[call]])
    assert name in {"ModelResponse", "list", "EmbeddingResponse", "ResponsesAPIResponse"}

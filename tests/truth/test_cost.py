"""Cost: LiteLLM's own figure for every call, absent where it has none, and nothing for what its cache answered."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any, Final

import litellm
import pytest
from opentelemetry.sdk.trace import TracerProvider
from packaging.version import Version

from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import eventually
from ..demo.calls import make
from ..demo.families import BY_NAME, FAMILIES, MESSAGES, Family
from ..semconv_data import check_conformance
from .recording import Recording
from .scenarios import deployment, failing_over

COST: Final = "litellm.cost.total"
SAVED: Final = "litellm.cost.saved"
EXACTLY: Final = {"rel": 0, "abs": 1e-12}
#: Two tokens for the provider, so that none of them comes from its cache.
SHORT: Final = [{"role": "user", "content": "Hi you"}]
#: For a model that no other test uses: LiteLLM 1.80 gives the price to every later call of the same model.
PRICE: Final = {"model": "openai/gpt-4.1-nano", "input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3}
#: Two tokens read, and what the provider answers to that is twelve.
AT_PRICE: Final = 2 * 1e-3 + 12 * 2e-3


def cost_by_litellm(family: Family, provider: FakeProvider, behaviour: str | None) -> float:
    """`litellm.completion_cost` of the call's result; a stream's, of the same call without streaming."""
    whole = BY_NAME[family.name.removesuffix("-stream")]
    (result,), _ = make(whole, provider, behaviour)
    prompt = {"prompt": whole.arguments["input"]} if "speech" in whole.name else {}
    return litellm.completion_cost(result, model=whole.model, call_type=whole.path.rpartition(".")[2], **prompt)


# Families whose result `completion_cost` understands.
_PRICED: Final = [
    (family.name, behaviour)
    for family in FAMILIES
    for behaviour in (None, *(["reasoning"] if family.path.endswith("completion") else []))
    if not family.name.lstrip("a").startswith(("generate_content", "interactions", "moderation"))
]


@pytest.mark.parametrize(("name", "behaviour"), _PRICED)
def test_the_cost_is_litellms(name: str, behaviour: str | None, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Each family, with cached, cache-written and reasoning tokens: the very figure of `litellm.completion_cost`."""
    if _OLD and name.endswith("stream") and "anthropic" in name:
        pytest.skip("LiteLLM 1.80 counts the tokens of such a stream otherwise than those of the plain answer")
    family = BY_NAME[name]
    expected = cost_by_litellm(family, provider, behaviour)
    recorded = record()
    _, error = make(family, provider, behaviour)
    assert error is None

    (span,) = recorded.inference()
    assert expected > 0
    assert span[COST] == pytest.approx(expected, **EXACTLY)
    assert (span["litellm.cost.source"], span["litellm.cost.currency"]) == ("litellm", "USD")


#: What the fake provider reads and writes of the table's prompt.
READ, WRITTEN = 7, 12
_OLD: Final = Version(importlib.metadata.version("litellm")) < Version("1.100")


_BY_HAND: Final = (
    "text_completion-stream", "atext_completion-stream", "responses-stream", "aresponses-stream",
    "aanthropic_messages-stream", "generate_content", "agenerate_content_stream",
    "interactions", "ainteractions", "interactions-stream", "ainteractions-stream",
)  # fmt: skip


@pytest.mark.parametrize("name", _BY_HAND)
def test_other_apis_cost_what_the_price_list_says(name: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Streams and answers in the form of other APIs: usage times the prices of LiteLLM's list, done by hand."""
    if _OLD and name in ("generate_content", "interactions", "ainteractions"):
        pytest.skip("LiteLLM 1.80 does not price an answer of this form")
    family = BY_NAME[name]
    recorded = record()
    make(family, provider)
    (span,) = recorded.inference()

    prices = litellm.model_cost[family.model if family.model.startswith("gemini") else family.model.rpartition("/")[2]]
    written_to_cache = span.get("gen_ai.usage.cache_write.input_tokens", 0)
    cached = span.get("gen_ai.usage.cache_read.input_tokens", 0)
    assert (span["gen_ai.usage.input_tokens"], span["gen_ai.usage.output_tokens"]) == (READ, WRITTEN)
    cheaper = prices.get("cache_read_input_token_cost") or prices["input_cost_per_token"]
    dearer = prices.get("cache_creation_input_token_cost") or prices["input_cost_per_token"]
    expected = (
        (READ - cached - written_to_cache) * prices["input_cost_per_token"]
        + cached * cheaper
        + written_to_cache * dearer
        + WRITTEN * prices["output_cost_per_token"]
    )
    assert span[COST] == pytest.approx(expected, **EXACTLY)


# Prices of one's own, several attempts -----------------------------------------------------------------------------


def _router(provider: FakeProvider) -> litellm.Router:
    return litellm.Router([deployment(provider, "own", "ok", "own-price", **PRICE)])


def _kwargs(provider: FakeProvider) -> dict[str, Any]:
    return {"api_base": provider.api_base, "api_key": "sk-test", "messages": SHORT, "max_retries": 0}


async def _drained(stream: Any) -> None:
    async for _ in await stream:
        pass


_OWN_PRICES: Final[dict[str, Callable[[FakeProvider], object]]] = {
    "Router": lambda p: _router(p).completion(model="own", messages=SHORT),
    "Router, async": lambda p: asyncio.run(_router(p).acompletion(model="own", messages=SHORT)),
    "Router, stream": lambda p: list(
        _router(p).completion(model="own", messages=SHORT, stream=True, stream_options={"include_usage": True})
    ),
    "Router, async stream": lambda p: asyncio.run(
        _drained(_router(p).acompletion(model="own", messages=SHORT, stream=True, stream_options={"include_usage": True}))
    ),
    "in the call": lambda p: litellm.completion(**_kwargs(p), **PRICE),
    "in the call, stream": lambda p: list(
        litellm.completion(**_kwargs(p), **PRICE, stream=True, stream_options={"include_usage": True})
    ),
}


@pytest.mark.parametrize("way", _OWN_PRICES)
def test_custom_prices(way: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A price that the user gave, to a deployment or to a call, is the one that counts."""
    recorded = record()
    _OWN_PRICES[way](provider)
    (span,) = recorded.inference()
    assert span[COST] == pytest.approx(AT_PRICE, **EXACTLY)


def test_only_what_served_costs(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """After a retry and a fallback: the attempt that served has the cost, those that failed and the Router's span none."""
    recorded = record()
    response = failing_over(provider).completion(model="a", messages=[*MESSAGES])

    *failed, served = recorded.inference()
    assert served[COST] == pytest.approx(litellm.completion_cost(response), **EXACTLY)
    assert [COST in span for span in failed] == [False, False]
    (root,) = (dict(span.attributes or {}) for span in recorded.spans() if span.name.startswith("litellm.router"))
    assert not any("cost" in name or "usage" in name for name in root)


@pytest.mark.parametrize("how", ["fallbacks", "num_retries"])
def test_litellms_own_repetition_costs_once(how: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Calls that LiteLLM itself repeats: the sum of all attempts is the cost of the one answer."""
    recorded = record()
    kwargs = {**_kwargs(provider), "messages": [*MESSAGES]}
    if how == "fallbacks":
        response = litellm.completion(model="openai/error-500", fallbacks=["openai/gpt-4o-mini"], **kwargs)
    else:
        response = litellm.completion(model="openai/gpt-4o-mini", num_retries=2, **{**kwargs, "api_base": provider.at("error-401,ok")})
    costs = [span[COST] for span in recorded.inference() if COST in span]
    assert costs == [pytest.approx(litellm.completion_cost(response, model="gpt-4o-mini"), **EXACTLY)]


# Unknown, and free -------------------------------------------------------------------------------------------------

_NOBODY_KNOWS: Final = [
    "completion", "acompletion-stream", "completion-anthropic-stream", "embedding", "responses-stream", "image_generation",
    "transcription", "speech", "rerank", "arerank", "text_completion-stream",
]  # fmt: skip


@pytest.mark.parametrize("name", _NOBODY_KNOWS)
def test_an_unknown_price_is_absent(name: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A model that LiteLLM has no price for: no cost on the span and none in the metrics, not 0."""
    recorded = record()
    family = BY_NAME[name]
    _, error = make(family, provider, model=f"{family.model.partition('/')[0]}/nobody-knows-it")
    assert error is None
    (span,) = recorded.inference()
    assert not any("cost" in attribute for attribute in span)
    assert recorded.points("litellm.client.operation.cost") == []


@pytest.mark.parametrize("name", ["completion", "acompletion-anthropic", "responses", "image_generation"])
def test_no_usage_is_no_cost(name: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """An answer that does not say what it used has no tokens and no cost, though LiteLLM puts 0 for both."""
    recorded = record()
    make(BY_NAME[name], provider, "no-usage")
    (span,) = recorded.inference()
    assert not any("cost" in attribute or "usage" in attribute for attribute in span)


def test_free_is_zero(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A model whose price is known to be nothing costs 0, and says so."""
    recorded = record()
    free = {**PRICE, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    litellm.Router([deployment(provider, "free", "ok", "costs-nothing", **free)]).completion(model="free", messages=SHORT)
    (span,) = recorded.inference()
    assert span[COST] == 0.0


# LiteLLM's cache ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LiteLLM's cache in memory, for one test."""
    callbacks = [list(found) for found in _cache_lists()]
    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))
    yield
    for found, before in zip(_cache_lists(), callbacks, strict=True):
        found[:] = before


def _cache_lists() -> tuple[list[Any], ...]:
    """Where making a cache registers it."""
    return litellm.input_callback, litellm.success_callback, litellm._async_success_callback


_CACHED: Final = [
    "completion", "acompletion", "completion-stream", "acompletion-stream", "text_completion", "embedding", "aembedding",
    "responses", "aresponses", "completion-anthropic",
]  # fmt: skip


@pytest.mark.parametrize("name", _CACHED)
async def test_a_cache_hit(name: str, record: Callable[..., Recording], provider: FakeProvider, cache: None) -> None:
    """The second call of two: no request, one span, marked; cost 0 and no tokens; what they would have been, apart."""
    if _OLD and "responses" in name:
        pytest.skip("LiteLLM 1.80 does not cache this family")
    recorded = record()
    family = BY_NAME[name]
    provider.reset()
    kwargs = family.kwargs(provider)

    async def call() -> None:
        if not family.is_async:
            result = family.callable()(**kwargs)
            for _ in result if family.streams else ():
                pass
            return
        result = await family.callable()(**kwargs)
        if family.streams:
            async for _ in result:
                pass

    await call()
    # LiteLLM writes an async call's answer to its cache in a task of its own.
    await eventually(lambda: bool(litellm.cache.cache.cache_dict))
    await call()

    first, second = recorded.inference()
    assert len(provider.requests) == 1
    assert "litellm.cache_hit" not in first
    assert (second["litellm.cache_hit"], second[COST], second["litellm.cost.source"]) == (True, 0.0, "cache")
    # A stream from the cache has forgotten which tokens were cached by the provider.
    slack = {"rel": 0.02} if family.streams else EXACTLY
    if not (_OLD and family.streams):  # LiteLLM 1.80's replay has no usage
        assert second[SAVED] == pytest.approx(first[COST], **slack)
        assert second["litellm.usage.saved.input_tokens"] == first["gen_ai.usage.input_tokens"]
    assert not any(attribute.startswith("gen_ai.usage.") for attribute in second)
    assert [event.name for event in recorded.spans()[1].events].count("litellm.cache_hit") == 1
    found = check_conformance.check(recorded.records(), "released-python", no_content=True)
    assert [str(finding) for finding in found if finding.level == "error"] == []


async def test_a_cache_hit_in_the_metrics(record: Callable[..., Recording], provider: FakeProvider, cache: None) -> None:
    """Hits are counted apart: no time, no tokens and no cost of a provider that was not called."""
    recorded = record()
    for _ in range(3):
        litellm.completion(**BY_NAME["completion"].kwargs(provider))

    (duration,) = recorded.points("gen_ai.client.operation.duration")
    assert duration.count == 1
    assert sum(point.sum for point in recorded.points("gen_ai.client.token.usage")) == READ + WRITTEN
    (hits,) = recorded.points("litellm.client.cache.hits")
    (saved,) = recorded.points("litellm.client.cache.saved_cost")
    (cost,) = recorded.points("litellm.client.operation.cost")
    assert hits.value == 2
    assert saved.value == pytest.approx(2 * cost.value, **EXACTLY)


def test_a_cache_hit_below_anothers_llm_span(record: Callable[..., Recording], provider: FakeProvider, cache: None) -> None:
    """What the cache answered costs nothing there, either: on our attempt's span, and in our metrics."""
    recorded = record()
    framework = TracerProvider(shutdown_on_exit=False).get_tracer("a.framework")
    with framework.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
        for _ in range(2):
            litellm.completion(**BY_NAME["completion"].kwargs(provider))

    first, second = (dict(span.attributes or {}) for span in recorded.spans() if span.name.startswith("litellm.attempt"))
    assert first[COST] > 0
    assert (second["litellm.cache_hit"], second[COST], second["litellm.cost.source"]) == (True, 0.0, "cache")
    assert second[SAVED] == pytest.approx(first[COST], **EXACTLY)
    assert second["litellm.usage.saved.input_tokens"] == READ
    assert "litellm.usage.source" not in second
    (cost,) = recorded.points("litellm.client.operation.cost")
    (hits,) = recorded.points("litellm.client.cache.hits")
    (saved,) = recorded.points("litellm.client.cache.saved_cost")
    assert (cost.value, hits.value, saved.value) == (first[COST], 1, second[SAVED])


async def test_a_cache_hit_through_the_router(record: Callable[..., Recording], provider: FakeProvider, cache: None) -> None:
    """The Router's span says that the cache answered; the saved cost is at the deployment's own price."""
    recorded = record()
    router = litellm.Router([deployment(provider, "own", "ok", "own-price", **PRICE)], cache_responses=True)
    await router.acompletion(model="own", messages=SHORT)
    await eventually(lambda: bool(litellm.cache.cache.cache_dict))
    await router.acompletion(model="own", messages=SHORT)

    roots = [dict(span.attributes or {}) for span in recorded.spans() if span.name == "litellm.router own"]
    assert [root.get("litellm.cache_hit") for root in roots] == [None, True]
    hit = recorded.inference()[1]
    assert (hit[COST], hit[SAVED]) == (0.0, pytest.approx(AT_PRICE, **EXACTLY))


async def test_a_partly_cached_embedding(record: Callable[..., Recording], provider: FakeProvider, cache: None) -> None:
    """Two texts, one of them known: the provider was asked for the other, and only that one counts."""
    if _OLD:
        pytest.skip("LiteLLM 1.80 merges the usage before it says so")
    recorded = record()
    kwargs = {"model": "openai/text-embedding-3-small", "api_base": provider.api_base, "api_key": "sk-test"}
    await litellm.aembedding(input=["one two three", "four"], **kwargs)
    await eventually(lambda: bool(litellm.cache.cache.cache_dict))
    await litellm.aembedding(input=["one two three", "five six"], **kwargs)

    whole, part = recorded.inference()
    assert "litellm.cache_hit" not in part
    assert (whole["gen_ai.usage.input_tokens"], part["gen_ai.usage.input_tokens"]) == (4, 2)
    assert part[COST] == pytest.approx(whole[COST] / 2, **EXACTLY)
    assert part[SAVED] > 0

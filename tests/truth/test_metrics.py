"""Metrics: what is recorded when, under which labels, and how many series that can ever make."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_llm_bridge import callbacks, invocation, metrics
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.providers import Providers
from otel_llm_bridge.semconv import metrics as names
from otel_llm_bridge.series import Series
from otel_llm_bridge.settings import Settings
from otel_llm_bridge.telemetry import inference_layer

from ..conftest import eventually
from ..demo.calls import make
from ..demo.families import BY_NAME, MESSAGES
from .recording import Recording
from .scenarios import deployment, failing_over

DURATION: Final = "gen_ai.client.operation.duration"
TOKENS: Final = "gen_ai.client.token.usage"
MODEL: Final = "gen_ai.request.model"
CHAT: Final = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    MODEL: "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini",
}
STREAM: Final = BY_NAME["acompletion-stream"]


def amounts(recorded: Recording, name: str, label: str | None = None) -> Any:
    """Sums of a metric: by the values of one label, or, without a label, by all of them."""
    found = {}
    for point in recorded.points(name):
        key = point.attributes.get(label) if label else tuple(sorted(point.attributes.items()))
        found[key] = found.get(key, 0) + (point.sum if hasattr(point, "sum") else point.value)
    return found


def counts(recorded: Recording, name: str, label: str) -> dict[Any, int]:
    """Measurements of a histogram by the values of one label."""
    found: dict[Any, int] = {}
    for point in recorded.points(name):
        found[point.attributes.get(label)] = found.get(point.attributes.get(label), 0) + point.count
    return found


# What is recorded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "not sampled"])
def test_a_call_is_measured(sampled: bool, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A streamed call: duration, tokens, time to the first chunk and between chunks, cost; sampled or not."""
    recorded = record() if sampled else record(sampler=ALWAYS_OFF)
    chunks, _ = make(STREAM, provider)

    (duration,) = recorded.points(DURATION)
    assert (dict(duration.attributes), duration.count) == (CHAT, 1)
    assert amounts(recorded, TOKENS, "gen_ai.token.type") == {"input": 7, "output": 12}
    (first,) = recorded.points("gen_ai.client.operation.time_to_first_chunk")
    (gaps,) = recorded.points("gen_ai.client.operation.time_per_output_chunk")
    assert (first.count, gaps.count) == (1, len(chunks) - 1)
    assert 0 < first.sum
    assert first.sum + gaps.sum <= duration.sum
    (cost,) = recorded.points("litellm.client.operation.cost")
    assert cost.value == pytest.approx(7 * 0.15e-6 - 0.075e-6 + 12 * 0.6e-6, abs=1e-12)
    assert len(recorded.spans()) == sampled


def test_advised_buckets(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Histograms have the boundaries that the conventions advise, without any View."""
    recorded = record(metrics="both")
    make(STREAM, provider)
    bounds = {row.name: row.buckets for row in names.TABLE if row.kind == "histogram"}
    seen = {name: tuple(recorded.points(name)[0].explicit_bounds) for name in recorded.metrics() if name in bounds}
    assert len(seen) == 9
    assert seen == {name: tuple(map(float, bounds[name])) for name in seen}


def test_failures_count(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Calls that fail, are cancelled or break in their stream are measured, each under its error's class."""
    recorded = record()

    async def cancelled() -> None:
        provider.reset()
        call = asyncio.ensure_future(litellm.acompletion(**BY_NAME["acompletion"].kwargs(provider, "hold")))
        await asyncio.to_thread(provider.wait_until, lambda it: bool(it.requests))
        call.cancel()
        await asyncio.wait([call])

    make(BY_NAME["completion"], provider)
    make(BY_NAME["completion"], provider, "error-429")
    make(BY_NAME["acompletion"], provider, "error-401")
    _, broken = make(STREAM, provider, "stream-broken-3")
    asyncio.run(cancelled())

    expected = Counter([None, "RateLimitError", "AuthenticationError", "CancelledError"])
    expected[type(broken).__name__ if broken else None] += 1  # LiteLLM 1.80 takes a broken stream for a complete one
    assert counts(recorded, DURATION, "error.type") == expected


def test_the_router_is_measured(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """One logical call of three attempts: attempts by deployment and error, the retry, the fallback, one duration."""
    recorded = record()
    failing_over(provider).completion(model="a", messages=[*MESSAGES])

    assert {
        (point.attributes["litellm.deployment.id"], point.attributes.get("error.type")): point.value
        for point in recorded.points("litellm.router.attempts")
    } == {("deployment-a", "InternalServerError"): 1, ("deployment-a", "ServiceUnavailableError"): 1, ("deployment-b", None): 1}
    (retry,) = recorded.points("litellm.router.retries")
    assert (retry.value, dict(retry.attributes)) == (1, {"litellm.model_group": "a", "error.type": "InternalServerError"})
    (fallback,) = recorded.points("litellm.router.fallbacks")
    assert (fallback.value, dict(fallback.attributes)) == (
        1, {"litellm.fallback.from": "a", "litellm.fallback.to": "b", "error.type": "ServiceUnavailableError"},
    )  # fmt: skip
    (duration,) = recorded.points("litellm.router.duration")
    assert (duration.count, dict(duration.attributes)) == (1, {"litellm.model_group": "a"})
    assert sum(counts(recorded, DURATION, MODEL).values()) == 3


def test_below_anothers_llm_span(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Where another instrumentation has made the LLM span, the metrics of the conventions are left to it; ours count every attempt."""
    recorded = record(metrics="both")
    framework = TracerProvider(shutdown_on_exit=False).get_tracer("a.framework")
    with framework.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
        failing_over(provider).completion(model="a", messages=[*MESSAGES])

    *_, served = attempts = [span for span in recorded.spans() if span.name.startswith("litellm.attempt")]
    assert [name for name in recorded.metrics() if name.startswith("gen_ai.")] == []
    assert amounts(recorded, "litellm.router.attempts", "litellm.deployment.id") == {"deployment-a": 2, "deployment-b": 1}
    assert len(attempts) == 3
    assert amounts(recorded, "litellm.client.operation.cost", MODEL) == {"gpt-4o-mini": (served.attributes or {})["litellm.cost.total"]}
    assert counts(recorded, "litellm.router.duration", "litellm.model_group") == {"a": 1}


async def test_cooldowns_are_counted(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A deployment that is put into cooldown is counted, by its id."""
    recorded = record()
    router = litellm.Router(
        [deployment(provider, "a", "error-401", "bad"), deployment(provider, "a", "error-401", "worse")],
        num_retries=0, cooldown_time=5,
    )  # fmt: skip
    with pytest.raises(litellm.exceptions.AuthenticationError):
        await router.acompletion(model="a", messages=[*MESSAGES])
    await eventually(lambda: bool(recorded.points("litellm.router.cooldowns")))
    (cooldown,) = recorded.points("litellm.router.cooldowns")
    assert cooldown.value == 1
    assert cooldown.attributes["litellm.deployment.id"] in {"bad", "worse"}


def test_tokens_are_those_that_the_provider_reported(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Tokens that LiteLLM's tokenizer counted are on the span and in no metric; the newest counters say 0, unknown."""
    recorded = record(metrics="both")
    make(STREAM, provider, "no-usage")

    (span,) = recorded.inference()
    assert span["litellm.usage.source"] == "litellm_estimate"
    assert recorded.points(TOKENS) == []
    (read,) = recorded.points("gen_ai.client.inference.usage.input_tokens")
    assert (read.value, read.attributes["gen_ai.token.modality"]) == (0, "unknown")


@pytest.mark.parametrize("reported", [True, False], ids=["reported", "not reported"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "text-completion-openai/gpt-3.5-turbo-instruct"])
async def test_tokens_of_a_text(
    model: str, is_async: bool, reported: bool, record: Callable[..., Recording], provider: FakeProvider
) -> None:
    """Streams of text, which LiteLLM makes from a chat model's and from a text model's, say whose figure their tokens are."""
    recorded = record(metrics="released")
    asked = {
        "model": model, "prompt": "Hi you", "stream": True, "stream_options": {"include_usage": True},
        "api_base": provider.at("ok" if reported else "no-usage", "/v1"), "api_key": "sk-test",
    }  # fmt: skip
    if is_async:
        assert [chunk async for chunk in await litellm.atext_completion(**asked)]
    else:
        assert [*litellm.text_completion(**asked)]

    (span,) = recorded.inference()
    assert span["litellm.usage.source"] == ("provider" if reported else "litellm_estimate")
    measured = {point.attributes["gen_ai.token.type"]: point.sum for point in recorded.points(TOKENS)}
    assert measured == ({"input": 2, "output": 12} if reported else {})


@pytest.mark.parametrize("setting", ["released", "latest", "both", "none"])
def test_the_setting_chooses_the_generation(setting: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Each value of the setting gives the names of its generation, and nothing of another."""
    recorded = record(metrics=setting)
    make(STREAM, provider)
    make(BY_NAME["embedding"], provider)

    ours = {"litellm.client.operation.cost"}
    released = {DURATION, TOKENS, "gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.operation.time_per_output_chunk"}
    latest = {row.name for row in names.TABLE if row.generation == names.LATEST}
    expected = {"released": released | ours, "latest": latest | ours, "both": released | latest | ours, "none": set()}
    assert {name for name in recorded.metrics() if not name.startswith("litellm.callback")} == expected[setting]
    if setting == "latest":
        assert counts(recorded, DURATION, "gen_ai.operation.name") == {"embeddings": 1}


def test_callbacks_are_measured(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Runs of callbacks, those that failed and those that were dropped are counted, by name and reason."""
    done = threading.Event()

    def billing(event: Any) -> None:
        """Does nothing, and does it well."""

    def audit(event: Any) -> None:
        raise ValueError

    def slow(event: Any) -> None:
        done.wait(30)

    recorded = record()
    make(BY_NAME["completion"], provider)  # from now on there is a meter
    before = callbacks.dispatcher.settings
    callbacks.dispatcher.configure(Settings.resolve({}, callbacks_queue_size=1))
    try:
        for callback, mode in ((billing, "inline"), (audit, "inline"), (slow, "background")):
            with callbacks.registered(callback, on="success", mode=mode):
                for _ in range(3):
                    call = callbacks.begin(is_async=False)
                    call.emit("success", lambda: {"kwargs": {}, "response_obj": None, "start_time": None, "end_time": None})
                    call.settle()
        done.set()
        callbacks.drain(10)
    finally:
        done.set()
        callbacks.dispatcher.configure(before)

    def figures(metric: str, label: str | None = None) -> dict[str, Any]:
        return {
            point.attributes["litellm.callback.name"].rpartition(".")[2]: (point.value, point.attributes.get(label or ""))
            for point in recorded.points(metric)
            if "test_callbacks_are_measured" in point.attributes["litellm.callback.name"]
        }

    assert figures("litellm.callback.runs") == {"billing": (3, None), "audit": (3, None), "slow": (1, None)}
    assert figures("litellm.callback.failures", "error.type") == {"audit": (3, "failed")}
    assert figures("litellm.callback.drops", "litellm.callback.drop_reason") == {"slow": (2, "queue_full")}


# How many series ---------------------------------------------------------------------------------------------------


def test_ten_thousand_calls_of_anybody(provider: FakeProvider) -> None:
    """10,000 calls, 500 models, random users and tags, errors, operations: at most 64 series, and nothing lost."""
    recorded = Recording(ALWAYS_OFF)
    providers = Providers(Settings.resolve({}), **recorded.providers())
    layer, recorder = inference_layer(providers), metrics.Recorder(providers, "both", 64)
    layer.at_end(recorder.of_attempts(names.LLM_SPAN, names.ATTEMPT))
    chance = random.Random(7)
    failures = 0
    for number in range(10_000):
        model = f"model-{chance.randrange(500)}"
        facts = {
            "operation": chance.choice(["chat", "embeddings"]), "provider": chance.choice(["openai", "anthropic", "x_ai"]),
            "model": model, "response_model": f"{model}-2026", "input_tokens": 3, "output_tokens": 5, "usage_source": "provider",
            "end_user": f"user-{number}", "tags": [f"tag-{number}"], "call_id": str(number), "cost": 0.001, "time_to_first_chunk": 0.1,
            "attempt_number": 1, "model_group": model, "deployment_id": f"deployment-{number}",
        }  # fmt: skip
        call = invocation.Invocation(layer, facts)
        if chance.random() < 0.2:
            failures += 1
            call.fail(chance.choice([ValueError(), TimeoutError(), KeyError()]))
        else:
            call.finish()

    series = {name: len(metric.data.data_points) for name, metric in recorded.metrics().items()}
    assert len(series) > 10
    assert max(series.values()) <= 64, series
    by_model = counts(recorded, DURATION, MODEL)
    assert sum(by_model.values()) == 10_000
    assert by_model["other"] > 8_000
    assert sum(amounts(recorded, TOKENS, "gen_ai.token.type").values()) == 10_000 * 8
    assert sum(amounts(recorded, "litellm.client.operation.cost").values()) == pytest.approx(10.0)
    labels = {label for metric in recorded.metrics().values() for point in metric.data.data_points for label in point.attributes}
    assert labels <= {label.attribute for row in names.TABLE for label in row.labels}
    assert failures == sum(amount for error, amount in counts(recorded, DURATION, "error.type").items() if error)


def test_five_hundred_models_of_real_calls(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """The same through LiteLLM: 500 models that nobody has heard of, each call with another user and tag."""
    recorded = record()
    for number in range(500):
        litellm.completion(
            model=f"openai/model-{number}", messages=[*MESSAGES], mock_response="yes", user=f"user-{number}",
            metadata={"tags": [f"tag-{number}"]},
        )  # fmt: skip
    by_model = counts(recorded, DURATION, MODEL)
    assert len(recorded.points(DURATION)) <= 64
    assert len(recorded.points(TOKENS)) <= 64
    assert sum(by_model.values()) == 500
    assert by_model["model-0"] == 1


@given(st.lists(st.tuples(*[st.one_of(st.none(), st.sampled_from("abcdefghij"))] * 3)), st.integers(8, 30))
def test_series_stay_few(calls: list[tuple[str | None, ...]], most: int) -> None:
    """Whatever comes, there are at most so many label sets, the first come keep their names, and names go first."""
    labels = (names.Label("name", "name", True), names.Label("other name", "other name", True), names.Label("kind", "kind"))
    series = Series("m", labels, most)
    seen = {tuple(sorted(series.attributes(values).items())) for values in calls}
    assert len(seen) <= most
    for values in dict.fromkeys(calls[: most - most // 4]):
        assert series.attributes(values) == {label.attribute: value for label, value in zip(labels, values, strict=True) if value is not None}
    for values in calls:
        assert series.attributes(values) is series.attributes(values)


def test_the_limit_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """When names begin to be left out there is one warning, which names the metric and the setting."""
    series = Series("some.metric", (names.Label("name", "name", True),), 8)
    for number in range(100):
        series.attributes((str(number),))
    (line,) = [record.getMessage() for record in caplog.records]
    assert "some.metric" in line
    assert "metrics_series_max" in line

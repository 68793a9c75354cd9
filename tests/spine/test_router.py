"""The Router: one logical span over one inference span for each attempt, saying why it ran and who served."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import MESSAGES, Bridge

_names = itertools.count()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM waits seconds between retries; nothing here is about that."""
    monkeypatch.setattr(litellm.Router, "_time_to_sleep_before_retry", lambda *_args, **_kwargs: 0)


def deployment(provider: FakeProvider, group: str, behaviour: str, name: str, **params: Any) -> dict[str, Any]:
    """One deployment of a Router that behaves so."""
    return {
        "model_name": group,
        "litellm_params": {
            "model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour, "/v1"), "api_key": "sk-test", "max_retries": 0, **params,
        },
        "model_info": {"id": name},
    }  # fmt: skip


def scripted(provider: FakeProvider) -> litellm.Router:
    """A fails twice, B times out, C serves."""
    name = f"a{next(_names)}"
    provider.script(name, ["error-500", "error-503"])
    return litellm.Router(
        model_list=[
            deployment(provider, "a", f"script:{name}", "deployment-a"),
            deployment(provider, "b", "timeout", "deployment-b", timeout=0.3, num_retries=0),
            deployment(provider, "c", "ok", "deployment-c"),
        ],
        fallbacks=[{"a": ["b"]}, {"b": ["c"]}],
        retry_policy=None,
        num_retries=1,
        allowed_fails=100,
    )


async def _acompletion(router: litellm.Router) -> Any:
    return await router.acompletion(model="a", messages=MESSAGES)


async def _astream(router: litellm.Router) -> Any:
    return [chunk async for chunk in await router.acompletion(model="a", messages=MESSAGES, stream=True)]


_SHAPES: dict[str, Callable[[litellm.Router], Any]] = {
    "async": lambda router: asyncio.run(_acompletion(router)),
    "async stream": lambda router: asyncio.run(_astream(router)),
    "sync": lambda router: router.completion(model="a", messages=MESSAGES),
    "sync stream": lambda router: list(router.completion(model="a", messages=MESSAGES, stream=True)),
}


def _tree(bridge: Bridge) -> tuple[ReadableSpan, list[ReadableSpan]]:
    (root, *attempts) = bridge.all()
    assert root.parent is None
    for attempt in attempts:
        assert attempt.parent is not None
        assert attempt.parent.span_id == root.context.span_id
        assert attempt.context.trace_id == root.context.trace_id
    return root, attempts


@pytest.mark.parametrize("shape", _SHAPES)
def test_a_fails_twice_b_times_out_c_serves(shape: str, bridge: Bridge, provider: FakeProvider) -> None:
    """1 + n spans in one trace, with numbers, kinds, errors, waits, and who served."""
    _SHAPES[shape](scripted(provider))

    root, attempts = _tree(bridge)
    facts = [dict(attempt.attributes or {}) for attempt in attempts]
    served = dict(root.attributes or {})
    assert root.name == "litellm.router a"
    assert root.kind is SpanKind.INTERNAL
    assert root.status.status_code is StatusCode.UNSET
    assert [attempt.kind for attempt in attempts] == [SpanKind.CLIENT] * len(attempts)
    assert [fact["litellm.attempt.number"] for fact in facts] == list(range(1, len(attempts) + 1))
    kinds = [(fact["litellm.attempt.kind"], fact["litellm.deployment.id"], fact.get("error.type")) for fact in facts]
    assert kinds[0] == ("first", "deployment-a", "InternalServerError")
    assert kinds[1] == ("retry", "deployment-a", "ServiceUnavailableError")
    assert kinds[2] == ("fallback", "deployment-b", "Timeout")
    assert kinds[-1] == ("fallback", "deployment-c", None)
    assert all("litellm.attempt.wait" in fact for fact in facts[1:])
    assert [attempt.status.status_code for attempt in attempts[:3]] == [StatusCode.ERROR] * 3
    assert served["litellm.router.served.deployment.id"] == "deployment-c"
    assert served["litellm.router.served.model_group"] == "c"
    assert served["litellm.router.attempts"] == len(attempts)
    assert served["litellm.router.path"] == ("a", "b", "c")
    assert served["litellm.router.fallbacks"] == 2
    assert not [name for name in served if name.startswith(("gen_ai.usage", "litellm.cost"))]
    events = [event.name for event in root.events]
    assert events.count("litellm.fallback") == 2
    assert events.count("litellm.retry") == served["litellm.router.retries"]
    assert events.count("litellm.deployment_selected") == len(attempts)


async def test_the_four_attempts_of_the_script(bridge: Bridge, provider: FakeProvider) -> None:
    """With one retry on A and none on B the script is 1 + 4 spans: first, retry, fallback, fallback."""
    await scripted(provider).acompletion(model="a", messages=MESSAGES)
    _, attempts = _tree(bridge)
    kinds = [(attempt.attributes or {})["litellm.attempt.kind"] for attempt in attempts]
    assert kinds == ["first", "retry", "fallback", "fallback"]


async def test_load_balancing_is_no_fallback(bridge: Bridge, provider: FakeProvider) -> None:
    """One of several deployments that serves at once is a first attempt, and nothing else."""
    router = litellm.Router(model_list=[deployment(provider, "a", "ok", f"deployment-{i}") for i in range(3)])
    await router.acompletion(model="a", messages=MESSAGES)
    root, (attempt,) = _tree(bridge)
    assert (attempt.attributes or {})["litellm.attempt.kind"] == "first"
    assert (root.attributes or {})["litellm.router.fallbacks"] == 0


async def test_nothing_to_serve(bridge: Bridge, provider: FakeProvider) -> None:
    """A request that no deployment can take is one ERROR span, without an attempt."""
    router = litellm.Router(model_list=[deployment(provider, "a", "ok", "deployment-a")])
    with pytest.raises(litellm.BadRequestError):
        await router.acompletion(model="unheard-of", messages=MESSAGES)
    root, attempts = _tree(bridge)
    assert attempts == []
    assert root.status.status_code is StatusCode.ERROR
    assert (root.attributes or {})["error.type"] == "BadRequestError"


async def test_every_attempt_fails(bridge: Bridge, provider: FakeProvider) -> None:
    """When nothing served, the logical span is an ERROR and names no server."""
    router = litellm.Router(model_list=[deployment(provider, "a", "error-500", "deployment-a")], num_retries=2)
    with pytest.raises(litellm.InternalServerError):
        await router.acompletion(model="a", messages=MESSAGES)
    root, attempts = _tree(bridge)
    assert len(attempts) == 3
    assert root.status.status_code is StatusCode.ERROR
    assert "litellm.router.served.deployment.id" not in (root.attributes or {})


async def test_a_cooldown_is_an_event(bridge: Bridge, provider: FakeProvider) -> None:
    """A deployment that is put into cooldown is an event of the logical call, with its id, time and status."""
    router = litellm.Router(
        # LiteLLM keeps the Routers of other tests informed: they would cool a deployment that they know by its id.
        model_list=[deployment(provider, "a", "error-401", "to be cooled"), deployment(provider, "a", "ok", "good")],
        num_retries=3, cooldown_time=7,
    )  # fmt: skip

    def cooldowns() -> list[dict[str, Any]]:
        return [
            dict(event.attributes or {}) for span in bridge.all() for event in span.events if event.name == "litellm.cooldown"
        ]

    for _ in range(50):  # the strategy is random: until the bad one has been asked
        await router.acompletion(model="a", messages=MESSAGES)
        if cooldowns():
            break
    assert cooldowns()[0] == {
        "litellm.deployment.id": "to be cooled", "litellm.cooldown.time": 7.0, "litellm.http.status_code": 401,
    }  # fmt: skip


async def test_a_sync_router_inside_a_loop_keeps_the_parent(bridge: Bridge, provider: FakeProvider) -> None:
    """LiteLLM runs it in a fresh thread; the caller's span is the parent all the same."""
    router = litellm.Router(model_list=[deployment(provider, "a", "ok", "deployment-a")])
    tracer = bridge.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("caller") as caller:
        router.completion(model="a", messages=MESSAGES)
    root = next(span for span in bridge.all() if span.name == "litellm.router a")
    assert root.parent is not None
    assert root.parent.span_id == caller.get_span_context().span_id


@pytest.mark.parametrize("shape", ["sync", "async"])
def test_sdk_retries_are_attempts(shape: str, bridge: Bridge, provider: FakeProvider) -> None:
    """LiteLLM's own num_retries: a logical span, and one inference span for each time it tries.

    LiteLLM also hands ``num_retries`` to the OpenAI client, which repeats within the attempt: that is an event.
    """
    name = f"sdk{next(_names)}"
    provider.script(name, ["error-500", "error-500", "ok"])
    kwargs = {
        "model": "openai/gpt-4o-mini", "messages": MESSAGES, "num_retries": 1, "api_key": "sk-test",
        "api_base": provider.at(f"script:{name}", "/v1"),
    }  # fmt: skip
    if shape == "sync":
        litellm.completion(**kwargs)
    else:
        asyncio.run(litellm.acompletion(**kwargs))
    root, attempts = _tree(bridge)
    assert [(attempt.attributes or {})["litellm.attempt.kind"] for attempt in attempts] == ["first", "retry"]
    (repeated,) = [event for event in attempts[0].events if event.name == "litellm.client_retry"]
    assert dict(repeated.attributes or {}) == {"litellm.client_retry.number": 1, "litellm.http.status_code": 500}
    assert (root.attributes or {})["litellm.router.strategy"] == "litellm"
    assert root.status.status_code is StatusCode.UNSET
    assert (attempts[-1].attributes or {})["litellm.cost.total"] > 0


@pytest.mark.parametrize("shape", ["sync", "async"])
def test_sdk_fallbacks_are_attempts(shape: str, bridge: Bridge, provider: FakeProvider) -> None:
    """LiteLLM's own fallbacks: a logical span, the first model and the one that took over."""
    kwargs = {
        "model": "openai/error-500", "messages": MESSAGES, "fallbacks": ["openai/gpt-4o-mini"], "api_key": "sk-test",
        "api_base": f"{provider.url}/v1", "max_retries": 0,
    }  # fmt: skip
    if shape == "sync":
        litellm.completion(**kwargs)
    else:
        asyncio.run(litellm.acompletion(**kwargs))
    root, attempts = _tree(bridge)
    assert [(attempt.attributes or {})["gen_ai.request.model"] for attempt in attempts] == ["error-500", "gpt-4o-mini"]
    assert (root.attributes or {})["litellm.router.path"] == ("openai/error-500", "openai/gpt-4o-mini")


@pytest.mark.parametrize("method", ["aembedding", "aresponses", "atext_completion", "aimage_generation", "amoderation"])
async def test_other_families_through_the_router(method: str, bridge: Bridge, provider: FakeProvider) -> None:
    """Methods of the class and those that a Router makes for itself: each attempt is one inference span."""
    models = {"aembedding": "openai/text-embedding-3-small", "atext_completion": "text-completion-openai/gpt-3.5-turbo-instruct"}
    asked = {
        "aembedding": {"input": ["x"]}, "aresponses": {"input": "x"}, "atext_completion": {"prompt": "x"},
        "aimage_generation": {"prompt": "x"}, "amoderation": {"input": "x"},
    }[method]  # fmt: skip
    router = litellm.Router(
        model_list=[deployment(provider, "a", "ok", "deployment-a", model=models.get(method, "openai/gpt-4o-mini"))]
    )
    await getattr(router, method)(model="a", **asked)
    assert len(bridge.inference()) == 1


def test_a_sync_method_that_a_router_makes_for_itself(bridge: Bridge, provider: FakeProvider) -> None:
    """``router.responses`` does not go through the Router's retries; it is a logical call all the same."""
    router = litellm.Router(model_list=[deployment(provider, "a", "ok", "deployment-a")])
    router.responses(model="a", input="x")
    root, (attempt,) = _tree(bridge)
    assert root.name == "litellm.router a"
    assert (attempt.attributes or {})["litellm.deployment.id"] == "deployment-a"

"""Parents: every span lands under the span that was the caller's, and the caller's own span is left alone."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litellm
import pytest

import otel_llm_bridge
from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import MESSAGES, Bridge
from .test_router import deployment


def _shapes(provider: FakeProvider, kwargs: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    router = litellm.Router(model_list=[deployment(provider, "group", "ok", "deployment")])
    sdk = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, **kwargs}

    async def drained(stream: Any) -> None:
        async for _ in await stream:
            pass

    return {
        "acompletion": lambda: litellm.acompletion(**sdk),
        "astream": lambda: drained(litellm.acompletion(**sdk, stream=True)),
        "completion": lambda: asyncio.to_thread(litellm.completion, **sdk),
        "stream": lambda: asyncio.to_thread(lambda: list(litellm.completion(**sdk, stream=True))),
        "aembedding": lambda: litellm.aembedding(model="openai/text-embedding-3-small", input=["x"], **kwargs),
        "aresponses": lambda: litellm.aresponses(model="openai/gpt-4o-mini", input="x", **kwargs),
        "atext_completion": lambda: litellm.atext_completion(
            model="text-completion-openai/gpt-3.5-turbo-instruct", prompt="x", **kwargs
        ),
        "router": lambda: router.acompletion(model="group", messages=MESSAGES),
        "router stream": lambda: drained(router.acompletion(model="group", messages=MESSAGES, stream=True)),
        "router sync": lambda: asyncio.to_thread(router.completion, model="group", messages=MESSAGES),
    }


async def test_fifty_at_once(bridge: Bridge, provider: FakeProvider, openai_kwargs: dict[str, Any]) -> None:
    """50 tasks, ten shapes, each under a span of its own or under none: parent and trace are right in all of them."""
    shapes = _shapes(provider, openai_kwargs)
    tracer = bridge.tracer_provider.get_tracer("caller")
    order = random.Random(7)

    async def one(shape: str, number: int) -> None:
        await asyncio.sleep(order.random() / 100)
        if number % 5 == 4:
            await shapes[shape]()
            return
        with tracer.start_as_current_span(f"caller {number}", attributes={"shape": shape}):
            await shapes[shape]()

    await asyncio.gather(*(one(shape, number) for number in range(5) for shape in shapes))

    spans = bridge.all()
    by_id = {span.context.span_id: span for span in spans}
    callers = [span for span in spans if span.name.startswith("caller")]
    tops = [span for span in spans if not span.name.startswith("caller") and not (span.parent and span.parent.span_id in by_id and not by_id[span.parent.span_id].name.startswith("caller"))]  # fmt: skip
    assert len(callers) == 40
    assert len(tops) == 50
    assert sorted(span.parent.span_id for span in tops if span.parent) == sorted(span.context.span_id for span in callers)
    for span in spans:
        if span.parent:
            assert span.context.trace_id == by_id[span.parent.span_id].context.trace_id
    routed = [span for span in spans if span.name == "litellm.router group"]
    assert len(routed) == 15
    assert len(bridge.inference()) == 50


def test_threads_that_carry_the_context(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """Calls in a wrapped pool, in a thread by ``run_in_context`` and in LiteLLM's own batch land under the caller's span."""
    tracer = bridge.tracer_provider.get_tracer("caller")
    asked = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, **openai_kwargs}
    with tracer.start_as_current_span("caller") as span, otel_llm_bridge.wrap_executor(ThreadPoolExecutor(8)) as pool:
        assert otel_llm_bridge.wrap_executor(pool) is pool
        list(pool.map(lambda _: litellm.completion(**asked), range(8)))
        thread = threading.Thread(target=otel_llm_bridge.run_in_context(lambda: litellm.completion(**asked)))
        thread.start()
        thread.join(30)
        litellm.batch_completion(**{**asked, "messages": [MESSAGES] * 4})
    inference = bridge.inference()
    assert len(inference) == 13
    assert {attempt.parent.span_id for attempt in inference if attempt.parent} == {span.get_span_context().span_id}


@pytest.mark.parametrize("instrumented", [True, False])
def test_the_callers_span_is_left_alone(
    instrumented: bool, make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any]
) -> None:
    """The caller's span has its own name, attributes, events and status, with and without the bridge."""
    bridge = make_bridge(disabled=not instrumented)
    tracer = bridge.tracer_provider.get_tracer("caller")
    with tracer.start_as_current_span("caller", attributes={"mine": 1}):
        litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
        with pytest.raises(litellm.AuthenticationError):
            litellm.completion(model="openai/error-401", messages=MESSAGES, **openai_kwargs)
    (caller,) = [span for span in bridge.all() if span.name == "caller"]
    assert dict(caller.attributes or {}) == {"mine": 1}
    assert caller.events == ()
    assert caller.status.status_code.name == "UNSET"
    assert len(bridge.all()) == (3 if instrumented else 1)


async def test_a_cancelled_call_has_a_span(bridge: Bridge, provider: FakeProvider) -> None:
    """A call that its caller cancels is one ERROR span, though LiteLLM fires no hook for it."""
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(
            litellm.acompletion(
                model="openai/gpt-4o-mini", messages=MESSAGES, api_base=provider.at("timeout", "/v1"), api_key="sk-test"
            ),
            0.3,
        )
    span = bridge.span()
    assert span.status.status_code.name == "ERROR"
    assert (span.attributes or {})["error.type"] == "CancelledError"


def test_loops_in_threads(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """Each of several threads with a loop of its own gets its span."""

    def run() -> None:
        asyncio.run(litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(bridge.inference()) == 4

"""Every way that a call can go, as one table: the families, each with the ends that it can come to, and the Router."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import litellm

from otel_llm_bridge.demo.provider import FakeProvider

from ..demo.calls import make
from ..demo.families import BY_NAME, FAMILIES, MESSAGES, Family

_numbers = itertools.count()


class Scenario(NamedTuple):
    """One way: its name, what does it, and how many inference spans it makes."""

    name: str
    run: Callable[[FakeProvider], object]
    spans: int = 1


# One call of a family, to one of its ends ---------------------------------------------------------------------------


def _whole(family: Family, behaviour: str | None = None, **more: Any) -> Callable[[FakeProvider], object]:
    return lambda provider: make(family, provider, behaviour, **more)


def _left_early(family: Family) -> Callable[[FakeProvider], object]:
    """The caller takes one chunk and lets go of the stream."""

    async def read(provider: FakeProvider) -> None:
        stream = await family.callable()(**family.kwargs(provider))
        await stream.__anext__()

    def run(provider: FakeProvider) -> None:
        if family.is_async:
            asyncio.run(read(provider))
        else:
            next(iter(family.callable()(**family.kwargs(provider))))

    return run


def _cancelled(family: Family) -> Callable[[FakeProvider], object]:
    """The task is cancelled once the provider has the request."""

    async def call(provider: FakeProvider) -> None:
        before = len(provider.requests)
        task = asyncio.ensure_future(family.callable()(**family.kwargs(provider, "hold")))
        await asyncio.to_thread(provider.wait_until, lambda it: len(it.requests) > before)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return lambda provider: asyncio.run(call(provider))


def _of(family: Family) -> list[Scenario]:
    ends = [Scenario("ok", _whole(family)), Scenario("error", _whole(family, "error-429"))]
    if family.streams:
        ends += [Scenario("left early", _left_early(family)), Scenario("broken", _whole(family, "stream-broken-3"))]
    if family.is_async:
        ends += [Scenario("cancelled", _cancelled(family))]
    return [Scenario(f"{family.name}, {end.name}", end.run) for end in ends]


# Requests and answers with everything in them ----------------------------------------------------------------------

_EVERY_PARAMETER: Final = {
    "temperature": 1, "top_p": 1, "n": 2, "max_tokens": 64, "presence_penalty": 0, "frequency_penalty": 1, "seed": 7,
    "stop": ["END"], "response_format": {"type": "json_object"}, "user": "somebody",
}  # fmt: skip
_CONFIGURED: Final = {
    "temperature": 1, "topP": 1, "topK": 40, "maxOutputTokens": 64, "stop_sequences": ["END"], "seed": 7, "candidate_count": 2,
    "presencePenalty": 1, "frequency_penalty": 0, "responseMimeType": "application/json", "thinking_config": {"thinking_level": "low"},
}  # fmt: skip
_CHAT, _ACHAT = BY_NAME["completion"], BY_NAME["acompletion-stream"]

_RICH: Final = (
    Scenario("every parameter", _whole(_CHAT, **_EVERY_PARAMETER)),
    Scenario("reasoning", _whole(_CHAT, "reasoning", reasoning_effort="low")),
    Scenario("reasoning, stream", _whole(_ACHAT, "reasoning")),
    Scenario("tool call, stream", _whole(_ACHAT, "tool")),
    Scenario("no usage", _whole(_CHAT, "no-usage")),
    Scenario("no usage, stream", _whole(_ACHAT, "no-usage")),
    Scenario("two choices, stream", _whole(_ACHAT, n=2)),
    Scenario("bad JSON", _whole(_CHAT, "bad-json")),
    Scenario("connection reset", _whole(_CHAT, "reset")),
    Scenario("embedding, every parameter", _whole(BY_NAME["embedding"], dimensions=8, encoding_format="float")),
    Scenario("generate_content, every parameter", _whole(BY_NAME["generate_content"], config=_CONFIGURED)),
    *(
        Scenario(f"{name}, an agent", _whole(BY_NAME[name], model=None, agent="deep-research-pro-preview-12-2025"))
        for name in ("interactions", "ainteractions-stream")
    ),
    *(
        Scenario(f"{name}, error in the stream", _whole(BY_NAME[name], "stream-error-3"))
        for name in ("aresponses-stream", "interactions-stream", "generate_content_stream", "aanthropic_messages-stream")
    ),
)


# The Router --------------------------------------------------------------------------------------------------------


def deployment(provider: FakeProvider, group: str, behaviour: str, name: str, **params: Any) -> dict[str, Any]:
    """One deployment of a Router that behaves so."""
    fixed = {"model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour), "api_key": "sk-test", "max_retries": 0}
    return {"model_name": group, "litellm_params": {**fixed, **params}, "model_info": {"id": name}}


def failing_over(provider: FakeProvider) -> litellm.Router:
    """A fails twice, which is one retry, and B serves."""
    script = f"truth-{next(_numbers)}"
    provider.script(script, ["error-500", "error-503"])
    return litellm.Router(
        model_list=[deployment(provider, "a", f"script:{script}", "deployment-a"), deployment(provider, "b", "ok", "deployment-b")],
        fallbacks=[{"a": ["b"]}],
        num_retries=1,
        allowed_fails=100,
    )


def _routed(provider: FakeProvider) -> object:
    return failing_over(provider).completion(model="a", messages=[*MESSAGES])


def _arouted_stream(provider: FakeProvider) -> object:
    async def read() -> list[Any]:
        stream: Any = await failing_over(provider).acompletion(model="a", messages=[*MESSAGES], stream=True)
        return [chunk async for chunk in stream]

    return asyncio.run(read())


def _router_in_vain(provider: FakeProvider) -> None:
    router = litellm.Router([deployment(provider, "a", "error-500", "deployment-a")], num_retries=1)
    with contextlib.suppress(litellm.exceptions.InternalServerError):
        router.completion(model="a", messages=[*MESSAGES])


_ROUTER: Final = (
    Scenario("Router, retry and fallback", _routed, spans=3),
    Scenario("Router, retry and fallback, async stream", _arouted_stream, spans=3),
    Scenario("Router, in vain", _router_in_vain, spans=2),
)

# fmt: off
SCENARIOS: Final = (*(scenario for family in FAMILIES for scenario in _of(family)), *_RICH, *_ROUTER)
# fmt: on

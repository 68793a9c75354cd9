"""Acceptance tests in the words of users: failures, a Router's whole story, exits of streams, callbacks through a Router."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import litellm
import pytest
from opentelemetry.trace import StatusCode

from otel_llm_bridge import callbacks, streams
from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import MESSAGES, Bridge
from ..spine.test_router import _SHAPES, deployment, scripted

#: Failure -> how the provider behaves, what else the deployment says, and the class and status of the error.
FAILURES: Final[dict[str, tuple[str, dict[str, Any], str, int | None]]] = {
    "auth": ("error-401", {}, "AuthenticationError", 401),
    "rate limit": ("error-429", {}, "RateLimitError", 429),
    "timeout": ("timeout", {"timeout": 0.3}, "Timeout", 408),
    "context window": ("error-context", {}, "ContextWindowExceededError", 400),
    "content policy": ("error-policy", {}, "ContentPolicyViolationError", 400),
    "bad parameters": ("error-400", {}, "BadRequestError", 400),
    "connection": ("reset", {}, "InternalServerError", 500),
    "JSON": ("bad-json", {}, "InternalServerError", 500),
    "budget": ("ok", {}, "BudgetExceededError", None),
}
#: The lowest LiteLLM that is supported.
_OLD: Final = version("litellm").startswith("1.80.")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM waits seconds between retries; nothing here is about that."""
    monkeypatch.setattr(litellm.Router, "_time_to_sleep_before_retry", lambda *_args, **_kwargs: 0)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("failure", FAILURES)
def test_failures(failure: str, is_async: bool, bridge: Bridge, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind, through a Router: ERROR with its class and status, on the logical span and on the attempt, which names its deployment."""
    behaviour, more, kind, status = FAILURES[failure]
    if failure == "budget":
        monkeypatch.setattr(litellm, "max_budget", 1e-12)
        monkeypatch.setattr(litellm, "_current_cost", 1.0)
    router = litellm.Router([deployment(provider, "a", behaviour, "deployment-a", **more)], num_retries=0)
    with pytest.raises(Exception) as raised:
        if is_async:
            asyncio.run(router.acompletion(model="a", messages=MESSAGES))
        else:
            router.completion(model="a", messages=MESSAGES)
    assert type(raised.value).__name__ == kind

    (root,) = [span for span in bridge.all() if span.name == "litellm.router a"]
    attempts = bridge.inference()
    for span in (root, *attempts):
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == kind
        assert status is None or (span.attributes or {})["litellm.http.status_code"] == status
    assert [(attempt.attributes or {})["litellm.deployment.id"] for attempt in attempts] == ["deployment-a"]


@pytest.mark.parametrize("shape", _SHAPES)
def test_four_attempts_in_every_shape(shape: str, bridge: Bridge, provider: FakeProvider) -> None:
    """A fails twice, B times out, C serves: 1 + 4 spans, sync, async and streamed."""
    if _OLD and shape.startswith("sync"):
        pytest.skip("LiteLLM 1.80 ignores a deployment's num_retries in sync calls, and asks B once more")
    _SHAPES[shape](scripted(provider))
    (root,) = [span for span in bridge.all() if span.name == "litellm.router a"]
    told = [dict(attempt.attributes or {}) for attempt in bridge.inference()]
    assert [(one["litellm.attempt.number"], one["litellm.attempt.kind"], one["litellm.deployment.id"], one.get("error.type")) for one in told] == [
        (1, "first", "deployment-a", "InternalServerError"),
        (2, "retry", "deployment-a", "ServiceUnavailableError"),
        (3, "fallback", "deployment-b", "Timeout"),
        (4, "fallback", "deployment-c", None),
    ]
    assert (root.attributes or {})["litellm.router.served.deployment.id"] == "deployment-c"


def _interrupted(stream: Any) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        for number, _ in enumerate(stream, 1):
            if number == 3:
                raise KeyboardInterrupt


def _three(stream: Any) -> None:
    for _ in range(3):
        next(stream)


@pytest.mark.parametrize("through", ["SDK", "Router"])
@pytest.mark.parametrize("leave", [_interrupted, _three], ids=["interrupted", "dropped"])
def test_chunks_that_were_read(leave: Callable[[Any], None], through: str, bridge: Bridge, provider: FakeProvider) -> None:
    """A sync stream that is left by an exception or dropped has the count of what was read."""
    asked = deployment(provider, "a", "stream-20ms+words-500", "deployment-a")
    if through == "SDK":
        stream = litellm.completion(messages=MESSAGES, stream=True, **asked["litellm_params"])
    else:
        stream = litellm.Router([asked], num_retries=0).completion(model="a", messages=MESSAGES, stream=True)
    leave(stream)
    del stream
    gc.collect()  # a Router's stream is in a cycle
    streams.settle_left_streams(10)
    (span,) = bridge.inference()
    assert (span.attributes or {})["litellm.stream.chunks"] == 3
    assert (span.attributes or {})["litellm.stream.outcome"] in {"abandoned", "closed_early"}


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
@pytest.mark.parametrize("mode", ["inline", "tracked", "background"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_callbacks_through_a_router(is_async: bool, mode: str, kind: str, bridge: Bridge, provider: FakeProvider) -> None:
    """Once for each call: inline before it returns, in every mode by the drain, whose report is complete."""
    told: list[str] = []

    def saw(event: callbacks.Event) -> None:
        told.append(event.point)

    async def asaw(event: callbacks.Event) -> None:
        await asyncio.sleep(0)
        saw(event)

    router = litellm.Router([deployment(provider, "a", "ok", "deployment-a")], num_retries=0)

    async def call() -> int:
        await router.acompletion(model="a", messages=MESSAGES)
        return len(told)

    with callbacks.registered(saw if kind == "function" else asaw, on="success", mode=mode):
        if is_async:
            at_return = asyncio.run(call())
        else:
            router.completion(model="a", messages=MESSAGES)
            at_return = len(told)
        assert callbacks.drain(20).complete
    assert told == ["success"]
    assert mode != "inline" or at_return == 1

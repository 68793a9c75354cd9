"""The caller cannot tell: same results, errors, requests and output, with and without the bridge."""

from __future__ import annotations

import asyncio
import contextvars
import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import litellm
import pytest

from otel_llm_bridge import guard, invocation, streams, telemetry
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import access, calls, chunks, put_off, reading

from ..conftest import MESSAGES, Bridge
from ..demo.calls import make
from ..demo.families import FAMILIES, Family

_ROWS = [pytest.param(family, id=family.name) for family in FAMILIES]
#: What differs from call to call without anybody's doing.
_VARYING = {"id", "created", "created_at", "updated", "item_id", "response_id", "responseId", "completed_at", "system_fingerprint"}


def _plain(value: Any) -> Any:
    """``value`` as plain data, without what varies."""
    for method in ("model_dump", "json"):
        if hasattr(value, method) and not isinstance(value, (dict, list)):
            try:
                value = getattr(value, method)()
                break
            except Exception:
                continue
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):  # a part of a JSON text is a text
            value = json.loads(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in _VARYING}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return type(value).__name__


def _headers(headers: Any) -> dict[str, str]:
    varying = {"content-length", "x-stainless-read-timeout", "host"}
    return {str(name).lower(): value for name, value in dict(headers).items() if str(name).lower() not in varying}


def _seen(provider: FakeProvider, family: Family, behaviour: str | None = None) -> tuple[Any, ...]:
    provider.reset()
    got, error = make(family, provider, behaviour)
    results = [type(item).__name__ for item in got if not isinstance(item, bytes)]
    data = [_plain(item) for item in got if not isinstance(item, bytes)]
    requests = [(one.method, one.path, _headers(one.headers).keys(), _boundless(one)) for one in provider.requests]
    return results, data, (type(error), getattr(error, "status_code", None)), requests


def _boundless(request: Any) -> bytes | int:
    """The body, byte for byte; of a multipart one, whose boundary is random, its length."""
    body: bytes = request.body
    return len(body) if body.startswith(b"--") else body


@pytest.mark.parametrize("family", _ROWS)
def test_same_results_and_requests(family: Family, make_bridge: Callable[..., Bridge], provider: FakeProvider) -> None:
    """Results have the same types and values, and the provider is sent the same bytes."""
    without = _seen(provider, family)
    make_bridge()
    assert _seen(provider, family) == without


@pytest.mark.parametrize("behaviour", ["error-400", "error-401", "error-429", "error-500", "error-context", "error-policy", "bad-json", "reset"])
def test_same_errors(behaviour: str, make_bridge: Callable[..., Bridge], provider: FakeProvider) -> None:
    """An error is of the same class with the same status, sync and async, and the provider is asked as often."""
    rows = [family for family in FAMILIES if family.name in {"completion", "acompletion", "acompletion-stream"}]
    without = [_seen(provider, family, behaviour)[2:] for family in rows]
    make_bridge()
    assert [_seen(provider, family, behaviour)[2:] for family in rows] == without


def test_arguments_are_not_mutated(make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any]) -> None:
    """What the caller passes is the same afterwards, but for what LiteLLM alone writes into it."""

    def asked() -> dict[str, Any]:
        return {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "stop": ["a"],
            "metadata": {"mine": 1}, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        }  # fmt: skip

    def after() -> tuple[dict[str, Any], set[str]]:
        kwargs = asked()
        litellm.completion(model="openai/gpt-4o-mini", **kwargs, **openai_kwargs)
        # LiteLLM writes `hidden_params` from a thread, with the bridge and without: perhaps not yet.
        return kwargs, set(kwargs.pop("metadata")) - {"hidden_params"}

    without = after()
    make_bridge()
    assert after() == without
    assert {name: value for name, value in asked().items() if name != "metadata"} == without[0]


def test_the_very_same_result_and_exception(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """What LiteLLM returns or raises is handed on as the same object; its traceback shows one frame of ours."""
    response = litellm.ModelResponse()
    seen = litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, mock_response=response, **openai_kwargs)
    assert type(seen) is type(response)
    error = litellm.RateLimitError(message="x", llm_provider="openai", model="m")
    with pytest.raises(litellm.RateLimitError) as raised:
        litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, mock_response=error, **openai_kwargs)
    assert raised.value.llm_provider == "openai"
    assert "<otel_llm_bridge>" in {frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)}
    assert raised.value.__context__ is None or "otel_llm_bridge" not in type(raised.value.__context__).__module__


def test_nothing_is_printed(bridge: Bridge, openai_kwargs: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """No line on stdout or stderr, no warning."""
    capfd.readouterr()
    litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
    for _ in litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, **openai_kwargs):
        pass
    asyncio.run(litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs))
    out = capfd.readouterr()
    assert out.out == ""
    assert [line for line in out.err.splitlines() if "LiteLLM" not in line] == []


#: Inner steps of ours, each of which may have a fault.
_STEPS: list[tuple[Any, str]] = [
    (reading, "read_request"), (access, "clean"), (reading, "hidden"), (reading, "read_hidden"), (reading, "read_usage"),
    (calls, "current"), (calls, "proxy_for"), (calls.Calls, "_begin_inference"), (put_off, "request"), (put_off, "answer"),
    (chunks.ChatChunks, "feed"), (chunks.ChatChunks, "close"), (telemetry.Layer, "start"), (telemetry.Layer, "event"),
    (telemetry.Layer, "stop"), (invocation.Invocation, "event"), (invocation.Invocation, "suspend"),
    (invocation.Invocation, "inside"), (invocation.Invocation, "finish"), (invocation.Invocation, "fail"), (invocation, "detach"),
    (calls.Calls, "_settle"), (calls, "is_stream"), (calls, "_given_back"), (streams.StreamRecorder, "end"),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), [pytest.param(*step, id=f"{step[0].__name__}.{step[1]}") for step in _STEPS])
def test_a_fault_of_ours_stays_ours(
    owner: Any, name: str, make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fault injected at any step of ours, calls return what they return, and raise what they raise."""

    def fault(*_args: Any, **_kwargs: Any) -> Any:
        raise ZeroDivisionError("injected")

    make_bridge(strict=False)
    monkeypatch.setattr(owner, name, fault)
    monkeypatch.setattr(guard, "_seen", set())
    asked = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, **openai_kwargs}
    # What is not detached again must not be the Context of other tests.
    contextvars.copy_context().run(_calls_are_as_ever, asked)
    invocation.disown_open()


def _calls_are_as_ever(asked: dict[str, Any]) -> None:
    assert litellm.completion(**asked).choices[0].message.content
    assert asyncio.run(litellm.acompletion(**asked)).choices[0].message.content
    assert len(list(litellm.completion(**asked, stream=True))) > 2

    async def stream() -> int:
        return len([chunk async for chunk in await litellm.acompletion(**asked, stream=True)])

    assert asyncio.run(stream()) > 2
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**asked, "model": "openai/error-401"})

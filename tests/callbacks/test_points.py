"""The points beside success and failure, on the real LiteLLM and its Router: told once, in order, with their data."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

import otel_llm_bridge
from otel_llm_bridge import callbacks, streams
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import callback_facts

from .switch import switched_on

MESSAGES = [{"role": "user", "content": "Is there anybody?"}]
BESIDE = ("retry", "fallback", "fallback_failure", "cooldown")
MODES = ("inline", "tracked", "background")


@pytest.fixture(autouse=True)
def driven(the_dispatcher: Any) -> Iterator[None]:
    """The bridge's part in callbacks is on."""
    with switched_on():
        yield


def _deployment(provider: FakeProvider, group: str, behaviour: str, number: int) -> dict[str, Any]:
    params = {"model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour, "/v1"), "api_key": "sk-test", "max_retries": 0}
    return {"model_name": group, "litellm_params": params, "model_info": {"id": f"{group}-{number}"}}


def _router(provider: FakeProvider, last: str = "ok", **options: Any) -> litellm.Router:
    """A group that fails, one that fails too and takes over for it, and a last one that takes over for that."""
    groups = {"first": "error-500", "second": "error-500", "last": last}
    return litellm.Router(
        [_deployment(provider, group, behaviour, number) for group, behaviour in groups.items() for number in range(2)],
        **{"num_retries": 1, "retry_after": 0, "fallbacks": [{"first": ["second"]}, {"second": ["last"]}], "disable_cooldowns": True, **options},
    )


def _ask(router: litellm.Router, is_async: bool) -> None:
    if is_async:
        asyncio.run(router.acompletion(model="first", messages=MESSAGES))
    else:
        router.completion(model="first", messages=MESSAGES)


class Seen:
    """What a listener has been told: the points, and the events."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.events: list[Any] = []

    def sync(self, event: Any) -> None:
        self.events.append(event)

    async def asynchronous(self, event: Any) -> None:
        await asyncio.sleep(self.delay)
        self.events.append(event)

    @property
    def points(self) -> list[str]:
        return [event.point for event in self.events]


#: A group's two attempts fail, then the next group's, and the last one answers (or fails as well).
STEPS = ["retry", "retry", "fallback_failure"]


@pytest.mark.parametrize("last", ["ok", "error-500"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync call", "async call"])
@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("mode", MODES)
def test_retries_and_fallbacks(mode: str, kind: str, is_async: bool, last: str, provider: FakeProvider) -> None:
    """Each retry, and what became of each fallback, in order, in each mode; inline ones before the call returns."""
    seen = Seen(0.02)
    callbacks.register(getattr(seen, kind), on=BESIDE, mode=mode)
    fails = contextlib.nullcontext() if last == "ok" else pytest.raises(litellm.InternalServerError)
    with fails:
        _ask(_router(provider, last), is_async)
    expected = [*STEPS, "fallback"] if last == "ok" else [*STEPS, "retry", "fallback_failure"]
    if mode == "inline":
        assert seen.points == expected
    assert callbacks.drain(10).complete
    assert seen.points == expected
    for event in seen.events:
        assert event.kwargs["messages"] == MESSAGES
        assert isinstance(event.kwargs["original_exception"], litellm.InternalServerError)
        assert event.start_time <= event.end_time
    told = [(event.kwargs["original_model_group"], event.kwargs["model"]) for event in seen.events if event.point.startswith("fallback")]
    assert told == [("first", "second"), ("second", "last")]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync call", "async call"])
@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("mode", MODES)
def test_streams(mode: str, kind: str, is_async: bool, provider: FakeProvider) -> None:
    """Of a stream they come too, and what became of the fallback when the stream is at its end; inline ones by then."""
    seen = Seen(0.02)
    callbacks.register(getattr(seen, kind), on=BESIDE, mode=mode)
    router = _router(provider)

    async def read() -> int:
        return len([chunk async for chunk in await router.acompletion(model="first", messages=MESSAGES, stream=True)])

    assert asyncio.run(read()) if is_async else len(list(router.completion(model="first", messages=MESSAGES, stream=True)))
    if mode == "inline":
        assert seen.points == [*STEPS, "fallback"]
    assert callbacks.drain(10).complete
    assert seen.points == [*STEPS, "fallback"]


def test_hooks_of_an_object(provider: FakeProvider) -> None:
    """An object's fallback hooks are called as LiteLLM calls them."""
    seen: list[Any] = []

    class Logger:
        async def log_success_fallback_event(self, original_model_group: str, kwargs: Any, original_exception: Any) -> None:
            seen.append(("success", original_model_group, kwargs["model"], type(original_exception).__name__))

        async def log_failure_fallback_event(self, original_model_group: str, kwargs: Any, original_exception: Any) -> None:
            seen.append(("failure", original_model_group, kwargs["model"], type(original_exception).__name__))

    callbacks.register(Logger())
    _ask(_router(provider), is_async=True)
    assert seen == [("failure", "first", "second", "InternalServerError"), ("success", "second", "last", "InternalServerError")]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync call", "async call"])
def test_cooldown(is_async: bool, provider: FakeProvider) -> None:
    """A deployment that is put into cooldown is told once for each failure, though LiteLLM says so twice of a sync call."""
    seen = Seen()
    callbacks.register(seen.sync, on="cooldown")
    router = _router(provider, disable_cooldowns=False, allowed_fails=0, cooldown_time=60, num_retries=0, fallbacks=[])

    async def ask() -> None:
        with contextlib.suppress(litellm.InternalServerError):
            await router.acompletion(model="first", messages=MESSAGES)
        await callbacks.adrain(5)

    if is_async:
        asyncio.run(ask())
    else:
        with contextlib.suppress(litellm.InternalServerError):
            router.completion(model="first", messages=MESSAGES)
        from .test_rescue import wait_for_threads

        wait_for_threads()
    callbacks.drain(10)
    (event,) = seen.events
    assert event.kwargs["litellm.deployment.id"].startswith("first-")
    assert event.details["litellm.cooldown.time"] == 60.0


def test_retry_and_fallback_without_a_router(provider: FakeProvider) -> None:
    """Calls that LiteLLM itself repeats, by ``num_retries`` and ``fallbacks``, are told alike."""
    seen = Seen()
    callbacks.register(seen.asynchronous, on=BESIDE)
    arguments = {"messages": MESSAGES, "api_key": "sk-test", "max_retries": 0, "api_base": provider.at("error-500", "/v1")}
    with pytest.raises(litellm.InternalServerError):
        litellm.completion(model="openai/gpt-4o-mini", num_retries=1, **arguments)
    assert seen.points == ["retry"]
    litellm.completion(model="openai/gpt-4o-mini", fallbacks=[{"model": "openai/gpt-4o", "api_base": provider.at("ok", "/v1")}], **arguments)
    assert seen.points == ["retry", "fallback"]
    assert (seen.events[1].kwargs["original_model_group"], seen.events[1].kwargs["model"]) == ("openai/gpt-4o-mini", "openai/gpt-4o")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync call", "async call"])
def test_cache_hit(is_async: bool, mode: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer out of the cache is told before the success, with LiteLLM's record of the call."""
    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))  # type: ignore[attr-defined]
    seen = Seen()
    callbacks.register(seen.asynchronous, on=("cache_hit", "success"), mode=mode)
    arguments = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_key": "sk-test", "api_base": provider.at("ok", "/v1"), "caching": True}

    async def ask() -> None:
        await litellm.acompletion(**arguments)
        while not litellm.cache.cache.cache_dict:  # type: ignore[attr-defined]  # LiteLLM writes it in a task
            await asyncio.sleep(0)
        await litellm.acompletion(**arguments)

    if is_async:
        asyncio.run(ask())
    else:
        litellm.completion(**arguments)
        litellm.completion(**arguments)
    assert callbacks.drain(10).complete
    assert seen.points == ["success", "cache_hit", "success"]
    first, hit, second = seen.events
    assert hit.kwargs["litellm_call_id"] == second.kwargs["litellm_call_id"] != first.kwargs["litellm_call_id"]
    assert hit.response_obj.choices[0].message.content == first.response_obj.choices[0].message.content


def test_service(provider: FakeProvider) -> None:
    """What LiteLLM reports of its services (here the Router) is told, with name, duration and outcome."""
    seen = Seen()
    callbacks.register(seen.sync, on="service")
    _ask(_router(provider), is_async=True)
    names = [event.kwargs["litellm.service.name"] for event in seen.events]
    assert set(names) == {"router"}
    assert all(event.details["litellm.succeeded"] and event.details["litellm.service.duration"] >= 0 for event in seen.events)


class Busy(dict[str, Any]):
    """LiteLLM's record of a call, into which LiteLLM writes whenever somebody goes through it."""

    def items(self) -> Any:
        for number, item in enumerate(super().items()):
            self[f"written {number}"] = True
            yield item


@pytest.mark.parametrize("point", ["success", "failure"])
def test_a_record_that_is_written_meanwhile(point: str, provider: FakeProvider) -> None:
    """LiteLLM's handler may complete its record in another thread while a callback's is made of it."""
    seen: list[Any] = []
    callbacks.register(lambda event: seen.append(event.logging))
    litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, api_base=provider.at("ok", "/v1"), api_key="sk-test")
    (logging,) = seen
    logging.model_call_details = Busy(logging.model_call_details)
    error = OSError()
    load = callback_facts.failure(logging, error) if point == "failure" else callback_facts.success(logging, lambda: None, is_async=False)
    kwargs = load()["kwargs"]
    assert kwargs["messages"] == MESSAGES
    assert kwargs.get("exception") is (error if point == "failure" else None)


class Stop(Exception):
    """What a callback stops a call with."""


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync call", "async call"])
@pytest.mark.parametrize("point", ["input", "pre_call"])
def test_stopped_before_the_request(point: str, is_async: bool, strict: bool, provider: FakeProvider) -> None:
    """With ``on_error="raise"`` the caller gets the callback's error, and the provider never gets the request."""

    def refuse(kwargs: Any) -> None:
        raise Stop

    arguments = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_key": "sk-test", "api_base": provider.at("ok", "/v1")}
    otel_llm_bridge.uninstrument()
    with switched_on(strict=strict), callbacks.registered(refuse, on=point, on_error="raise"):
        before = len(provider.requests)
        with pytest.raises(Stop):
            if is_async:
                asyncio.run(litellm.acompletion(**arguments))
            else:
                litellm.completion(**arguments)
        assert len(provider.requests) == before


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync call", "async call"])
def test_stopped_in_a_stream(is_async: bool, kind: str, provider: FakeProvider) -> None:
    """With ``on_error="raise"`` at ``stream_chunk`` the reader gets the error with the very chunk."""
    chunks: list[Any] = []

    def refuse(event: Any) -> None:
        chunks.append(event.response_obj)
        if len(chunks) == 2:
            raise Stop

    async def arefuse(event: Any) -> None:
        await asyncio.sleep(0.01)
        refuse(event)

    arguments = {
        "model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_key": "sk-test", "api_base": provider.at("ok", "/v1"), "stream": True,
    }  # fmt: skip
    read: list[Any] = []

    async def ask() -> None:
        async for chunk in await litellm.acompletion(**arguments):
            read.append(chunk)

    with callbacks.registered(refuse if kind == "sync" else arefuse, on="stream_chunk", on_error="raise"):
        try:
            if is_async:
                asyncio.run(ask())
            else:
                for chunk in litellm.completion(**arguments):
                    read.append(chunk)
        except Stop:
            pass
        else:
            pytest.fail("not stopped")
    assert len(read) == 1
    gc.collect()  # the stream was left: let that be told before the next test
    streams.settle_left_streams(10)

"""Callbacks that are registered with the bridge are told by the bridge's own drivers, whatever LiteLLM's hooks do."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import litellm
import pytest
from packaging.version import Version

import otel_llm_bridge
from otel_llm_bridge import callbacks
from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import MESSAGES, Bridge, cancelled_on_its_way, eventually
from ..demo.calls import make
from ..demo.families import FAMILIES, Family

OLD = Version(importlib.metadata.version("litellm")) < Version("1.81")
_MODES = ["inline", "tracked", "background"]


@pytest.fixture
def told() -> Iterator[list[tuple[str, str]]]:
    """What callbacks have seen; they are removed afterwards."""
    seen: list[tuple[str, str]] = []
    yield seen
    for registration in list(callbacks.dispatcher.registry.at("success")) + list(callbacks.dispatcher.registry.at("failure")):
        registration.remove()


def _asked(openai_kwargs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "openai/gpt-4o-mini", "messages": MESSAGES, **openai_kwargs, **more}


def _register(told: list[tuple[str, str]], mode: str, is_async: bool) -> None:
    def saw(kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        point = "failure" if kwargs.get("exception") is not None else "success"
        told.append((point, kwargs["litellm_call_id"]))

    async def asaw(kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        await asyncio.sleep(0.01)
        saw(kwargs, response_obj, start_time, end_time)

    callbacks.register(asaw if is_async else saw, on="both", mode=mode)


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine function"])
@pytest.mark.parametrize("mode", _MODES)
def test_sync_calls(mode: str, is_async: bool, bridge: Bridge, told: list[tuple[str, str]], openai_kwargs: dict[str, Any]) -> None:
    """A sync call, a stream read to its end, one that is left, and an error: each told once, inline before it returns."""
    _register(told, mode, is_async)
    points = []
    litellm.completion(**_asked(openai_kwargs))
    points.append(len(told))
    list(litellm.completion(**_asked(openai_kwargs, stream=True)))
    points.append(len(told))
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**_asked(openai_kwargs, model="openai/error-401"))
    points.append(len(told))
    if mode == "inline":
        assert points == [1, 2, 3]
    assert not callbacks.drain(10).pending
    assert [point for point, _ in told] == ["success", "success", "failure"]
    assert len({call for _, call in told}) == 3


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine function"])
@pytest.mark.parametrize("mode", _MODES)
async def test_async_calls(mode: str, is_async: bool, bridge: Bridge, told: list[tuple[str, str]], provider: FakeProvider, openai_kwargs: dict[str, Any]) -> None:
    """An async call, a stream, an error and a cancelled call: each told once, inline before the caller goes on."""
    _register(told, mode, is_async)
    points = []
    await litellm.acompletion(**_asked(openai_kwargs))
    points.append(len(told))
    async for _ in await litellm.acompletion(**_asked(openai_kwargs, stream=True)):
        pass
    points.append(len(told))
    with pytest.raises(litellm.AuthenticationError):
        await litellm.acompletion(**_asked(openai_kwargs, model="openai/error-401"))
    points.append(len(told))
    with pytest.raises(asyncio.CancelledError):
        await cancelled_on_its_way(provider, litellm.acompletion(**_asked(openai_kwargs, api_base=provider.at("timeout", "/v1"))))
    points.append(len(told))
    if mode == "inline":
        assert points == [1, 2, 3, 4]
    await eventually(lambda: len(told) == 4)
    assert not (await callbacks.adrain(10)).pending
    assert [point for point, _ in told] == ["success", "success", "failure", "failure"]


async def test_an_error_that_the_callback_wants_raised(make_bridge: Callable[..., Bridge], told: list[tuple[str, str]], openai_kwargs: dict[str, Any]) -> None:
    """With ``on_error="raise"`` an inline callback stops the call; the call's span is a success all the same."""
    bridge = make_bridge()

    async def refuse(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        raise PermissionError("too much")

    registration = callbacks.register(refuse, on="success", mode="inline", on_error="raise")
    try:
        with pytest.raises(PermissionError):
            await litellm.acompletion(**_asked(openai_kwargs))
        with pytest.raises(PermissionError):
            await asyncio.to_thread(litellm.completion, **_asked(openai_kwargs))
    finally:
        registration.remove()
    assert [span.status.status_code.name for span in bridge.all()] == ["UNSET", "UNSET"]


@pytest.mark.parametrize("point", ["pre_call", "success", "stream_chunk"])
def test_a_fault_of_ours_is_no_callbacks_error(
    point: str, make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong in the bridge while it tells is logged; the caller has its answer, whatever ``on_error`` says."""
    from otel_llm_bridge.litellm import callback_facts

    def broken(*_: Any, **__: Any) -> Any:
        raise LookupError("of ours")

    make_bridge(strict=False)
    monkeypatch.setattr(callback_facts, "success" if point == "success" else "snapshot", broken)
    seen: list[Any] = []
    with callbacks.registered(lambda event: seen.append(event), on=point, on_error="raise", key="strict"):
        assert len(list(litellm.completion(**_asked(openai_kwargs, stream=True)))) > 1
    assert seen == []
    assert "LookupError" in caplog.text


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine function"])
@pytest.mark.parametrize("stream", [False, True], ids=["call", "stream"])
async def test_a_cancelled_task_stays_cancelled(
    stream: bool, is_async: bool, bridge: Bridge, told: list[tuple[str, str]], provider: FakeProvider, openai_kwargs: dict[str, Any]
) -> None:
    """What a callback raises takes no place of a cancellation: the task is cancelled, and the callback has run by then."""

    def strict(event: callbacks.Event) -> None:
        told.append((event.point, ""))
        raise ValueError

    async def astrict(event: callbacks.Event) -> None:
        strict(event)

    asked = _asked({**openai_kwargs, "api_base": provider.at("timeout", "/v1")})
    begun = asyncio.Event()

    async def work() -> None:
        if stream:
            answer = await litellm.acompletion(**_asked(openai_kwargs, stream=True), mock_response="x")
            answer._self_target.completion_stream = _Silent()
            begun.set()
            await anext(answer)
        else:
            await litellm.acompletion(**asked)

    with (
        callbacks.registered(astrict if is_async else strict, on="both", on_error="raise", key="strict"),
        callbacks.registered(lambda event: begun.set(), on="pre_call", key="begun") if not stream else nullcontext(),
    ):
        task = asyncio.create_task(work())
        await begun.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert task.cancelled()
    assert told == [("failure", "")]


class _Silent:
    """A stream of the provider's from which nothing comes."""

    def __aiter__(self) -> _Silent:
        return self

    async def __anext__(self) -> Any:
        await asyncio.Event().wait()


async def test_a_coroutine_that_is_closed_while_it_reads(bridge: Bridge, told: list[tuple[str, str]], openai_kwargs: dict[str, Any]) -> None:
    """It waits for no callback, that of an earlier chunk neither: Python says "coroutine ignored GeneratorExit" otherwise."""

    async def each(event: callbacks.Event) -> None:
        await asyncio.sleep(0)
        told.append((event.point, ""))

    with callbacks.registered(each, on=["stream_chunk", "success"], key="each"):
        stream = await litellm.acompletion(**_asked(openai_kwargs, stream=True), mock_response="one two three")
        await anext(stream)
        stream._self_target.completion_stream = _Silent()
        reading = stream.__anext__()
        reading.send(None)
        reading.close()
        assert (await callbacks.adrain(10)).complete
    assert [point for point, _ in told] == ["stream_chunk", "success"]
    assert (bridge.span().attributes or {})["litellm.stream.outcome"] == "cancelled"


async def test_a_slow_inline_callback_is_no_part_of_the_span(bridge: Bridge, told: list[tuple[str, str]], openai_kwargs: dict[str, Any]) -> None:
    """The span has ended when the callbacks run."""

    async def slow(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        told.append(("spans", str(len(bridge.all()))))

    registration = callbacks.register(slow, on="success", mode="inline")
    try:
        await litellm.acompletion(**_asked(openai_kwargs))
    finally:
        registration.remove()
    assert told == [("spans", "1")]


def test_points_on_the_way(bridge: Bridge, told: list[tuple[str, str]], openai_kwargs: dict[str, Any]) -> None:
    """Input, pre-call, post-call, every chunk and success come in that order."""

    def listener(point: str) -> Callable[[callbacks.Event], None]:
        return lambda event: told.append((point, ""))

    registrations = [
        callbacks.register(listener(point), on=point, key=point)
        for point in ("input", "pre_call", "post_call", "stream_chunk", "success")
    ]
    try:
        chunks = len(list(litellm.completion(**_asked(openai_kwargs, stream=True))))
    finally:
        for registration in registrations:
            registration.remove()
    assert [point for point, _ in told] == ["input", "pre_call", "post_call", *["stream_chunk"] * chunks, "success"]


@pytest.fixture
def heard(provider: FakeProvider) -> Iterator[list[tuple[str, int]]]:
    """Every point that is told, with the number of requests that the provider has seen by then."""
    provider.reset()
    points: list[tuple[str, int]] = []
    with callbacks.registered(lambda event: points.append((event.point, len(provider.requests))), on="all", mode="inline", key="heard"):
        yield points


#: LiteLLM tells of no request here: there is nothing that goes out, and nothing that comes in.
_UNTOLD = {"moderation"} | ({"amoderation", "speech", "aspeech", "aimage_generation"} if OLD else set())
_ROWS = [pytest.param(family, id=family.name) for family in FAMILIES]


@pytest.mark.parametrize("family", _ROWS)
def test_points_of_every_family(family: Family, bridge: Bridge, provider: FakeProvider, heard: list[tuple[str, int]]) -> None:
    """Each point once and in its place: nothing has been sent when the request is about to go out, and it has when the answer is in."""
    got, error = make(family, provider)
    assert error is None
    way = [] if family.name in _UNTOLD else [("input", 0), ("pre_call", 0), ("post_call", 1)]
    assert heard == [*way, *[("stream_chunk", 1)] * (len(got) if family.streams else 0), ("success", 1)]
    events = [event.name for event in bridge.span().events]
    wanted = ["litellm.pre_api_call", "litellm.post_api_call"] if way else []
    assert [name for name in events if name.endswith("_api_call")] == wanted
    assert "litellm.first_chunk" not in events or events.index("litellm.first_chunk") >= len(wanted)


@pytest.mark.parametrize("family", _ROWS)
def test_a_request_without_an_answer_has_no_answer(family: Family, bridge: Bridge, provider: FakeProvider, heard: list[tuple[str, int]]) -> None:
    """A call that raises was begun and has failed: nothing came in, whatever LiteLLM says of the text of an error."""
    _, error = make(family, provider, "reset")
    assert error is not None
    assert {point for point, _ in heard} - {"retry"} == {"failure"} | (set() if family.name in _UNTOLD else {"input", "pre_call"})
    assert "litellm.post_api_call" not in [event.name for event in bridge.span().events]


def test_the_raw_answer_is_in_the_record(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """At `post_call` it is what LiteLLM says that the provider has sent."""
    raw: list[Any] = []
    with callbacks.registered(lambda event: raw.append(event.kwargs["original_response"]), on="post_call", key="raw"):
        answer = litellm.completion(**_asked(openai_kwargs))
    assert json.loads(*raw)["id"] == answer.id


async def test_an_inline_coroutine_at_the_first_chunk(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """Where the first chunk is what says that the answer has come, its reader waits for the callback."""
    told: list[str] = []

    async def saw(event: callbacks.Event) -> None:
        await asyncio.sleep(0)
        told.append(event.point)

    with callbacks.registered(saw, on="post_call", key="saw"):
        stream = await litellm.acompletion(**_asked(openai_kwargs, stream=True))
        assert told == []
        await anext(stream)
        assert told == ["post_call"]
        async for _ in stream:
            pass
    assert told == ["post_call"]


def test_making_the_data_is_no_event(bridge: Bridge, told: list[tuple[str, str]], openai_kwargs: dict[str, Any]) -> None:
    """What a callback is given is made by LiteLLM's own handler, on a copy: that is no lifecycle event."""
    from opentelemetry.sdk._logs import LoggerProvider

    emitted: list[str] = []
    bridge_logger = LoggerProvider(shutdown_on_exit=False)
    bridge_logger.add_log_record_processor(_Noting(emitted))
    _register(told, "inline", is_async=False)
    otel_llm_bridge.uninstrument()
    otel_llm_bridge.instrument(tracer_provider=bridge.tracer_provider, logger_provider=bridge_logger, strict=True, handle_signals=False)
    asyncio.run(litellm.acompletion(**_asked(openai_kwargs), mock_response="x"))
    assert [point for point, _ in told] == ["success"]
    assert emitted.count("litellm.success") <= 1


class _Noting:
    """A log record processor that notes the names of events."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def on_emit(self, log: Any) -> None:
        self._names.append(getattr(log.log_record, "event_name", None) or "")

    emit = on_emit

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True

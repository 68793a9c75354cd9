"""Streams: however one ends, its call ends once, with what was seen of it."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import copy
import gc
import inspect
import logging
import os
import threading
import typing
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from opentelemetry.trace import StatusCode

from otel_llm_bridge import callbacks, streams
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.reaper import Reaper
from otel_llm_bridge.streams import proxy_for

from ..conftest import MESSAGES, Bridge, eventually


def _router(provider: FakeProvider, behaviour: str) -> litellm.Router:
    return litellm.Router(
        model_list=[
            {
                "model_name": "group",
                "litellm_params": {
                    "model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour, "/v1"), "api_key": "sk-test", "max_retries": 0,
                },
                "model_info": {"id": "deployment"},
            }
        ],
        num_retries=0,
    )  # fmt: skip


async def _drained(stream: Any) -> None:
    async for _ in stream:
        pass


async def _left(stream: Any) -> None:
    async for _ in stream:
        break


async def _closed(stream: Any) -> None:
    await anext(stream)
    await stream.aclose()


async def _cancelled(stream: Any) -> None:
    await anext(stream)

    async def read() -> None:
        async for _ in stream:
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


async def _timed_out(stream: Any) -> None:
    await anext(stream)
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_drained(stream), 0.05)


async def _broken(stream: Any) -> None:
    with suppress(Exception):
        await _drained(stream)


#: exit -> (what the reader does, the provider's behaviour, the outcome)
_EXITS: dict[str, tuple[Callable[[Any], Awaitable[None]], str, str]] = {
    "drained": (_drained, "ok", "complete"),
    "left": (_left, "ok", "abandoned"),
    "closed": (_closed, "ok", "closed_early"),
    "cancelled": (_cancelled, "stream-200ms", "cancelled"),
    "timed out": (_timed_out, "stream-200ms", "cancelled"),
    "broken": (_broken, "stream-broken-3", "error"),
}


@pytest.mark.parametrize("through", ["SDK", "Router"])
@pytest.mark.parametrize("exit_", _EXITS)
async def test_async_exits(exit_: str, through: str, bridge: Bridge, provider: FakeProvider) -> None:
    """Each way out of an async stream ends one inference span with its outcome and its chunks."""
    leave, behaviour, outcome = _EXITS[exit_]
    if exit_ in {"closed", "broken"} and not hasattr(litellm.CustomStreamWrapper, "aclose"):
        pytest.skip("LiteLLM before 1.85: its streams have no aclose, and take a reset for their end")
    if through == "SDK":
        call = litellm.acompletion(
            model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, api_key="sk-test",
            api_base=provider.at(behaviour, "/v1"), max_retries=0,
        )  # fmt: skip
    else:
        call = _router(provider, behaviour).acompletion(model="group", messages=MESSAGES, stream=True)
    stream = await call
    await leave(stream)
    del stream
    gc.collect()
    # LiteLLM's Router reads through an async generator, which the loop closes when it gets round to it.
    await eventually(lambda: len(bridge.all()) == (1 if through == "SDK" else 2))

    (span,) = bridge.inference()
    attributes = dict(span.attributes or {})
    # The Router closes what it reads from when it is left itself.
    allowed = {outcome, "closed_early"} if (exit_, through) == ("left", "Router") else {outcome}
    assert attributes["litellm.stream.outcome"] in allowed
    assert attributes["litellm.stream.chunks"] >= 1
    assert attributes["gen_ai.usage.output_tokens"] >= 0
    assert span.status.status_code is (StatusCode.ERROR if outcome == "error" else StatusCode.UNSET)


@pytest.mark.parametrize(
    ("leave", "behaviour", "outcome"),
    [
        pytest.param(list, "ok", "complete", id="drained"),
        pytest.param(next, "ok", "abandoned", id="left"),
        pytest.param(lambda stream: _swallow(list, stream), "stream-broken-3", "error", id="broken"),
    ],
)
@pytest.mark.parametrize("through", ["SDK", "Router"])
def test_sync_exits(
    leave: Callable[[Any], Any], behaviour: str, outcome: str, through: str, bridge: Bridge, provider: FakeProvider
) -> None:
    """Each way out of a sync stream ends one inference span with its outcome."""
    if through == "SDK":
        stream = litellm.completion(
            model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, api_key="sk-test",
            api_base=provider.at(behaviour, "/v1"), max_retries=0,
        )  # fmt: skip
    else:
        stream = _router(provider, behaviour).completion(model="group", messages=MESSAGES, stream=True)
    leave(stream)
    del stream
    gc.collect()

    (span,) = bridge.inference()
    # A Router's own wrapper, when it is collected, may close the stream that it holds.
    allowed = {outcome, "closed_early"} if (leave, through) == (next, "Router") else {outcome}
    assert (span.attributes or {})["litellm.stream.outcome"] in allowed


def _swallow(read: Callable[[Any], Any], stream: Any) -> None:
    with suppress(Exception):
        read(stream)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "text-completion-openai/gpt-3.5-turbo-instruct"])
@pytest.mark.parametrize("prompt", ["Is there anybody?", ["Is there", "anybody?"]], ids=["one prompt", "two"])
async def test_a_text_completion_that_is_left(
    prompt: str | list[str], model: str, is_async: bool, bridge: Bridge, openai_kwargs: dict[str, Any]
) -> None:
    """Its tokens are counted from all chunks that were read, and from its prompts; callbacks get the answer as far as it came."""
    answers: list[str] = []
    registration = callbacks.register(lambda event: answers.append(str(event.response_obj)), mode="tracked")
    asked: dict[str, Any] = {"model": model, "prompt": prompt, "stream": True, **openai_kwargs}
    if is_async:
        stream = await litellm.atext_completion(**asked)
        chunks = [await anext(stream) for _ in range(5)]
    else:
        stream = litellm.text_completion(**asked)
        chunks = [next(stream) for _ in range(5)]
    said = "".join(chunk.choices[0].text or "" for chunk in chunks)
    del stream
    attributes: dict[str, Any] = dict(bridge.span().attributes or {})
    assert not (await callbacks.adrain(10)).pending
    registration.remove()

    read = [{"role": "user", "content": text} for text in ([prompt] if isinstance(prompt, str) else prompt)]
    assert attributes["gen_ai.usage.input_tokens"] == litellm.token_counter(model="", messages=read)
    assert attributes["gen_ai.usage.output_tokens"] == litellm.token_counter(model="", text=said) > 1
    assert attributes["litellm.cost.total"] > 0
    (answer,) = answers
    assert said in answer


def test_held_until_exit_is_ended_by_finish_open(make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any]) -> None:
    """A stream that somebody still holds when the process ends is ended then, with all that was read of it, and marked."""
    from otel_llm_bridge.invocation import finish_open

    bridge = make_bridge(capture_content="SPAN_ONLY")

    def read_three() -> Any:
        stream = litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, **openai_kwargs)
        for _ in range(3):
            next(stream)
        return stream

    read_three()  # and left
    left = dict(bridge.span().attributes or {})
    held = read_three()
    assert len(bridge.all()) == 1
    assert finish_open("process_exit") == 1
    _, span = bridge.all()
    told = dict(span.attributes or {})
    assert told.keys() == left.keys() and "gen_ai.response.time_to_first_chunk" in told
    own = {"litellm.stream.outcome": "process_exit"} | {name: told[name] for name in told if "time_to" in name or name.endswith((".id", "_id"))}
    assert told == left | own
    list(held)
    assert len(bridge.all()) == 2


async def test_the_stream_is_the_librarys_own(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """The proxy passes isinstance, attributes and hasattr, and has no special method that the stream lacks."""
    plain_type = litellm.CustomStreamWrapper
    stream = await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, **openai_kwargs)
    assert isinstance(stream, plain_type)
    assert stream.model == "gpt-4o-mini"
    assert stream.logging_obj.litellm_call_id
    assert hasattr(stream, "aclose") == hasattr(plain_type, "aclose")
    assert hasattr(stream, "close") == hasattr(plain_type, "close")
    assert isinstance(stream, AsyncIterator)
    only_sync = await litellm.aresponses(model="openai/gpt-4o-mini", input="x", stream=True, **openai_kwargs)
    assert not isinstance(only_sync, Iterator)
    await _drained(only_sync)
    stream.own_attribute = 1
    assert stream.own_attribute == 1
    del stream.own_attribute
    assert not hasattr(stream, "own_attribute")
    await _drained(stream)


def _seen(stream: Any) -> dict[str, Any]:
    """What a program can see of a stream, but for what varies."""
    told: dict[str, Any] = {"is": {kind.__name__ for kind in (*_KINDS, litellm.CustomStreamWrapper) if isinstance(stream, kind)}}
    told["has"] = {name for name in dir(object) + [name for kind in _KINDS for name in dir(kind)] if hasattr(stream, name)}
    for name, see in _SIGHTS.items():
        try:
            told[name] = see(stream)
        except Exception as error:
            told[name] = repr(error)
    return told


_KINDS: list[Any] = [
    *(getattr(collections.abc, name) for name in collections.abc.__all__ if name != "ByteString"),
    contextlib.AbstractContextManager, contextlib.AbstractAsyncContextManager, os.PathLike,
    typing.SupportsInt, typing.SupportsFloat, typing.SupportsIndex, typing.SupportsBytes, typing.SupportsRound,
]  # fmt: skip
_SIGHTS: dict[str, Callable[[Any], Any]] = {
    "name": lambda stream: (type(stream).__name__, stream.__class__, stream.__doc__, stream.__module__),
    "repr": lambda stream: (repr(stream).split(" at ")[0], str(stream).split(" at ")[0], f"{stream}".split(" at ")[0]),
    "dir": lambda stream: set(dir(stream)) - {"__slotnames__"},  # the first copy leaves it on the class
    "vars": lambda stream: sorted(vars(stream)),
    "copy": lambda stream: type(copy.copy(stream)).__name__,
    "equal": lambda stream: (stream == stream, stream != stream, stream == 1, hash(stream) == hash(stream), bool(stream)),  # noqa: PLR0124
    "weak": lambda stream: weakref.ref(stream)() is stream,
    "unwrapped": lambda stream: inspect.unwrap(stream) is stream,
    "len": len, "int": int, "call": lambda stream: stream(), "item": lambda stream: stream[0], "add": lambda stream: stream + 1,
}  # fmt: skip


@pytest.mark.parametrize("call", ["completion", "acompletion", "responses", "aresponses"])
def test_only_the_type_tells_the_proxy(call: str, make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any]) -> None:
    """Whatever a program asks a stream, it is told what LiteLLM's own stream tells."""
    asked: dict[str, Any] = {"messages": MESSAGES} if "completion" in call else {"input": "x"}

    def see() -> dict[str, Any]:
        made = getattr(litellm, call)(model="openai/gpt-4o-mini", stream=True, **asked, **openai_kwargs)
        if not call.startswith("a"):
            return _seen(made)

        async def see_async() -> dict[str, Any]:
            return _seen(await made)

        return asyncio.run(see_async())

    without = see()
    make_bridge()
    assert see() == without


class _Owing:
    """A recorder whose call owes a callback that wants its error raised."""

    context = None
    outcome = ""

    def __init__(self) -> None:
        self.invocation = SimpleNamespace(finished=True, owed=None)

    def left(self, outcome: str, error: BaseException | None) -> None:
        self.outcome, self.error = outcome, error
        self.invocation.owed = self

    def settle(self) -> None:
        raise PermissionError

    async def asettle(self) -> None:
        self.settle()


class _Block:
    """A stream that is used in a ``with`` block."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("raised", "expected"), [(None, PermissionError), (ValueError(), PermissionError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
async def test_what_leaves_a_block_around_a_stream(raised: BaseException | None, expected: type[BaseException]) -> None:
    """A callback's error takes the place of an ordinary one, and not of a cancellation or Ctrl-C."""
    recorder: Any = _Owing()
    with pytest.raises(expected), proxy_for(_Block(), recorder):
        if raised is not None:
            raise raised
    assert (recorder.outcome, recorder.error, recorder.invocation.owed) == ("closed_early", raised, None)
    recorder = _Owing()
    with pytest.raises(expected):
        async with proxy_for(_Block(), recorder):
            if raised is not None:
                raise raised
    assert (recorder.outcome, recorder.error, recorder.invocation.owed) == ("closed_early", raised, None)
    with pytest.raises(PermissionError):
        proxy_for(_Block(), _Owing()).close()  # type: ignore[arg-type]


async def test_context_is_the_callers_between_reads(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """While the caller has a stream in hand, its own Context is the current one."""
    from opentelemetry import context, trace

    before = context.get_current()
    stream = await litellm.acompletion(model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, **openai_kwargs)
    assert context.get_current() == before
    async for _ in stream:
        assert context.get_current() == before
        assert not trace.get_current_span().get_span_context().is_valid
    assert context.get_current() == before


@pytest.mark.slow
async def test_a_thousand_left_streams_are_silent(
    bridge: Bridge, openai_kwargs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """1,000 streams, closed by the collector or from another task, log nothing and end once each."""

    async def read_one(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            break

    with caplog.at_level(logging.WARNING, logger="opentelemetry.context"):
        for batch in range(20):
            streams = await asyncio.gather(*(
                litellm.acompletion(
                    model="openai/gpt-4o-mini", messages=MESSAGES, stream=True, mock_response="one two three", **openai_kwargs
                )
                for _ in range(50)
            ))  # fmt: skip
            await asyncio.gather(*(asyncio.create_task(read_one(stream)) for stream in streams))
            if batch % 2:
                await asyncio.gather(*(asyncio.create_task(_close(stream)) for stream in streams))
            del streams
            gc.collect()
    assert [record for record in caplog.records if record.name == "opentelemetry.context"] == []
    assert len(bridge.all()) == 1000


async def _close(stream: Any) -> None:
    if hasattr(stream, "aclose"):
        await stream.aclose()


def test_where_no_thread_can_be_started(make_bridge: Callable[..., Bridge], openai_kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Late in an exit, and under a limit on threads: a stream is read as ever, and one that is left is ended when the rest is."""
    fresh = Reaper()
    monkeypatch.setattr(streams, "reaper", fresh)

    start = threading.Thread.start

    def refuse_ours(thread: threading.Thread) -> None:
        if thread.name.startswith("otel-llm-bridge"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_ours)
    bridge = make_bridge()
    asked: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, "stream": True, **openai_kwargs}
    assert len(list(litellm.completion(**asked))) > 2
    left = litellm.completion(**asked)
    next(left)
    del left
    gc.collect()
    fresh.settle()
    outcomes = [(span.attributes or {})["litellm.stream.outcome"] for span in bridge.all()]
    assert outcomes == ["complete", "abandoned"]

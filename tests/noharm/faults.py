"""A fault in each function of ours that a call runs, one after the other: prints as JSON which calls came out differently, by function.

Run as a program: it gives functions other code.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import pkgutil
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import litellm
from opentelemetry.sdk.trace import TracerProvider

import otel_llm_bridge
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.invocation import disown_open

MESSAGES = [{"role": "user", "content": "x"}]
#: What no call runs, and what the other tests try with faults of their own.
BESIDE = {"viewer", "demo", "doctor", "commands", "cli", "pytest_plugin", "export", "proxy"}


class Injected(RuntimeError):
    """A fault of ours."""


def raises(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise Injected("injected")


async def raises_async(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise Injected("injected")


def raises_later(*_args: Any, **_kwargs: Any) -> Iterator[None]:
    raise Injected("injected")
    yield


def functions() -> Iterator[tuple[str, types.FunctionType]]:
    """Every function and method of the package that may be given other code."""
    for found in pkgutil.walk_packages(otel_llm_bridge.__path__, "otel_llm_bridge."):
        if not BESIDE.isdisjoint(found.name.split(".")):
            continue
        module = importlib.import_module(found.name)
        for name, thing in list(vars(module).items()):
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            for inner, member in list(vars(thing).items()) if inspect.isclass(thing) else [("", thing)]:
                plain = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if isinstance(plain, types.FunctionType) and plain.__module__ == module.__name__ and not plain.__code__.co_freevars:
                    yield ".".join(filter(None, (found.name.removeprefix("otel_llm_bridge."), name, inner))), plain


def calls(provider: FakeProvider) -> dict[str, Callable[[], Any]]:
    """One call of each kind."""
    asked: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_base": provider.api_base, "api_key": "sk-test", "max_retries": 0}
    parameters = {name: value for name, value in asked.items() if name != "messages"}
    router = litellm.Router([{"model_name": "group", "litellm_params": parameters}], num_retries=0)

    async def stream(most: int | None = None) -> list[Any]:
        chunks, found = await litellm.acompletion(**asked, stream=True), []
        async for chunk in chunks:
            found.append(chunk)
            if len(found) == most:
                await chunks.aclose()
                break
        return found

    async def router_stream() -> list[Any]:
        return [chunk async for chunk in await router.acompletion(model="group", messages=MESSAGES, stream=True)]

    return {
        "sync": lambda: litellm.completion(**asked),
        "sync stream": lambda: list(litellm.completion(**asked, stream=True)),
        "async": lambda: asyncio.run(litellm.acompletion(**asked)),
        "async stream": lambda: asyncio.run(stream()),
        "a stream that is closed": lambda: asyncio.run(stream(1)),
        "error": lambda: litellm.completion(**{**asked, "model": "openai/error-401"}),
        "async error": lambda: asyncio.run(litellm.acompletion(**{**asked, "model": "openai/error-429"})),
        "router": lambda: router.completion(model="group", messages=MESSAGES),
        "async router": lambda: asyncio.run(router.acompletion(model="group", messages=MESSAGES)),
        "router stream": lambda: asyncio.run(router_stream()),
        "embedding": lambda: litellm.embedding(model="openai/text-embedding-3-small", input=["x"], api_base=provider.api_base, api_key="sk-test"),
    }


def outcome(call: Callable[[], Any]) -> str:
    """What a program sees of a call, without what varies."""
    try:
        result = call()
    except Exception as error:
        return f"{type(error).__name__} {getattr(error, 'status_code', None)}"
    told = [one.model_dump(exclude={"id", "created", "system_fingerprint"}) for one in (result if isinstance(result, list) else [result])]
    return json.dumps(told, default=str)


def reached(every: dict[str, Callable[[], Any]]) -> set[types.CodeType]:
    """The code that the calls run, in any thread."""
    found: set[types.CodeType] = set()

    def see(frame: types.FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            found.add(frame.f_code)

    threading.setprofile(see)
    sys.setprofile(see)
    try:
        for call in every.values():
            outcome(call)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return found


def main() -> None:
    """Try all of them."""
    logging.disable(logging.CRITICAL)
    litellm.suppress_debug_info = True
    steps = dict(functions())
    different: dict[str, list[str]] = {}
    tried = 0
    with FakeProvider() as provider:
        every = calls(provider)
        without = {name: outcome(call) for name, call in every.items()}
        otel_llm_bridge.instrument(tracer_provider=TracerProvider(shutdown_on_exit=False), handle_signals=False)
        run = reached(every)
        for name, function in steps.items():
            own = function.__code__
            if own not in run:
                continue
            tried += 1
            kinds = ((inspect.iscoroutinefunction, raises_async), (inspect.isgeneratorfunction, raises_later))
            fault: Any = next((broken for is_kind, broken in kinds if is_kind(function)), raises)
            function.__code__ = fault.__code__
            try:
                got = {call: outcome(make) for call, make in every.items()}
            finally:
                function.__code__ = own
            disown_open()
            if bad := [call for call in every if got[call] != without[call]]:
                different[name] = bad
        otel_llm_bridge.uninstrument()
    print(json.dumps({"tried": tried, "different": different}))


if __name__ == "__main__":
    main()

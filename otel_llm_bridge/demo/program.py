"""The demo's program: about a dozen LiteLLM calls as anybody writes them. It knows nothing of observability.

``python -m otel_llm_bridge.demo.program --provider http://127.0.0.1:8080`` calls a fake provider that runs there;
without the option it starts one of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from .provider import FakeProvider

#: `main` imports it: that takes seconds, and LiteLLM reads its environment then.
litellm: Any
#: The provider's root URL.
_url = ""

Step = Callable[[], str]


def _at(behaviour: str = "ok", version: str = "/v1") -> dict[str, Any]:
    """Where the provider is, and how it is to behave there."""
    # Clients of providers repeat a failed call by themselves, where nobody sees it.
    return {"api_base": f"{_url}/as/{behaviour}{version}", "api_key": "sk-no-key-is-needed", "max_retries": 0}


def _ask(question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}]


def _said(response: Any) -> str:
    return str(response.choices[0].message.content)


def sync_call() -> str:
    """A plain call"""
    return _said(litellm.completion(model="openai/gpt-4o-mini", messages=_ask("What is the capital of France?"), temperature=0.2, **_at()))


def async_call() -> str:
    """An async call under asyncio.run, of a model that thinks first"""
    call = litellm.acompletion(model="openai/o4-mini", messages=_ask("At what heat does water boil?"), **_at("slow-40ms+reasoning"))
    return _said(asyncio.run(call))


def other_provider() -> str:
    """A call of another provider"""
    at = _at(version="")
    return _said(litellm.completion(model="anthropic/claude-sonnet-4-5", messages=_ask("What is seven times eight?"), max_tokens=200, **at))


def streamed() -> str:
    """A stream, read to its end"""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    stream = litellm.completion(model="openai/gpt-4o-mini", messages=_ask("Count for me."), **options, **_at("stream-10ms+words-20"))
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def left_early() -> str:
    """A stream, left after three words"""

    async def read_three_words() -> str:
        at = _at("stream-20ms+words-500")
        words: list[str] = []
        async for chunk in await litellm.acompletion(model="openai/gpt-4o-mini", messages=_ask("Count."), stream=True, **at):
            if text := chunk.choices[0].delta.content:
                words.append(text)
            if len(words) == 3:
                break
        return "".join(words)

    return asyncio.run(read_three_words())


def tool_call() -> str:
    """A tool call: the model asks, the program answers, the model goes on"""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "get_weather", "description": "The weather in a city", "parameters": parameters}}]
    messages = _ask("How is the weather in Paris?")
    asked = litellm.completion(model="openai/gpt-4o-mini", messages=messages, tools=tools, **_at()).choices[0].message
    call = asked.tool_calls[0]
    weather = f"18 degrees and sunny in {json.loads(call.function.arguments)['city']}"
    messages += [asked.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": weather}]
    return f"{call.function.name} -> " + _said(litellm.completion(model="openai/gpt-4o-mini", messages=messages, tools=tools, **_at()))


def embedding() -> str:
    """Two embeddings"""
    texts = ["A trace is a tree of spans.", "A span is a named interval."]
    response = litellm.embedding(model="openai/text-embedding-3-small", input=texts, **_at())
    return f"{len(response.data)} vectors of {len(response.data[0]['embedding'])} numbers"


def responses() -> str:
    """A call of the Responses API"""
    return str(litellm.responses(model="openai/gpt-4o-mini", input="What is a trace?", **_at()).output[0].content[0].text)


def error() -> str:
    """A call with a wrong key"""
    try:
        litellm.completion(model="openai/gpt-4o-mini", messages=_ask("Hello?"), **_at("error-401"))
    except litellm.AuthenticationError as wrong:
        return f"caught {type(wrong).__name__}"
    raise AssertionError("the provider accepted a wrong key")


def router_retry() -> str:
    """A Router whose provider is overloaded at first"""
    router = _router({"assistant": ["error-503,ok"] * 2}, num_retries=2)
    return _said(asyncio.run(router.acompletion(model="assistant", messages=_ask("Are you there?"))))


def router_fallback() -> str:
    """A Router that falls back to another group"""
    router = _router({"fast": ["error-500"], "careful": ["ok"]}, num_retries=0, fallbacks=[{"fast": ["careful"]}])
    return _said(router.completion(model="fast", messages=_ask("Who answers?")))


def _router(groups: dict[str, list[str]], **options: Any) -> Any:
    """A Router with one deployment for each behaviour of each group."""
    deployments = [
        {"model_name": group, "litellm_params": {"model": "openai/gpt-4o-mini", **_at(behaviour)}, "model_info": {"id": f"{group}-{number}"}}
        for group, behaviours in groups.items()
        for number, behaviour in enumerate(behaviours, 1)
    ]
    return litellm.Router(model_list=deployments, **options)


def cancelled() -> str:
    """A call that takes too long, cancelled by its caller"""

    async def wait() -> str:
        call = litellm.acompletion(model="openai/gpt-4o-mini", messages=_ask("Take your time."), **_at("timeout"))
        try:
            return _said(await asyncio.wait_for(call, 0.2))
        except asyncio.TimeoutError:
            return "gave up after 0.2 s"

    return asyncio.run(wait())


def concurrent() -> str:
    """Five calls at once"""

    async def ask_all() -> list[Any]:
        questions = [f"What is {number} times eight?" for number in range(5)]
        return await asyncio.gather(*(litellm.acompletion(model="openai/gpt-4o-mini", messages=_ask(one), **_at("slow-50ms")) for one in questions))

    return f"{len(asyncio.run(ask_all()))} answers"


STEPS: Final[tuple[Step, ...]] = (
    sync_call, async_call, streamed, left_early, other_provider, tool_call, embedding,
    responses, error, router_retry, router_fallback, cancelled, concurrent,
)  # fmt: skip


def _run_steps() -> None:
    for number, step in enumerate(STEPS, 1):
        print(f"{number:2}. {step.__doc__}: {step()}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the calls one after another and print a line for each.

    Args:
        argv: the arguments of the command line; those of the process unless given.

    Raises:
        Exception: whatever a call raised that should have succeeded.
    """
    global _url, litellm
    parser = argparse.ArgumentParser(prog="python -m otel_llm_bridge.demo.program", description="About a dozen LiteLLM calls to a fake provider.")
    parser.add_argument("--provider", metavar="URL", help="root URL of a fake provider; one is started unless given")
    _url = parser.parse_args(argv).provider or ""
    # Without it, LiteLLM asks the network for its price list.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    if _url:
        _run_steps()
    else:
        with FakeProvider() as provider:
            _url = provider.url
            _run_steps()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What a user of each framework writes. Run as ``python programs.py NAME``; it knows nothing of the bridge.

Everything happens under one span of the program's own, made with its own provider.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

MODEL = "openai/gpt-4o-mini"
KEY = "sk-no-key-is-needed"


def at(behaviour: str = "ok") -> str:
    """The base URL of a provider that behaves so."""
    return f"{os.environ['PROVIDER']}/as/{behaviour}/v1"


def smolagents_model() -> None:
    """The model alone."""
    from smolagents import LiteLLMModel

    model = LiteLLMModel(model_id=MODEL, api_base=at(), api_key=KEY)
    model.generate([{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}])


def smolagents_agent() -> None:
    """An agent whose model calls the tool that ends it."""
    from smolagents import LiteLLMModel, ToolCallingAgent

    agent = ToolCallingAgent(tools=[], model=LiteLLMModel(model_id=MODEL, api_base=at("tool"), api_key=KEY), max_steps=2)
    agent.run("What is a trace?")


def dspy_sync() -> None:
    """One sync call. DSPy 3.4 asks a provider by itself unless it is told to use LiteLLM."""
    import dspy

    dspy.LM(MODEL, api_base=at(), api_key=KEY, cache=False, engine="litellm")("Hello?")


def dspy_async() -> None:
    """Three async calls at once."""
    import dspy

    lm = dspy.LM(MODEL, api_base=at(), api_key=KEY, cache=False, engine="litellm")

    async def ask() -> None:
        await asyncio.gather(*(lm.acall(f"Question {number}?") for number in range(3)))

    asyncio.run(ask())


def _agent(behaviour: str, **more: Any) -> Any:
    from agents import Agent, set_tracing_disabled
    from agents.extensions.models.litellm_model import LitellmModel

    set_tracing_disabled(True)  # it would send to OpenAI
    return Agent(name="helper", instructions="Be brief.", model=LitellmModel(model=MODEL, base_url=at(behaviour), api_key=KEY), **more)


def openai_agents() -> None:
    """An agent that answers at once."""
    from agents import Runner

    Runner.run_sync(_agent("ok"), "Hello?")


def openai_agents_tool() -> None:
    """An agent that calls a tool and answers then: two calls."""
    from agents import Runner, function_tool

    @function_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    Runner.run_sync(_agent("tool,ok", tools=[get_weather]), "How is the weather?")


def openai_agents_stream() -> None:
    """An agent whose answer streams."""
    from agents import Runner

    async def read() -> None:
        async for _ in Runner.run_streamed(_agent("ok"), "Hello?").stream_events():
            pass

    asyncio.run(read())


def langchain_sync() -> None:
    """A chat model of LangChain, sync."""
    from langchain_litellm import ChatLiteLLM

    ChatLiteLLM(model=MODEL, api_base=at(), api_key=KEY).invoke("Hello?")


def langchain_async() -> None:
    """The same, async."""
    from langchain_litellm import ChatLiteLLM

    asyncio.run(ChatLiteLLM(model=MODEL, api_base=at(), api_key=KEY).ainvoke("Hello?"))


def langchain_stream() -> None:
    """The same, as a stream."""
    from langchain_litellm import ChatLiteLLM

    for _ in ChatLiteLLM(model=MODEL, api_base=at(), api_key=KEY).stream("Hello?"):
        pass


def langchain_batch() -> None:
    """Three calls in LangChain's own threads."""
    from langchain_litellm import ChatLiteLLM

    ChatLiteLLM(model=MODEL, api_base=at(), api_key=KEY).batch(["One?", "Two?", "Three?"])


def langchain_router() -> None:
    """LangChain on a Router, whose first deployment fails."""
    from langchain_litellm import ChatLiteLLMRouter
    from litellm import Router

    params = {"model": MODEL, "api_key": KEY, "max_retries": 0}
    router = Router(
        model_list=[
            {"model_name": "fast", "litellm_params": {**params, "api_base": at("error-500")}},
            {"model_name": "careful", "litellm_params": {**params, "api_base": at()}},
        ],
        num_retries=0,
        fallbacks=[{"fast": ["careful"]}],
    )
    ChatLiteLLMRouter(router=router, model_name="fast").invoke("Hello?")


def main() -> None:
    """Run one of them under a span of the program's own."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("app").start_as_current_span("work"):
        globals()[sys.argv[1]]()


if __name__ == "__main__":
    main()

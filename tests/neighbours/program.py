"""What a child process runs: calls with another instrumentation active, under each policy; prints the spans as JSON.

A process of its own for each neighbour: instrumentations do not come off again as cleanly as they go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_llm_bridge
from otel_llm_bridge import streams
from otel_llm_bridge.demo.provider import FakeProvider

exporter: Final = InMemorySpanExporter()
provider: Final = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))

MESSAGES: Final = [{"role": "user", "content": "Is there anybody?"}]


def instrumentor(module: str, name: str) -> Callable[[], None]:
    """Switch on an instrumentor as its documentation says."""
    return lambda: getattr(importlib.import_module(module), name)().instrument()


def openlit() -> None:
    """openlit switches on all it has."""
    importlib.import_module("openlit").init(disable_metrics=True)


def litellm_otel() -> None:
    """LiteLLM's own callback, first version."""
    import litellm

    litellm.callbacks = ["otel"]


@contextlib.contextmanager
def _framework(name: str, attributes: dict[str, Any]) -> Iterator[None]:
    with trace.get_tracer("some.framework").start_as_current_span(name, attributes=attributes):
        yield


def no_frame() -> contextlib.AbstractContextManager[None]:
    """Calls are made by the program itself."""
    return contextlib.nullcontext()


#: A framework that makes its own LLM span around LiteLLM, in both vocabularies.
FRAMES: Final[dict[str, Callable[[], contextlib.AbstractContextManager[None]]]] = {
    "framework-gen_ai": lambda: _framework("chat gpt", {"gen_ai.operation.name": "chat"}),
    "framework-openinference": lambda: _framework("ChatLiteLLM", {"openinference.span.kind": "LLM"}),
    "framework-agent": lambda: _framework("invoke_agent", {"gen_ai.operation.name": "invoke_agent"}),
}

NEIGHBOURS: Final[dict[str, Callable[[], None]]] = {
    "openai-official": instrumentor("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    "openai-contrib": instrumentor("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
    "httpx": instrumentor("opentelemetry.instrumentation.httpx", "HTTPXClientInstrumentor"),
    "aiohttp": instrumentor("opentelemetry.instrumentation.aiohttp_client", "AioHttpClientInstrumentor"),
    "openinference-litellm": instrumentor("openinference.instrumentation.litellm", "LiteLLMInstrumentor"),
    "openinference-openai": instrumentor("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    "traceloop-litellm": instrumentor("opentelemetry.instrumentation.litellm", "LiteLLMInstrumentor"),
    "traceloop-openai": instrumentor("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    "openlit": openlit,
    "litellm-otel": litellm_otel,
    **dict.fromkeys(FRAMES, lambda: None),
}


def _calls(server: FakeProvider) -> list[tuple[str, Callable[[], Any]]]:
    import litellm

    to = {"api_base": f"{server.url}/v1", "api_key": "sk-test", "max_retries": 0}
    chat = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, **to}
    router = litellm.Router([{"model_name": "group", "litellm_params": {"model": "openai/gpt-4o-mini", **to}}], num_retries=0)

    async def stream() -> None:
        async for _ in await litellm.acompletion(stream=True, **chat):
            pass

    return [
        ("sync", lambda: litellm.completion(**chat)),
        ("sync stream", lambda: list(litellm.completion(stream=True, **chat))),
        ("async", lambda: asyncio.run(litellm.acompletion(**chat))),
        ("async stream", lambda: asyncio.run(stream())),
        ("router", lambda: asyncio.run(router.acompletion(model="group", messages=MESSAGES))),
        ("embedding", lambda: litellm.embedding(**{**chat, "model": "openai/text-embedding-3-small", "messages": None, "input": ["x"]})),
    ]  # fmt: skip


def is_llm(span: Any) -> bool:
    """Whether a backend would count the span as a call of a model."""
    attributes = span.attributes or {}
    return (
        attributes.get("openinference.span.kind") in ("LLM", "EMBEDDING")
        or attributes.get("gen_ai.operation.name") in ("chat", "embeddings", "text_completion")
        or span.name in ("litellm_request", "raw_gen_ai_request")
    )


def describe(span: Any) -> dict[str, Any]:
    """What the test wants to know of one span."""
    return {
        "name": span.name,
        "scope": span.instrumentation_scope.name,
        "id": span.context.span_id,
        "parent": span.parent.span_id if span.parent else None,
        "llm": is_llm(span),
        "attributes": sorted(span.attributes or {}),
    }


def main(neighbour: str, order: str, policies: list[str]) -> None:
    """``order``: whether the neighbour is there before the bridge or comes after it."""
    trace.set_tracer_provider(provider)
    frame = FRAMES.get(neighbour, no_frame)
    if order == "before":
        NEIGHBOURS[neighbour]()
    found: dict[str, dict[str, Any]] = {}
    with FakeProvider() as server:
        for policy in policies:
            otel_llm_bridge.instrument(strict=True, handle_signals=False, metrics="none", neighbours=policy)
            if order == "after" and policy == policies[0]:
                NEIGHBOURS[neighbour]()
            for name, call in _calls(server):
                exporter.clear()
                with frame():
                    call()
                streams.settle_left_streams(5)
                _wait_for_callbacks(neighbour)
                spans = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
                found.setdefault(policy, {})[name] = [describe(span) for span in spans]
            otel_llm_bridge.uninstrument()
    print("SPANS " + json.dumps(found))


def _wait_for_callbacks(neighbour: str) -> None:
    """LiteLLM's own callbacks make their spans after the call, in other threads."""
    if neighbour == "litellm-otel":
        from litellm.litellm_core_utils.thread_pool_executor import executor

        executor.submit(lambda: None).result(10)
        from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

        asyncio.run(GLOBAL_LOGGING_WORKER.flush())


if __name__ == "__main__":
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    main(sys.argv[1], sys.argv[2], sys.argv[3].split(","))

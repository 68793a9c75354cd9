"""Parts that all tests share: the real LiteLLM, a fake provider on loopback, the bridge in strict mode."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

# Without it, LiteLLM asks the network for its price list when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import hypothesis
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

# Recent OpenAI clients load it lazily, and not safely from several threads at once.
with contextlib.suppress(ImportError):
    import httpx2  # noqa: F401

import otel_llm_bridge
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.pytest_plugin import LLMSpans

# A shell starts what runs in the background with these signals ignored, and every child would inherit it.
for _signal, _action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _action)

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared machine")

#: For what needs a new thread once the program's own last line has run.
THREADS_AT_EXIT = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2), reason="Python 3.12.0 and 3.12.1 start no thread then (python/cpython#113964)"
)

#: What a user asks in most tests; no assertion depends on its words.
MESSAGES = [{"role": "user", "content": "Is there anybody?"}]


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    """The fake provider, one for the session."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
def openai_kwargs(provider: FakeProvider) -> dict[str, Any]:
    """What makes LiteLLM send an ``openai/…`` model to the fake provider."""
    return {"api_base": f"{provider.url}/v1", "api_key": "sk-test", "max_retries": 0}


async def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Let the loop run until ``condition`` holds.

    Raises:
        TimeoutError: it does not hold after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        await asyncio.sleep(0.005)


async def cancelled_on_its_way(provider: FakeProvider, call: Coroutine[Any, Any, Any]) -> None:
    """Cancel ``call``, which asks for the behaviour ``timeout``, once its request has arrived.

    Not after a time: the first call of a process takes seconds on a busy machine, and where it is cancelled before it
    has sent anything, LiteLLM leaves a coroutine that nobody awaits.

    Raises:
        CancelledError: as the call does.
    """

    def waiting() -> int:
        return sum(request.behaviour == "timeout" for request in provider.requests)

    before, task = waiting(), asyncio.ensure_future(call)
    await eventually(lambda: waiting() > before or task.done(), 60)
    task.cancel()
    await task


class Bridge(LLMSpans):
    """What the bridge has recorded, as users' tests see it."""

    def span(self) -> ReadableSpan:
        """The only span, whatever its kind."""
        (span,) = self.all()
        return span


@pytest.fixture
def make_bridge() -> Iterator[Callable[..., Bridge]]:
    """Switch the bridge on with options, for one test; it is off again afterwards."""

    def make(**options: Any) -> Bridge:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        otel_llm_bridge.instrument(**{"tracer_provider": provider, "strict": True, "handle_signals": False, **options})
        return Bridge(provider, exporter)

    yield make
    otel_llm_bridge.uninstrument()


@pytest.fixture
def bridge(make_bridge: Callable[..., Bridge]) -> Bridge:
    """The bridge with its defaults, faults of its own raised."""
    return make_bridge()

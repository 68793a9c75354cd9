"""Twenty thousand calls with random faults: nothing stays open, and memory does not grow with them."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litellm
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import otel_llm_bridge
from otel_llm_bridge import invocation, streams
from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import MESSAGES

CALLS, WARM, AT_ONCE = 20_000, 4_000, 25
#: What twenty thousand calls may leave behind, LiteLLM's own growth included.
GROWTH_MB = 60


class Counting(SpanExporter):
    """Counts spans by how their stream or they ended, and keeps none."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            facts = span.attributes or {}
            self.seen[str(facts.get("litellm.stream.outcome") or facts.get("error.type") or "complete")] += 1
        return SpanExportResult.SUCCESS


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def _one(chance: random.Random, provider: FakeProvider) -> str:
    """One call of a random kind; returns what must be counted."""
    asked: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_base": f"{provider.url}/v1", "api_key": "k", "max_retries": 0}
    kind = chance.random()
    if kind < 0.02:  # the provider itself, well or badly
        model = chance.choice(["gpt-4o-mini", "error-500", "error-429", "bad-json"])
        try:
            await litellm.acompletion(**{**asked, "model": f"openai/{model}"})
        except litellm.exceptions.APIError as error:
            return type(error).__name__
        except Exception as error:
            return type(error).__name__
        return "complete"
    if kind < 0.60:
        await litellm.acompletion(**asked, mock_response="Hi")
        return "complete"
    if kind < 0.75:
        litellm.completion(**asked, mock_response="Hi")
        return "complete"
    if kind < 0.85:
        error = litellm.RateLimitError(message="x", llm_provider="openai", model="m")
        try:
            await litellm.acompletion(**asked, mock_response=error)
        except litellm.RateLimitError:
            return "RateLimitError"
    stream = await litellm.acompletion(**asked, mock_response="Hi there, how do you do?", stream=True)
    if kind < 0.95:
        async for _ in stream:
            pass
        return "complete"
    async for _ in stream:
        break
    return "left"  # dropped: the garbage collector is what ends it


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_soak(provider: FakeProvider) -> None:
    """Every call has its span, with the end that it had; open invocations return to none; memory stays."""
    exporter, tracer_provider = Counting(), TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * CALLS))
    otel_llm_bridge.instrument(tracer_provider=tracer_provider, strict=True, handle_signals=False)
    chance, expected, before = random.Random(20_000), Counter[str](), 0.0

    async def run(calls: int) -> None:
        for _ in range(calls // AT_ONCE):
            expected.update(await asyncio.gather(*(_one(chance, provider) for _ in range(AT_ONCE))))

    try:
        asyncio.run(run(WARM))
        gc.collect()
        before = _resident_mb()
        asyncio.run(run(CALLS - WARM))
        gc.collect()
        streams.settle_left_streams(10)
        after = _resident_mb()
    finally:
        otel_llm_bridge.uninstrument()
    assert tracer_provider.force_flush(30_000)
    assert list(invocation.open_invocations()) == []
    kept = sum(isinstance(one, invocation.Invocation) for one in gc.get_objects())
    left = expected.pop("left")
    seen = Counter(exporter.seen)
    assert seen.pop("abandoned", 0) + seen.pop("closed_early", 0) == left
    assert seen == expected
    assert kept < 500, f"{kept} finished invocations are still referred to"
    assert after - before < GROWTH_MB
    print(f"soak: {CALLS} calls, {after - before:.1f} MB more, {kept} invocations still referred to")

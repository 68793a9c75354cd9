"""The floor: one call instrumented by hand with the stock SDK, 25 attributes, 4 events, 2 histograms."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind

_ATTRIBUTES: Final = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.request.temperature": 0.2, "gen_ai.request.max_tokens": 200, "server.address": "api.openai.com",
    "server.port": 443, "gen_ai.response.id": "chatcmpl-1", "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.finish_reasons": ("stop",), "gen_ai.usage.input_tokens": 11, "gen_ai.usage.output_tokens": 7,
    "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.reasoning.output_tokens": 2, "app.call.id": "3f2b8c1e",
    "app.call.type": "completion", "app.cost": 0.0000123, "app.cost.currency": "USD", "app.cost.source": "litellm",
    "app.usage.source": "provider", "app.request.id": "req-1", "app.group": "fast", "app.deployment": "fast-1",
    "app.attempt": 1, "app.attempt.kind": "first",
}  # fmt: skip
_EVENTS: Final = ("pre_call", "post_call", "first_chunk", "success")
_LABELS: Final = {name: _ATTRIBUTES[name] for name in (*tuple(_ATTRIBUTES)[:3], "gen_ai.response.model")}


class Hand:
    """Wraps a call as a careful programmer would.

    Args:
        content: the messages go on the span, too, as JSON.
        tracer, meter: the global ones unless given.
    """

    def __init__(self, content: bool = False, tracer: trace.Tracer | None = None, meter: metrics.Meter | None = None) -> None:
        self._content = content
        self._tracer = tracer or trace.get_tracer("by hand")
        meter = meter or metrics.get_meter("by hand")
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", "s")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}")

    def _tell(self, span: Any, messages: Any, began: float) -> None:
        span.set_attributes(_ATTRIBUTES)
        if self._content:
            span.set_attribute("gen_ai.input.messages", json.dumps(messages))
        for event in _EVENTS:
            span.add_event(event)
        # While the span is the current one: an exemplar leads to it.
        self._duration.record(time.perf_counter() - began, _LABELS)
        self._tokens.record(18, {**_LABELS, "gen_ai.token.type": "input"})

    def sync(self, one: Callable[..., Any], messages: Any) -> Any:
        """Around a function that makes one call and reads its answer."""
        began = time.perf_counter()
        with self._tracer.start_as_current_span("chat gpt-4o-mini", kind=SpanKind.CLIENT) as span:
            one()
            self._tell(span, messages, began)

    async def awaited(self, one: Callable[..., Any], messages: Any) -> Any:
        """The same for a coroutine function."""
        began = time.perf_counter()
        with self._tracer.start_as_current_span("chat gpt-4o-mini", kind=SpanKind.CLIENT) as span:
            await one()
            self._tell(span, messages, began)

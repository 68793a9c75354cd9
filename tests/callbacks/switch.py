"""The bridge, switched on for tests of callbacks: real drivers, spans that go nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import otel_llm_bridge


def switch_on(**options: Any) -> None:
    """Instrument LiteLLM; a fault of the bridge is raised."""
    otel_llm_bridge.instrument(**{"tracer_provider": TracerProvider(shutdown_on_exit=False), "strict": True, **options})


@contextmanager
def switched_on(**options: Any) -> Iterator[None]:
    """The bridge is on within the block."""
    switch_on(**options)
    try:
        yield
    finally:
        otel_llm_bridge.uninstrument()

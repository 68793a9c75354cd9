"""The bridge, switched on for tests of callbacks: real drivers, spans that go nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import litellm
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from opentelemetry.sdk.trace import TracerProvider

import otel_llm_bridge

#: LiteLLM's lists of callbacks.
LISTS = [name for name in dir(litellm) if name.endswith("callback") and isinstance(getattr(litellm, name), list)] + ["callbacks"]


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


def clean() -> None:
    """LiteLLM has no callbacks, and none that waits."""
    for name in LISTS:
        getattr(litellm, name).clear()
    queue = GLOBAL_LOGGING_WORKER._queue
    while queue is not None and not queue.empty():  # what a control has left
        queue.get_nowait()["coroutine"].close()

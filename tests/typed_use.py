"""The public API as a type checker sees it in a user's program; never run. `make types` checks it, strictly, with mypy and pyright."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typing_extensions import assert_type

import otel_llm_bridge
from otel_llm_bridge import ContentPolicy, LiteLLMInstrumentor, RedactingExporter, RedactingLogExporter, callbacks, redactors
from otel_llm_bridge.callbacks import DrainReport, Event, Registration
from otel_llm_bridge.export.ledger import FlushReport
from otel_llm_bridge.pytest_plugin import LLMSpans


def delivery() -> None:
    """What flush and stats say."""
    otel_llm_bridge.instrument(exit_timeout=3)
    report = otel_llm_bridge.flush(2.0)
    assert_type(report, FlushReport)
    assert_type(report.exported, int)
    assert_type(otel_llm_bridge.stats(), dict[str, Any])
    otel_llm_bridge.uninstrument()
    LiteLLMInstrumentor().instrument()


@otel_llm_bridge.flush_after(timeout=1.0)
def handler(event: dict[str, str], context: object) -> str:
    """A decorated handler keeps its signature."""
    return event["x"]


assert_type(handler({"x": "y"}, None), str)
handler(3, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def whose(response: object) -> None:
    """Blocks, and the trace of a response."""
    with otel_llm_bridge.attributes(user="u", session="s", tags=["a"], team="x"), otel_llm_bridge.suppressed():
        assert_type(otel_llm_bridge.get_trace_id(response), str | None)
    with ThreadPoolExecutor() as pool:
        assert_type(otel_llm_bridge.wrap_executor(pool), ThreadPoolExecutor)
    assert_type(otel_llm_bridge.run_in_context(len)("abc"), int)


async def called_back(event: Event) -> None:
    """A callback and what comes back for it."""
    assert_type(callbacks.register(called_back, on="success", mode="inline"), Registration)
    with callbacks.registered(called_back, local=True) as registration:
        assert_type(registration, Registration)
    assert_type(callbacks.remove(called_back), int)
    assert_type(callbacks.drain(1.0), DrainReport)
    assert_type(await callbacks.adrain(), DrainReport)
    assert_type(callbacks.stats(), dict[str, Any])


def content(logs: Any) -> None:
    """Policies, redactors, exporters."""
    policy = ContentPolicy("SPAN_ONLY", redactors.chain(redactors.emails, redactors.keys))
    RedactingExporter(InMemorySpanExporter(), policy)
    RedactingLogExporter(logs, policy)


def test_in_a_users_suite(llm_spans: LLMSpans) -> None:
    """The fixture."""
    assert_type(llm_spans.inference(), list[ReadableSpan])
    llm_spans.assert_no_orphans()


# A name that is not there is an error, although some are found only when they are asked for.
otel_llm_bridge.flsuh()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

"""Traces through the real Collector into the real Jaeger, and what survives a crash on the way."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_llm_bridge.semconv import gen_ai, litellm

from .programs import until
from .spans import Batch, exporter, router_tree, sent
from .stack import Stack


def tags(holder: dict[str, Any]) -> dict[str, Any]:
    """Jaeger's list of typed pairs as a mapping; of a span or of one of its logs."""
    return {pair["key"]: pair["value"] for pair in holder.get("tags", holder.get("fields", []))}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_router_tree(stack: Stack, protocol: str) -> None:
    """A Router call is read back from Jaeger as one tree, with its attempts, events and error, over both protocols."""
    with sent(stack, f"tree-{protocol}", protocol) as (tracer, _):
        trace_id = router_tree(tracer)
    spans = _arrived(stack, trace_id, 3)
    (root,) = [span for span in spans if not span["references"]]
    failed, served = sorted((span for span in spans if span["references"]), key=lambda span: tags(span)[litellm.ATTEMPT_NUMBER])
    assert root["operationName"] == "litellm.router assistant"
    assert {span["references"][0]["spanID"] for span in (failed, served)} == {root["spanID"]}
    assert [tags(event)["event"] for event in root["logs"]] == [litellm.EVENT_RETRY]
    assert tags(failed)["error"] is True
    assert tags(failed)["otel.status_description"] == "overloaded"
    assert tags(failed)[gen_ai.ERROR_TYPE] == "ServiceUnavailableError"
    assert tags(failed["logs"][0])[gen_ai.EXCEPTION_MESSAGE] == "overloaded"
    assert tags(served)["span.kind"] == "client"
    assert tags(served)[gen_ai.USAGE_OUTPUT_TOKENS] == 34
    assert [tags(event)["event"] for event in served["logs"]] == [litellm.EVENT_FIRST_CHUNK]


def test_killed_collector_loses_nothing(own_stack: Stack) -> None:
    """Spans that the Collector acknowledged while Jaeger was down arrive after a SIGKILL and a restart of both."""
    collector = own_stack.collector()
    expected: dict[str, set[str]] = {}
    for _ in range(50):
        with sent(own_stack, "crash") as (tracer, batch):
            trace_id = router_tree(tracer)
        expected[trace_id] = _ids(batch)
    collector.stop(signal.SIGKILL)
    jaeger = own_stack.jaeger()
    own_stack.collector()
    for trace_id, ids in expected.items():
        jaeger.wait_until(lambda trace_id=trace_id, ids=ids: {span["spanID"] for span in own_stack.trace(trace_id)} == ids, f"all spans of {trace_id} arrived")


def test_killed_again_and_again(own_stack: Stack) -> None:
    """Whatever was acknowledged arrives, though the Collector is killed in the middle of sending and Jaeger is killed, too."""
    jaeger = own_stack.jaeger()
    expected: dict[str, set[str]] = {}
    for _ in range(4):
        collector = own_stack.collector()
        sender = exporter(own_stack)
        for _ in range(25):
            trace_id, batch = _unsent_tree()
            if sender.export(batch.spans) is SpanExportResult.SUCCESS:
                expected[trace_id] = _ids(batch)
        sender.shutdown()
        collector.stop(signal.SIGKILL)
        jaeger.stop(signal.SIGKILL)
        jaeger = own_stack.jaeger()
    own_stack.collector()
    assert len(expected) == 100
    for trace_id, ids in expected.items():
        jaeger.wait_until(lambda trace_id=trace_id, ids=ids: ids <= {span["spanID"] for span in own_stack.trace(trace_id)}, f"all spans of {trace_id} arrived")


def test_full_queue_refuses(own_stack: Stack) -> None:
    """A Collector whose queue on disk is full refuses more, so that the sender keeps it, instead of dropping it."""
    own_stack.environ["COLLECTOR_QUEUE_BYTES"] = "300000"  # more than a batch's least size, which must fit
    own_stack.collector()
    sender = exporter(own_stack, timeout=0.5)  # the SDK repeats a refused request for as long
    results = []
    for _ in range(100):
        _, batch = _unsent_tree(model="m" * 4000)
        results.append(sender.export(batch.spans))
        if results[-1] is SpanExportResult.FAILURE:
            break
    sender.shutdown()
    assert len(results) > 10
    assert results[-1] is SpanExportResult.FAILURE


def _unsent_tree(model: str = "gpt-4o-mini") -> tuple[str, Batch]:
    provider, batch = TracerProvider(resource=Resource({"service.name": "crash"})), Batch()
    provider.add_span_processor(batch)
    return router_tree(provider.get_tracer("otel_llm_bridge"), model), batch


def _ids(batch: Batch) -> set[str]:
    return {f"{span.context.span_id:016x}" for span in batch.spans if span.context}


def _arrived(stack: Stack, trace_id: str, count: int) -> list[dict[str, Any]]:
    return until(lambda: spans if len(spans := stack.trace(trace_id)) == count else [], f"{count} spans of {trace_id} in Jaeger")

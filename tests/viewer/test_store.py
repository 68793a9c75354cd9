"""The store's memory is bounded, and what had to go is counted."""

from __future__ import annotations

import threading
import tracemalloc

import pytest

from otel_llm_bridge.viewer import Store

from .making import add_log, request, span


def test_oldest_traces_go_first() -> None:
    """Beyond the number of traces the oldest goes as a whole, and both figures say so."""
    store = Store(max_traces=2)
    for trace in (1, 2, 3):
        store.add("traces", request(span("a", 1, trace=trace), span("b", 2, 1, trace=trace)))
    assert [trace.trace_id[-1] for trace in store.traces()] == ["2", "3"]
    assert (store.counts.spans, store.counts.evicted_traces, store.counts.evicted_spans) == (6, 1, 2)


def test_one_trace_larger_than_everything() -> None:
    """A single trace that is too large goes too: the bound holds whatever comes."""
    store = Store(max_bytes=10_000)
    for number in range(1, 200):
        store.add("traces", request(span("x" * 500, number)))
    assert store.counts.bytes <= 10_000
    assert len(store.spans()) + store.counts.evicted_spans == 199


def test_logs_and_metrics_are_bounded() -> None:
    """The oldest log records make way, and are counted."""
    store, owner = Store(max_bytes=40_000), span("a", 1)
    for number in range(500):
        add_log(store, f"event {number}", owner, 1)
    assert len(store.logs()) + store.counts.evicted_logs == 500
    assert store.counts.evicted_logs > 0
    assert store.logs()[-1].event_name == "event 499"


def test_memory_stays_within_the_bound() -> None:
    """Ten times more than fits: what Python allocates for it stays below the promised bytes."""
    bound = 8 * 1024 * 1024
    store = Store(max_bytes=bound)
    attributes = {f"some.attribute.number.{n}": f"value {n}" for n in range(20)}
    one = span("chat gpt-4o", 1, attributes=attributes, events=[("first", 1.0), ("second", 2.0)])
    tracemalloc.start()
    try:
        for trace in range(1, 15_000):
            one.trace_id = trace.to_bytes(16, "big")
            store.add("traces", request(one))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert store.counts.evicted_traces > 5_000
    assert used < bound


def test_wait_for_says_what_is_there() -> None:
    """A wait that fails names the spans that did arrive; one that succeeds wakes up by the arrival."""
    store = Store()
    store.add("traces", request(span("first", 1)))
    with pytest.raises(TimeoutError, match=r"1 spans \(first\)"):
        store.wait_for(2, timeout=0.01)
    thread = threading.Thread(target=lambda: store.add("traces", request(span("second", 2))))
    thread.start()
    assert len(store.wait_for(lambda s: len(s.spans()) == 2, timeout=10).spans()) == 2
    thread.join()


def test_clear_forgets() -> None:
    """After a clear the figures are at zero, and a reader sees that something changed."""
    store = Store()
    store.add("traces", request(span("a", 1)))
    version = store.version
    store.clear()
    assert (store.spans(), store.counts.spans) == ([], 0)
    assert store.version > version


@pytest.mark.parametrize("bad", [{"max_traces": 0}, {"max_bytes": 0}])
def test_senseless_bounds(bad: dict[str, int]) -> None:
    """A bound below one is refused."""
    with pytest.raises(ValueError, match="at least 1"):
        Store(**bad)

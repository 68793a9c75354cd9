"""Instruments of the bridge's own, for its own pipeline: a measurement costs a tenth of the SDK's.

They keep sums and buckets by label set and give them to the SDK's reader when it collects: the same points, buckets
and exemplars (a test compares the two).

Source: opentelemetry-specification, metrics/sdk.md (Explicit Bucket Histogram Aggregation, Sum Aggregation,
AlignedHistogramBucketExemplarReservoir) and metrics/data-model.md.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum
from opentelemetry.trace import SpanContext, TraceFlags

#: An exemplar is a measurement that belongs to a span that is sampled.
_SAMPLED: Final = int(TraceFlags.SAMPLED)

Labels = Mapping[str, Any]

_NO_SPAN: Final = Context()


def _within(span: SpanContext) -> Context:
    """For the SDK's instruments, which find the span of a measurement in its Context."""
    return trace.set_span_in_context(trace.NonRecordingSpan(span), _NO_SPAN)


class Instrument:
    """What the two kinds share.

    A label set is known by the identity of its mapping: `series.Series` has one for each. Who comes with the same labels
    in another mapping, as the bridge does when it is switched on again, goes on with the same point.
    """

    def __init__(self, stock: Any, name: str, unit: str, description: str) -> None:
        self._stock, self._name, self._unit, self._description = stock, name, unit, description
        #: Whether somebody else reads the SDK's instrument as well.
        self.is_shared = False
        self.forget()

    def forget(self) -> None:
        """Begin anew: a forked child counts what it does itself."""
        self._lock = threading.Lock()
        #: By the identity of the labels, and by what they say.
        self._points: dict[int, Any] = {}
        self._by_content: dict[frozenset[tuple[str, Any]], Any] = {}
        #: All mappings that are known: an identity means nothing once its object is gone.
        self._known: list[Labels] = []
        self._began = time.time_ns()

    def collect(self, now: int) -> Metric | None:
        """What was measured so far."""
        with self._lock:
            points = [self._point(point, now) for point in self._by_content.values()]
        return Metric(self._name, self._description, self._unit, self._data(points)) if points else None

    def _add(self, labels: Labels) -> Any:
        """The point of a mapping that was not known."""
        content = frozenset(labels.items())
        point = self._by_content.get(content)
        if point is None:
            point = self._by_content[content] = self._new(labels)
        self._points[id(labels)] = point
        self._known.append(labels)
        return point

    def _new(self, labels: Labels) -> Any:
        raise NotImplementedError

    def _point(self, point: Any, now: int) -> Any:
        raise NotImplementedError

    def _data(self, points: list[Any]) -> Any:
        raise NotImplementedError


class _Sum:
    __slots__ = ("exemplar", "labels", "value")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.value: float = 0
        self.exemplar: tuple[float, int, SpanContext] | None = None


class Counter(Instrument):
    """As `opentelemetry.metrics.Counter`."""

    def add(self, amount: float, attributes: Labels, context: Context | None = None) -> None:
        """Add ``amount``, which is not negative."""
        self.take(amount, attributes, context, trace.get_current_span(context).get_span_context(), time.time_ns())

    def take(self, amount: float, labels: Labels, context: Context | None, span: SpanContext, now: int) -> None:
        """Add ``amount``; ``span`` is that of ``context``, and ``now`` the wall clock, for who knows them."""
        if self.is_shared:
            self._stock.add(amount, labels, context or _within(span))
        with self._lock:
            point = self._points.get(id(labels)) or self._add(labels)
            point.value += amount
            if span.trace_flags & _SAMPLED:
                point.exemplar = amount, now, span

    def _new(self, labels: Labels) -> _Sum:
        return _Sum(labels)

    def _point(self, point: _Sum, now: int) -> NumberDataPoint:
        kept, point.exemplar = point.exemplar, None
        return NumberDataPoint(point.labels, self._began, now, point.value, [_told(kept)] if kept else [])

    def _data(self, points: list[Any]) -> Sum:
        return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)


class _Buckets:
    __slots__ = ("counts", "exemplars", "labels", "largest", "smallest", "sum")

    def __init__(self, labels: Labels, size: int) -> None:
        self.labels = labels
        self.counts = [0] * size
        self.sum: float = 0
        self.smallest, self.largest = float("inf"), float("-inf")
        self.exemplars: dict[int, tuple[float, int, SpanContext]] = {}


class BucketHistogram(Instrument):
    """As `opentelemetry.metrics.Histogram`, with the boundaries that it is advised."""

    def __init__(self, stock: Any, name: str, unit: str, description: str, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        super().__init__(stock, name, unit, description)

    def record(self, amount: float, attributes: Labels, context: Context | None = None) -> None:
        """Record ``amount``."""
        self.take(amount, attributes, context, trace.get_current_span(context).get_span_context(), time.time_ns())

    def take(self, amount: float, labels: Labels, context: Context | None, span: SpanContext, now: int) -> None:
        """Record ``amount``; ``span`` is that of ``context``, and ``now`` the wall clock, for who knows them."""
        if self.is_shared:
            self._stock.record(amount, labels, context or _within(span))
        bucket = bisect_left(self._bounds, amount)
        with self._lock:
            point = self._points.get(id(labels)) or self._add(labels)
            point.counts[bucket] += 1
            point.sum += amount
            point.smallest = min(point.smallest, amount)
            point.largest = max(point.largest, amount)
            if span.trace_flags & _SAMPLED:
                point.exemplars[bucket] = amount, now, span

    def take_all(self, amounts: Sequence[float], labels: Labels, context: Context | None, span: SpanContext, now: int) -> None:
        """Record several, of one call: the last one is its exemplar."""
        *others, last = amounts
        if self.is_shared:
            for amount in others:
                self._stock.record(amount, labels, _NO_SPAN)
        if others:
            ordered = sorted(others)
            up_to = [0, *(bisect_right(ordered, bound) for bound in self._bounds), len(ordered)]
            with self._lock:
                point = self._points.get(id(labels)) or self._add(labels)
                point.counts = [count + upper - lower for count, (lower, upper) in zip(point.counts, pairwise(up_to), strict=True)]
                point.sum = sum(others, point.sum)
                point.smallest = min(point.smallest, ordered[0])
                point.largest = max(point.largest, ordered[-1])
        self.take(last, labels, context, span, now)

    def _new(self, labels: Labels) -> _Buckets:
        return _Buckets(labels, len(self._bounds) + 1)

    def _point(self, point: _Buckets, now: int) -> HistogramDataPoint:
        kept, point.exemplars = point.exemplars, {}
        return HistogramDataPoint(
            point.labels, self._began, now, sum(point.counts), point.sum, tuple(point.counts), self._bounds,
            point.smallest, point.largest, [_told(kept[bucket]) for bucket in sorted(kept)],
        )  # fmt: skip

    def _data(self, points: list[Any]) -> Histogram:
        return Histogram(points, AggregationTemporality.CUMULATIVE)


def _told(kept: tuple[float, int, SpanContext]) -> Exemplar:
    amount, now, span = kept
    return Exemplar({}, amount, now, span.span_id, span.trace_id)

"""Invocations to metrics: what `semconv.metrics` says, with few series whatever the traffic.

Recorded at the end of each call, whether its span is sampled or not, in the call's own Context (so that
an exemplar leads to the span).
"""

from __future__ import annotations

import sys
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation

from .guard import guarded
from .lazy import forget_made, keep, made_once
from .measures import MEASURES, Facts, Own, concerns
from .semconv import metrics as names
from .semconv.metrics import Instrument
from .series import Series

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from .invocation import Invocation
    from .providers import Providers

_NO_SPAN: Final = Context()
#: Label sets of one kind of call that are found by one look; then they are looked up anew.
_KNOWN: Final = 256


class Recorder:
    """Records the metrics of calls. Attached to the layers: `Layer.at_end`, `Layer.at_event`.

    Args:
        providers: gives the meter, at the first call and not before.
        setting: value of the setting ``metrics``.
        series_max: value of the setting ``metrics_series_max``.
    """

    def __init__(self, providers: Providers, setting: str, series_max: int) -> None:
        self._providers = providers
        self._rows = names.chosen(setting)
        self._most = series_max
        #: Lifecycle events that something is measured at.
        self.events = {row.at for row in self._rows} - {names.LLM_SPAN, names.ATTEMPT, names.CALL, names.COLLECTED}
        providers.follow(self)

    def forget(self) -> None:
        """Another meter is to be asked for."""
        forget_made(self)

    @made_once
    def _at(self) -> dict[str, list[_Metric]]:
        meter = self._providers.meter
        at: dict[str, list[_Metric]] = {}
        for row in self._rows:
            if row.at == names.COLLECTED:
                continue
            at.setdefault(row.at, []).append(_Metric(row, _make(meter, row), self._most))
        _observe_callbacks(meter, [row for row in self._rows if row.at == names.COLLECTED], self._most)
        return at

    @made_once
    def _known(self) -> dict[tuple[Any, ...], _Together]:
        """Moments, and of attempts the operation and whether the cache answered -> what is recorded then. There are few operations."""
        return {}

    def _at_once(self, moments: tuple[str, ...], *kind: Any) -> _Together:
        """The rows that are measured at one of ``moments``; of attempts, those for one of this kind (`measures.concerns`)."""
        key = moments, *kind
        together = self._known.get(key)
        if together is None:
            at = [metric for moment in moments for metric in self._at.get(moment, ())]
            together = self._known[key] = _Together([metric for metric in at if not kind or concerns(metric.row, *kind)])
        return together

    def of_attempts(self, *moments: str) -> Callable[[Invocation], None]:
        """What records, at the end of an attempt, the rows that are measured at one of ``moments``."""

        def record(invocation: Invocation) -> None:
            facts = invocation.facts
            self._at_once(moments, facts.get("operation"), facts.get("cache_hit") is True).record(invocation, facts)

        return record

    def call(self, invocation: Invocation) -> None:
        """One logical call has ended."""
        self._at_once((names.CALL,)).record(invocation, invocation.facts)

    def event(self, invocation: Invocation, name: str, attributes: Facts) -> None:
        """A lifecycle event has happened."""
        path = invocation.facts.get("path")
        group = path[-1] if path else invocation.facts.get("model_group")
        self._at_once((name,)).record(invocation, {"model_group": group, **attributes})


#: Records one row of one call under labels that are known: ``(facts, call, its Context for the SDK's instruments, span, now)``.
Bound = Callable[[Facts, "Invocation", "Context | None", "SpanContext", int], None]


class _Together:
    """Rows that are recorded at the same moment: the labels of all of them are found by one look."""

    def __init__(self, metrics: list[_Metric]) -> None:
        self._metrics = metrics
        self._facts = tuple(dict.fromkeys(fact for metric in metrics for fact in metric.facts))
        #: Our own instruments are told the span; a Context, which takes time to make, is for the SDK's.
        self._in_context = not all(metric.is_ours for metric in metrics)
        self._known: dict[tuple[Any, ...], list[Bound]] = {}

    def record(self, invocation: Invocation, facts: Facts) -> None:
        values = tuple(map(facts.get, self._facts))
        rows = self._known.get(values)
        if rows is None:
            rows = keep(self._known, values, [metric.under(facts) for metric in self._metrics], _KNOWN)
        context = invocation.context if self._in_context else None
        span, now = invocation.span.get_span_context(), invocation.ended_ns
        for row in rows:
            row(facts, invocation, context, span, now)


class _Metric:
    """One row of the table with its instrument and its series."""

    def __init__(self, row: Instrument, instrument: Any, most: int) -> None:
        self.row = row
        self.facts = tuple(label.fact for label in row.labels)
        self.is_ours = hasattr(instrument, "take")
        self._series = Series(row.name, row.labels, most)
        self._measure = MEASURES[row.measure]
        self._take = getattr(instrument, "take", None) or _stock(instrument.record if row.kind == "histogram" else instrument.add)
        self._take_all = getattr(instrument, "take_all", self._one_by_one)

    def under(self, facts: Facts) -> Bound:
        """What records it under the labels of ``facts``, of which a series is taken when there is something to record."""
        given = {fact: facts.get(fact) for fact in self.facts}
        known: dict[Own, dict[str, str]] = {}
        measure, take_one, take_all = self._measure, self._take, self._take_all

        def record(facts: Facts, invocation: Invocation, context: Context | None, span: SpanContext, now: int) -> None:
            for amount, own in measure(facts, invocation):
                labels = known.get(own)
                if labels is None:
                    labels = known[own] = self._series.attributes(tuple({**given, **dict(own)}[fact] for fact in self.facts))
                take: Callable[..., None] = take_all if amount.__class__ is array else take_one
                take(amount, labels, context, span, now)

        return record

    def _one_by_one(self, amounts: array[float], labels: dict[str, str], context: Context | None, span: SpanContext, now: int) -> None:
        *others, last = amounts
        for amount in others:
            self._take(amount, labels, _NO_SPAN, span, now)  # an exemplar of one is enough, and costs a third
        self._take(last, labels, context, span, now)


def _stock(record: Callable[..., None]) -> Callable[..., None]:
    """The way into one of the SDK's instruments, which finds the span of a measurement in its Context."""
    return lambda amount, labels, context, _span, _now: record(amount, labels, context=context)


def _make(meter: Any, row: Instrument) -> Any:
    if row.kind == "counter":
        return meter.create_counter(row.name, row.unit, row.meaning)
    return meter.create_histogram(row.name, row.unit, row.meaning, explicit_bucket_boundaries_advisory=row.buckets)


# --- callbacks: read when metrics are collected --------------------------------------------------------

#: measure -> figures of one callback, as `callbacks.stats` has them, with the labels that are their own.
_CALLBACK_FIGURES: Final[dict[str, Callable[[Facts], Iterator[tuple[int, Facts]]]]] = {
    "callbacks run": lambda stats: iter([(stats["completed"] + stats["failed"] + stats["timed_out"], {})]),
    "callbacks failed": lambda stats: ((stats[kind], {"error_type": kind}) for kind in ("failed", "timed_out") if stats[kind]),
    "callbacks dropped": lambda stats: ((count, {"reason": reason}) for reason, count in stats["dropped"].items()),
}

#: Meters that have them already: a meter outlives `uninstrument`, and the figures are those of the process.
_observed: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
#: The one that tells them now. Two would tell the same figures twice.
_telling: Callable[[], Any] = lambda: None  # noqa: E731


def _observe_callbacks(meter: Any, rows: list[Instrument], most: int) -> None:
    global _telling
    _telling = mine = weakref.ref(meter)
    if meter in _observed:
        return
    _observed.add(meter)
    for row in rows:
        meter.create_observable_counter(row.name, [_observer(mine, row, most)], row.unit, row.meaning)


def _observer(mine: Callable[[], Any], row: Instrument, most: int) -> Callable[[CallbackOptions], Iterable[Observation]]:
    series = Series(row.name, row.labels, most)
    facts = tuple(label.fact for label in row.labels)

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        if _telling() is not mine():
            return []
        # Not imported here: this also runs while the process ends, and importing then changes its exit status
        # (Python forgets that it is being ended by Ctrl-C when code is compiled).
        callbacks = sys.modules.get(f"{__package__}.callbacks")
        if callbacks is None:
            return []
        sums: dict[int, tuple[dict[str, str], int]] = {}
        with guarded("callback metrics"):
            for callback, stats in callbacks.stats()["callbacks"].items():
                for amount, own in _CALLBACK_FIGURES[row.measure](stats):
                    found = {"callback": callback, **own}
                    attributes = series.attributes(tuple(found.get(fact) for fact in facts))
                    sums[id(attributes)] = (attributes, sums.get(id(attributes), (attributes, 0))[1] + amount)
        return [Observation(amount, attributes) for attributes, amount in sums.values()]

    return observe

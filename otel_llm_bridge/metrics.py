"""Invocations to metrics: what `semconv.metrics` says, with few series whatever the traffic.

Recorded at the end of each call, whether its span is sampled or not, in the call's own Context (so that
an exemplar leads to the span).
"""

from __future__ import annotations

import sys
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation

from .guard import guarded
from .lazy import forget_made, made_once
from .semconv import litellm as ours
from .semconv import metrics as names
from .semconv.metrics import Instrument
from .series import Series

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from .invocation import Invocation
    from .providers import Providers

Facts = Mapping[str, Any]
#: What was measured, once or an array of times, and the labels that are its own, by the names of facts.
Measured = Iterable[tuple["float | array[float]", Facts]]
_PLAIN: Final[Facts] = {}
_NO_SPAN: Final = Context()


# --- what is measured ----------------------------------------------------------------------------------

#: ``(facts, call)``: the facts are asked for once for all measurements of a call.
Measure = Callable[[Facts, "Invocation"], Measured]


def _reported(facts: Facts, fact: str) -> int:
    """A number of tokens that a provider reported; counted by LiteLLM's tokenizer is not reported."""
    found = facts.get(fact) if facts.get("usage_source") == ours.USAGE_FROM_PROVIDER else None
    return found or 0


def _if_told(fact: str) -> Measure:
    def measure(facts: Facts, _call: Invocation) -> Measured:
        value = facts.get(fact)
        return () if value is None else ((value, _PLAIN),)

    return measure


_TYPES: Final = ((names.INPUT, "input_tokens"), (names.OUTPUT, "output_tokens"))
_OF_TYPE: Final = {kind: {"token_type": kind} for kind, _ in _TYPES}


def _tokens_by_type(facts: Facts, _call: Invocation) -> Measured:
    if facts.get("usage_source") != ours.USAGE_FROM_PROVIDER:
        return ()
    return [(facts[fact], _OF_TYPE[kind]) for kind, fact in _TYPES if fact in facts]


def _tokens(fact: str) -> Measure:
    return lambda facts, _call: ((_reported(facts, fact), _PLAIN),)


def _part_of_unknown_modality(fact: str) -> Measure:
    return lambda facts, _call: ((_reported(facts, fact), {"modality": names.UNKNOWN}),)


def _by_modality(direction: str) -> Measure:
    """All of it is of unknown modality unless the provider told images or audio apart."""

    def measure(facts: Facts, _call: Invocation) -> Iterator[tuple[float, Facts]]:
        told = {kind: _reported(facts, f"{direction}_{kind}_tokens") for kind in (names.IMAGE, names.AUDIO)}
        rest = _reported(facts, f"{direction}_tokens") - sum(told.values())
        for kind, count in told.items():
            if count:
                yield count, {"modality": kind}
        yield max(rest, 0), {"modality": names.TEXT if any(told.values()) else names.UNKNOWN}

    return measure


def _chunk_gaps(facts: Facts, _call: Invocation) -> Measured:
    gaps = facts.get("chunk_gaps")
    return ((gaps, _PLAIN),) if gaps else ()


def _attempts(facts: Facts, _call: Invocation) -> Measured:
    return _ONE if "attempt_number" in facts else ()


_ONE: Final[Measured] = ((1, _PLAIN),)

#: name in `semconv.metrics.Instrument.measure` -> what it measures of a call.
MEASURES: Final[dict[str, Measure]] = {
    "duration": lambda _facts, call: ((call.duration, _PLAIN),),
    "tokens by type": _tokens_by_type,
    "first chunk": _if_told("time_to_first_chunk"),
    "chunk gaps": _chunk_gaps,
    "input by modality": _by_modality("input"),
    "output by modality": _by_modality("output"),
    "input_tokens": _tokens("input_tokens"),
    "output_tokens": _tokens("output_tokens"),
    "cache_read_tokens": _part_of_unknown_modality("cache_read_tokens"),
    "cache_write_tokens": _part_of_unknown_modality("cache_write_tokens"),
    "reasoning_tokens": _part_of_unknown_modality("reasoning_tokens"),
    "cost": _if_told("cost"),
    "saved": _if_told("cost_saved"),
    "cache hits": lambda _facts, _call: _ONE,
    "attempts": _attempts,
    "one": lambda _facts, _call: _ONE,
}
#: The only ones for a call that the cache answered: no provider was called, and no time of one passed.
_OF_CACHE_HITS: Final = frozenset({"cache hits", "saved", "attempts"})
_ONLY_CACHE_HITS: Final = frozenset({"cache hits", "saved"})


# --- recording -----------------------------------------------------------------------------------------


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
    def _known(self) -> dict[tuple[Any, bool, tuple[str, ...]], list[_Metric]]:
        """(operation, whether the cache answered, moments) -> what is recorded of such an attempt. There are few operations."""
        return {}

    def of_attempts(self, *moments: str) -> Callable[[Invocation], None]:
        """What records, at the end of an attempt, the rows that are measured at one of ``moments``."""

        def record(invocation: Invocation) -> None:
            facts, known = invocation.facts, self._known
            kind = facts.get("operation"), facts.get("cache_hit") is True, moments
            metrics = known.get(kind)
            if metrics is None:
                at = [metric for moment in moments for metric in self._at.get(moment, ())]
                metrics = known[kind] = [metric for metric in at if _concerns(metric.row, *kind[:2])]
            _record(metrics, invocation, facts)

        return record

    def call(self, invocation: Invocation) -> None:
        """One logical call has ended."""
        _record(self._at.get(names.CALL, ()), invocation, invocation.facts)

    def event(self, invocation: Invocation, name: str, attributes: Facts) -> None:
        """A lifecycle event has happened."""
        path = invocation.facts.get("path")
        group = path[-1] if path else invocation.facts.get("model_group")
        _record(self._at.get(name, ()), invocation, {"model_group": group, **attributes})


def _concerns(row: Instrument, operation: Any, cache_hit: bool) -> bool:
    """Whether ``row`` is measured for attempts of this kind."""
    if row.measure not in _OF_CACHE_HITS if cache_hit else row.measure in _ONLY_CACHE_HITS:
        return False
    return operation not in row.but_operations and (not row.operations or operation in row.operations)


def _record(metrics: Iterable[_Metric], invocation: Invocation, facts: Facts) -> None:
    span, now = invocation.span.get_span_context(), invocation.ended_ns
    for metric in metrics:
        metric.record(invocation, facts, span, now)


class _Metric:
    """One row of the table with its instrument and its series."""

    def __init__(self, row: Instrument, instrument: Any, most: int) -> None:
        self.row = row
        self._facts = tuple(label.fact for label in row.labels)
        self._series = Series(row.name, row.labels, most)
        self._measure = MEASURES[row.measure]
        self._instrument = instrument
        self._take = getattr(instrument, "take", None) or _stock(instrument.record if row.kind == "histogram" else instrument.add)
        self._take_all = getattr(instrument, "take_all", self._one_by_one)

    def record(self, invocation: Invocation, facts: Facts, span: SpanContext, now: int) -> None:
        # Our own instruments are told the span; a Context, which takes time to make, is for the SDK's.
        context = invocation.context if getattr(self._instrument, "is_shared", True) else None
        for amount, own in self._measure(facts, invocation):
            values = map(facts.get, self._facts)
            labels = self._series.attributes(tuple(map(own.get, self._facts, values) if own else values))
            take: Callable[..., None] = self._take_all if amount.__class__ is array else self._take
            take(amount, labels, context, span, now)

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
    "callbacks run": lambda stats: iter([(stats["completed"] + stats["failed"] + stats["timed_out"], _PLAIN)]),
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

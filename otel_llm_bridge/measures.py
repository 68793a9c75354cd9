"""What is measured of a call: a table of functions, by the names in `semconv.metrics.Instrument.measure`."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .semconv import litellm as ours
from .semconv import metrics as names
from .semconv.metrics import Instrument

if TYPE_CHECKING:
    from .invocation import Invocation

Facts = Mapping[str, Any]
#: Labels that a measurement has of its own, by the names of facts.
Own = tuple[tuple[str, str], ...]
#: What was measured, once or an array of times.
Measured = Iterable[tuple["float | array[float]", Own]]
_PLAIN: Final[Own] = ()

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
_OF_TYPE: Final[dict[str, Own]] = {kind: (("token_type", kind),) for kind, _ in _TYPES}
_OF_MODALITY: Final[dict[str, Own]] = {
    kind: (("modality", kind),) for kind in (names.TEXT, names.IMAGE, names.AUDIO, names.UNKNOWN)
}


def _tokens_by_type(facts: Facts, _call: Invocation) -> Measured:
    if facts.get("usage_source") != ours.USAGE_FROM_PROVIDER:
        return ()
    return [(facts[fact], _OF_TYPE[kind]) for kind, fact in _TYPES if fact in facts]


def _tokens(fact: str) -> Measure:
    return lambda facts, _call: ((_reported(facts, fact), _PLAIN),)


def _part_of_unknown_modality(fact: str) -> Measure:
    return lambda facts, _call: ((_reported(facts, fact), _OF_MODALITY[names.UNKNOWN]),)


def _by_modality(direction: str) -> Measure:
    """All of it is of unknown modality unless the provider told images or audio apart."""

    def measure(facts: Facts, _call: Invocation) -> Iterator[tuple[float, Own]]:
        told = {kind: _reported(facts, f"{direction}_{kind}_tokens") for kind in (names.IMAGE, names.AUDIO)}
        rest = _reported(facts, f"{direction}_tokens") - sum(told.values())
        for kind, count in told.items():
            if count:
                yield count, _OF_MODALITY[kind]
        yield max(rest, 0), _OF_MODALITY[names.TEXT if any(told.values()) else names.UNKNOWN]

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


def concerns(row: Instrument, operation: Any, cache_hit: bool) -> bool:
    """Whether ``row`` is measured for attempts of this kind."""
    if row.measure not in _OF_CACHE_HITS if cache_hit else row.measure in _ONLY_CACHE_HITS:
        return False
    return operation not in row.but_operations and (not row.operations or operation in row.operations)

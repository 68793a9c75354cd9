"""What one wants to know of a span at a glance, as short texts: the terminal and the page show the same ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..semconv import gen_ai, litellm
from ..semconv.vocabulary import EVENTS
from .records import Attributes, LogRecord, Span, Trace

_CURRENCIES: Final = {"USD": "$", "EUR": "€"}
#: Lifecycle events without their namespace; what else a span carries keeps its whole name.
_SHORT: Final = {event.name: event.name.rpartition(".")[2] for event in EVENTS}
#: Captured content; shown folded, and never in the terminal.
CONTENT: Final = {
    gen_ai.SYSTEM_INSTRUCTIONS: "system",
    gen_ai.INPUT_MESSAGES: "input",
    gen_ai.OUTPUT_MESSAGES: "output",
    gen_ai.TOOL_DEFINITIONS: "tools",
}


@dataclass(frozen=True)
class Fact:
    """One short text about a span; ``label`` tells which one."""

    label: str
    text: str


class Occurred(NamedTuple):
    """One event of a span; ``late``: it came as a log record."""

    name: str
    time_ns: int
    attributes: Attributes
    late: bool


@dataclass(frozen=True)
class Moment:
    """One event of a span: first offset from the span's start, how often, whether it came after the span's end."""

    name: str
    offset_ns: int
    count: int = 1
    late: bool = False

    def __str__(self) -> str:
        times = f" ×{self.count}" if self.count > 1 else ""
        return f"{self.name}{times} {'+' if self.offset_ns >= 0 else '-'}{duration(abs(self.offset_ns))}"


def duration(nanoseconds: float) -> str:
    """A duration with three significant figures and the unit that suits it."""
    for unit, size, limit in (("µs", 1e3, 1e6), ("ms", 1e6, 1e9), ("s", 1e9, 120e9)):
        if nanoseconds < limit * 0.9995:
            value = nanoseconds / size
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
    minutes, seconds = divmod(round(nanoseconds / 1e9), 60)
    return f"{minutes} min {seconds:02} s"


def money(amount: float, currency: str = "USD") -> str:
    """An amount with as many places as a price of tokens needs."""
    # Three significant figures, written out: nobody reads a price as 3e-07.
    places = 4 if amount >= 1 or amount <= 0 else min(12, max(4, 2 - math.floor(math.log10(amount))))
    digits = f"{amount:.{places}f}"
    sign = _CURRENCIES.get(currency)
    return f"{sign}{digits}" if sign else f"{digits} {currency}"


def plural(count: int, word: str) -> str:
    """``1 retry``, ``2 retries``."""
    if count == 1:
        return f"1 {word}"
    return f"{count} {word[:-1]}ies" if word.endswith("y") else f"{count} {word}s"


def _number(value: Any) -> float | None:
    """A foreign instrumentation may send a text, or no finite number, where a number belongs."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _joined(*parts: str | None, by: str = " ") -> str | None:
    return by.join(part for part in parts if part) or None


def _attempt(a: Attributes) -> str | None:
    number = a.get(litellm.ATTEMPT_NUMBER)
    kind, wait = a.get(litellm.ATTEMPT_KIND), _number(a.get(litellm.ATTEMPT_WAIT))
    waited = f"after {duration(wait * 1e9)}" if wait else None
    return _joined(f"#{number}" if number is not None else None, str(kind) if kind else None, waited)


def _router(a: Attributes) -> str | None:
    counted = ((litellm.ROUTER_ATTEMPTS, "attempt"), (litellm.ROUTER_RETRIES, "retry"), (litellm.ROUTER_FALLBACKS, "fallback"))
    return _joined(*(plural(int(a[name]), word) for name, word in counted if _number(a.get(name))), by=", ")


def _served(a: Attributes) -> str | None:
    by = a.get(litellm.ROUTER_SERVED_DEPLOYMENT) or a.get(litellm.ROUTER_SERVED_MODEL)
    return f"served by {by}" if by else None


def _tokens(a: Attributes) -> str | None:
    read, written = _number(a.get(gen_ai.USAGE_INPUT_TOKENS)), _number(a.get(gen_ai.USAGE_OUTPUT_TOKENS))
    if read is None and written is None:
        return None
    parts = ((gen_ai.USAGE_CACHE_READ, "cached"), (gen_ai.USAGE_CACHE_WRITE, "cache write"), (gen_ai.USAGE_REASONING, "reasoning"))
    notes = [f"{a[name]:g} {word}" for name, word in parts if _number(a.get(name))]
    if a.get(litellm.USAGE_SOURCE) == litellm.USAGE_ESTIMATED:
        notes.append("estimated")
    return tokens(read or 0, written or 0) + (f" ({', '.join(notes)})" if notes else "")


def tokens(read: float, written: float) -> str:
    """Tokens in and out."""
    return f"{read:g}→{written:g} tokens"


def _cost(a: Attributes) -> str | None:
    cost = _number(a.get(litellm.COST_TOTAL))
    return None if cost is None else money(cost, str(a.get(litellm.COST_CURRENCY, "USD")))


def _first_chunk(a: Attributes) -> str | None:
    seconds = _number(a.get(gen_ai.RESPONSE_TIME_TO_FIRST_CHUNK))
    return None if seconds is None else f"first chunk {duration(seconds * 1e9)}"


def _stream(a: Attributes) -> str | None:
    outcome, chunks = a.get(litellm.STREAM_OUTCOME), _number(a.get(litellm.STREAM_CHUNKS))
    count = plural(int(chunks), "chunk") if chunks is not None else None
    return _joined(f"stream {outcome}" if outcome else None, count, by=", ")


def _error(a: Attributes) -> str | None:
    kind, status = a.get(gen_ai.ERROR_TYPE), a.get(litellm.HTTP_STATUS)
    return _joined(str(kind), str(status) if status else None) if kind else None


def _worded(template: str, name: str) -> Callable[[Attributes], str | None]:
    return lambda a: template.format(a[name]) if a.get(name) else None


#: Label -> text, in the order in which they are shown.
FACTS: Final[Mapping[str, Callable[[Attributes], str | None]]] = {
    "attempt": _attempt,
    "deployment": _worded("on {}", litellm.DEPLOYMENT_ID),
    "router": _router,
    "served": _served,
    "error": _error,
    "tokens": _tokens,
    "cost": _cost,
    "first chunk": _first_chunk,
    "stream": _stream,
    "cache": lambda a: "from the cache" if a.get(litellm.CACHE_HIT) is True else None,
    "outcome": _worded("ended by {}", litellm.SPAN_OUTCOME),
}


def facts(span: Span) -> list[Fact]:
    """The facts that the span carries. An error that has no type shows its status."""
    found = [Fact(label, text) for label, read in FACTS.items() if (text := read(span.attributes))]
    if span.status_code == "ERROR" and all(fact.label != "error" for fact in found):
        found.append(Fact("error", "error"))
    return found


def occurred(span: Span, logs: Iterable[LogRecord] = ()) -> list[Occurred]:
    """What happened to a span, in order: its events, and those that came as log records, nearly always after its end."""
    found = [Occurred(event.name, event.time_ns, event.attributes, late=False) for event in span.events]
    found += [Occurred(log.event_name, log.time_ns or log.observed_ns, log.attributes, late=True) for log in logs if log.event_name]
    return sorted(found, key=lambda one: one.time_ns)


def moments(span: Span, logs: Iterable[LogRecord] = ()) -> list[Moment]:
    """The same at a glance; equal names are folded."""
    kept: dict[tuple[str, bool], Moment] = {}
    for one in occurred(span, logs):
        first = kept.get((one.name, one.late))
        kept[one.name, one.late] = (
            Moment(first.name, first.offset_ns, first.count + 1, one.late)
            if first
            else Moment(_SHORT.get(one.name, one.name), one.time_ns - span.start_ns, 1, one.late)
        )
    return list(kept.values())


@dataclass(frozen=True)
class Totals:
    """Sums over the spans of one trace. Tokens and cost stand on attempts only, so nothing counts twice."""

    spans: int
    errors: int
    attempts: int
    input_tokens: float
    output_tokens: float
    cost: float | None
    currency: str
    models: tuple[str, ...]

    @classmethod
    def of(cls, trace: Trace) -> Totals:
        """Add up ``trace``."""
        rows = [span.attributes for span in trace.spans]

        def total(name: str) -> float:
            return sum(_number(row.get(name)) or 0 for row in rows)

        costs = [cost for row in rows if (cost := _number(row.get(litellm.COST_TOTAL))) is not None]
        return cls(
            spans=len(rows),
            errors=sum(span.status_code == "ERROR" for span in trace.spans),
            attempts=sum(gen_ai.OPERATION_NAME in row for row in rows),
            input_tokens=total(gen_ai.USAGE_INPUT_TOKENS),
            output_tokens=total(gen_ai.USAGE_OUTPUT_TOKENS),
            cost=sum(costs) if costs else None,
            currency=next((str(row[litellm.COST_CURRENCY]) for row in rows if litellm.COST_CURRENCY in row), "USD"),
            models=tuple(dict.fromkeys(str(row[gen_ai.REQUEST_MODEL]) for row in rows if gen_ai.REQUEST_MODEL in row)),
        )

    def texts(self) -> list[Fact]:
        """The sums that are not zero."""
        found = [Fact("spans", plural(self.spans, "span"))]
        if self.input_tokens or self.output_tokens:
            found.append(Fact("tokens", tokens(self.input_tokens, self.output_tokens)))
        if self.cost is not None:
            found.append(Fact("cost", money(self.cost, self.currency)))
        if self.errors:
            found.append(Fact("error", plural(self.errors, "error")))
        return found

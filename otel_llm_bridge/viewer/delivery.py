"""The closing line: what the program says it ended against what arrived here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .store import Counts
from .summary import plural


@dataclass(frozen=True)
class Delivery:
    """The reports of all processes added up, beside what the receiver counted; in spans."""

    received: int
    duplicates: int
    processes: int
    ended: int = 0
    failed: int = 0
    pending: int = 0
    spooled: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, counts: Counts, reports: Iterable[Mapping[str, Any]]) -> Delivery:
        """Add up. Figures that are missing or no numbers count as 0; of several reports of a process the last holds."""
        latest = {report.get("pid", number): report for number, report in enumerate(reports)}.values()

        def total(name: str) -> int:
            return sum(_count(report.get(name)) for report in latest)

        dropped: dict[str, int] = {}
        for report in latest:
            reasons = report.get("dropped")
            for reason, count in (reasons if isinstance(reasons, Mapping) else {}).items():
                dropped[str(reason)] = dropped.get(str(reason), 0) + _count(count)
        return cls(
            received=counts.spans,
            duplicates=counts.duplicates,
            processes=len(latest),
            ended=total("ended"),
            failed=total("failed"),
            pending=total("pending"),
            spooled=total("spooled"),
            dropped=dropped,
        )

    @property
    def complete(self) -> bool:
        """Whether a report came, and everything that it counts as ended is here."""
        return bool(self.processes) and self.received >= self.ended

    def __str__(self) -> str:
        if not self.processes:
            return (
                f"received {plural(self.received, 'span')}; no report came, so whether these are all is not known: the "
                "program made no LiteLLM call, was killed, or its Python has no otel_llm_bridge"
            )
        dropped = sum(self.dropped.values())
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.dropped.items()) if count)
        parts = [
            f"delivered {min(self.received, self.ended)} of {plural(self.ended, 'span')}",
            f"{dropped} dropped" + (f" ({reasons})" if reasons else ""),
        ]
        extra = self.received - self.ended
        for count, text in (
            (self.failed, "failed"),
            (self.pending, "still in memory when the process ended"),
            (self.spooled, "in the spool"),
            (extra, "more received that no report counts"),
        ):
            if count > 0:
                parts.append(f"{count} {text}")
        if self.duplicates:
            parts.append(plural(self.duplicates, "duplicate") + " ignored")
        return ", ".join(parts)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

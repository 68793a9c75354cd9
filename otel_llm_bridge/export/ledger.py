"""What became of every span that ended: the one place where delivery is counted.

A span is in exactly one state at a time, and every change of state is one step under one lock. So the
identity ``ended = exported + spooled + quarantined + failed + dropped + pending`` is exact at any moment.
"""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Callable, Mapping
from typing import Any


class State(str, enum.Enum):
    """Where an ended span is."""

    #: In memory: it waits for the exporter, or is on its way.
    PENDING = "pending"
    #: On disk, not yet confirmed by the receiver.
    SPOOLED = "spooled"
    #: Confirmed by the receiver.
    EXPORTED = "exported"
    #: Refused by the receiver for good, or lost because the program could not hold it any longer.
    FAILED = "failed"
    #: Refused by the receiver for good and kept on disk for a human.
    QUARANTINED = "quarantined"
    #: Thrown away by us; the reason is counted.
    DROPPED = "dropped"


class Reason(str, enum.Enum):
    """Why a span was dropped."""

    QUEUE_FULL = "queue_full"
    AFTER_SHUTDOWN = "after_shutdown"
    ENCODING = "encoding"
    #: The oldest spans of a full spool.
    EVICTED = "evicted"
    #: Spans that waited longer than the spool keeps them.
    EXPIRED = "expired"
    #: Bytes on disk that no longer match their checksum.
    CORRUPT = "corrupt"
    #: The user's own span processor threw them away (its queue was full).
    USER_PIPELINE = "user_pipeline"


@dataclasses.dataclass(frozen=True)
class FlushReport:
    """The figures of one process at one moment. It is true when everything that ended was confirmed.

    Attributes:
        ended: sampled spans that ended.
        exported: spans that the receiver confirmed.
        failed: spans that the receiver refused for good.
        dropped: spans that were thrown away, by reason.
        spooled: spans that wait on disk.
        replayed: spans of earlier or other processes that this process delivered; not part of ``ended``.
        quarantined: refused spans that are kept on disk.
        pending: spans that wait in memory.
        elapsed: what the flush took, in seconds.
    """

    ended: int = 0
    exported: int = 0
    failed: int = 0
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    spooled: int = 0
    replayed: int = 0
    quarantined: int = 0
    pending: int = 0
    elapsed: float = 0.0

    def __bool__(self) -> bool:
        return self.ended == self.exported

    @property
    def lost(self) -> int:
        """Spans that will not arrive: failed and dropped ones."""
        return self.failed + sum(self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        parts = [f"ended {self.ended}", f"exported {self.exported}"]
        parts += [
            f"{name} {value}"
            for name in ("spooled", "quarantined", "failed", "pending", "replayed")
            if (value := getattr(self, name))
        ]
        parts += [f"dropped {count} ({reason})" for reason, count in sorted(self.dropped.items()) if count]
        return ", ".join(parts)


class Ledger:
    """Thread-safe counts of one pipeline.

    The lock is re-entrant: the garbage collector or a signal handler may end a span on a thread that is
    just counting another one.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from nothing, with a new lock: a forked child has none of its parent's spans."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._counts: dict[State, int] = dict.fromkeys(State, 0)
        self._dropped: dict[str, int] = {}
        self._ended = 0
        self._replayed = 0
        self._waiters = 0

    def end(self, state: State, count: int = 1, reason: Reason | None = None) -> None:
        """``count`` spans ended and are now in ``state``. Nobody waits for that, so the lock itself will do."""
        with self._lock:
            self._ended += count
            self._counts[state] += count
            if reason is not None:
                self._dropped[reason.value] = self._dropped.get(reason.value, 0) + count

    def unend(self, state: State) -> None:
        """Take one `end` back: the span could not be put where it was said to be."""
        with self._changed:
            self._ended -= 1
            self._counts[state] -= 1

    def move(self, source: State, target: State, count: int = 1, reason: Reason | None = None) -> None:
        """``count`` spans went from one state to another."""
        if not count:
            return
        with self._changed:
            self._counts[source] -= count
            self._counts[target] += count
            if reason is not None:
                self._dropped[reason.value] = self._dropped.get(reason.value, 0) + count
            self._wake()

    def replay(self, count: int) -> None:
        """``count`` spans of other processes were confirmed."""
        with self._changed:
            self._replayed += count
            self._wake()

    def nudge(self) -> None:
        """Let `wait` look at its condition again."""
        with self._changed:
            self._wake()

    def _wake(self) -> None:
        if self._waiters:
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``condition`` holds, looking at it after each change; at most ``timeout`` seconds."""
        with self._changed:
            self._waiters += 1
            try:
                return self._changed.wait_for(condition, max(0.0, timeout))
            finally:
                self._waiters -= 1

    def count(self, state: State) -> int:
        """Spans in ``state`` now."""
        return self._counts[state]

    @property
    def ended(self) -> int:
        """Sampled spans that ended."""
        return self._ended

    @property
    def outstanding(self) -> int:
        """Spans that may still be delivered by this process: in memory or on disk."""
        return self._counts[State.PENDING] + self._counts[State.SPOOLED]

    def report(self, elapsed: float = 0.0) -> FlushReport:
        """All figures, taken at one moment."""
        with self._changed:
            return FlushReport(
                ended=self._ended,
                exported=self._counts[State.EXPORTED],
                failed=self._counts[State.FAILED],
                dropped=dict(self._dropped),
                spooled=self._counts[State.SPOOLED],
                replayed=self._replayed,
                quarantined=self._counts[State.QUARANTINED],
                pending=self._counts[State.PENDING],
                elapsed=elapsed,
            )


def total(reports: list[FlushReport], elapsed: float) -> FlushReport:
    """The sum of several reports of one process."""
    dropped: dict[str, int] = {}
    for report in reports:
        for reason, count in report.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    figures = {
        field.name: sum(getattr(report, field.name) for report in reports)
        for field in dataclasses.fields(FlushReport)
        if field.name not in ("dropped", "elapsed")
    }
    return FlushReport(**figures, dropped=dropped, elapsed=elapsed)

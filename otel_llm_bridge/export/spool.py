"""The durable spool: what has ended is on disk when ``end()`` or ``emit()`` returns, and leaves it when the receiver has it.

Each process writes segments of its own (`segment`) and delivers from them, oldest first. Segments whose
process is gone are adopted, by whichever process finds them first, and delivered as well: at least once, with
the span ids that they always had. The spool is bounded by size and age; what is evicted is counted.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from collections import deque
from typing import Final

from ..guard import logger
from .batch import Batch
from .items import Item
from .journal import InFlight, left_open
from .ledger import Ledger, Reason, State
from .record import ITEM, STARTED
from .segment import Segment
from .spool_folder import Folder
from .spool_losses import Losses
from .spool_orphans import Orphans

_SEGMENT_BYTES: Final = 4 * 1024 * 1024
#: Segments that the smallest spool holds; eviction takes one at a time.
_LEAST_SEGMENTS: Final = 8
_SCAN_EVERY: Final = 2.0
_RETRY_CREATE_AFTER: Final = 1.0
#: Part of the spool that quarantined requests may take.
_QUARANTINE_SHARE: Final = 0.1


class Spool:
    """The spool of one signal in one process; the `delivery.Store` of a `Delivery`. "Spans" are log records in that of logs.

    Args:
        folder: where segments are; made, for the owner only, when it is not there.
        max_bytes: size of all segments of the signal, of all processes.
        max_age: seconds that a span is kept.
        fsync: ``never``, ``batch`` (each time the worker looks) or ``always`` (each span).
    """

    def __init__(
        self, folder: str, max_bytes: int = 512 << 20, max_age: float = 7 * 86400.0, fsync: str = "never"
    ) -> None:
        self._folder = Folder(folder)
        self._max_bytes, self._max_age, self._fsync = max_bytes, max_age, fsync
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // _LEAST_SEGMENTS // 4096 * 4096)
        self._losses = Losses(folder)
        self._reset()

    @property
    def counts(self) -> dict[str, int]:
        """What this process could not keep, or found in what others left, by name."""
        return self._losses.counts

    def bind(self, ledger: Ledger) -> None:
        """The ledger that losses are entered in."""
        self._losses.ledger = ledger

    def _reset(self) -> None:
        # Re-entrant: the garbage collector may end a span while this thread writes another one.
        self._lock = threading.RLock()
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._sequence = 0
        self._own: deque[Segment] = deque()
        self._spare: Segment | None = None
        self._orphans = Orphans(self._folder, self._owner, self._losses, self._lock)
        self._retired: list[Segment] = []
        self._open = InFlight(self._max_bytes // _LEAST_SEGMENTS)
        self._next_scan = 0.0
        self._no_segment_before = 0.0
        self._told = False
        self._turn = False

    # -- writing ------------------------------------------------------------------------------------------

    def append(self, item: Item) -> bool:
        """Write an ended span; ``False`` when the disk does not take it now."""
        with self._lock:
            self._open.remove(item)
            return self._append(ITEM, item)

    def started(self, item: Item) -> None:
        """Note a span that has started; it becomes an interrupted one when its end is never written."""
        with self._lock:
            if self._open.takes(item) and self._append(STARTED, item):
                self._open.add(item)

    def _append(self, kind: int, item: Item) -> bool:
        segment = self._own[-1] if self._own else self._rotate(item)
        if segment is None:
            return False
        if not segment.append(kind, item.context, item.body):
            segment = self._rotate(item)
            if segment is None or not segment.append(kind, item.context, item.body):
                return False
        if self._fsync == "always":
            segment.sync()
        return True

    def _rotate(self, item: Item) -> Segment | None:
        """A new segment in which ``item`` has room; the old one waits to be drained."""
        if time.monotonic() < self._no_segment_before:
            return None
        # Twice the room of the open spans, which move on: the rest is for what ends.
        needed = item.size + 2 * self._open.bytes + 4096
        spare, self._spare = self._spare, None
        if spare is not None and spare.size < needed:
            spare.close(unlink=True)
            spare = None
        try:
            segment = spare or self._create(max(self._segment_bytes, needed))
        except OSError as error:
            self._no_segment_before = time.monotonic() + _RETRY_CREATE_AFTER
            if not self._told:
                self._told = True
                logger.warning("the spool %s cannot be written (%s); what ends waits in memory", self._folder.path, error.strerror)
            return None
        self._told = False
        # A segment is complete in itself.
        for opened in self._open:
            segment.append(STARTED, opened.context, opened.body)
        if self._own:
            self._own[-1].set_continued()
        self._own.append(segment)
        return segment

    def _create(self, size: int, evict: bool = True) -> Segment:
        with self._lock:
            self._folder.make()
            self._make_room(size, evict)
            self._sequence += 1
            path = self._folder.segment_path(self._owner, self._sequence)
        return self._folder.create(path, size, durable=self._fsync != "never")

    def _make_room(self, size: int, evict: bool) -> None:
        """Evict the oldest segments until ``size`` bytes fit in."""
        while self._folder.size() + size > self._max_bytes:
            oldest = self._oldest() if evict else None
            if oldest is None:
                raise OSError(errno.ENOSPC, "the spool is full of what other processes hold")
            self._evict(oldest, Reason.EVICTED)

    def _oldest(self) -> Segment | None:
        # The last own segment is being written and stays, unless nothing else is left to give.
        candidates = [*self._orphans.held, *list(self._own)[:-1]]
        if not candidates:
            self._orphans.adopt(1)
            candidates = list(self._orphans.held or self._own)
        return min(candidates, key=lambda segment: segment.created_ns, default=None)

    def _evict(self, segment: Segment, reason: Reason) -> None:
        """Throw away what waits in ``segment``; what is on its way is settled by its batch."""
        # Whoever reads it just now has not taken anything yet, and must not: it is counted here.
        segment.dead = True
        lost = sum(1 for record in segment.records(segment.taken) if record.kind == ITEM)
        mine = segment in self._own
        (self._own if mine else self._orphans.held).remove(segment)
        segment.unlink()
        segment.settled += lost
        self._retired.append(segment)
        self._losses.lose(lost, reason, mine)

    # -- delivering: called by the worker only ------------------------------------------------------------

    def next_batch(self, most: int, most_bytes: int, own: bool = True) -> Batch | None:
        """The oldest items of our own, if they are wanted, and, in turns, those that other processes left."""
        self._turn = not self._turn
        sources = [self._from_own, self._from_orphans] if own else [self._from_orphans]
        for source in sources if self._turn else reversed(sources):
            batch = source(most, most_bytes)
            if batch is not None:
                return batch
        return None

    def _from_own(self, most: int, most_bytes: int) -> Batch | None:
        while True:
            segments = list(self._own)
            for segment in segments:
                batch = self._read(segment, State.SPOOLED, most, most_bytes)
                if batch is not None:
                    return batch
            if not any(segment.dead for segment in segments):
                return None
            # Some were evicted meanwhile: there are others now.

    def _from_orphans(self, most: int, most_bytes: int) -> Batch | None:
        orphans = self._orphans
        while orphans.held:
            segment = orphans.held[0]
            batch = self._read(segment, None, most, most_bytes)
            if batch is not None:
                return batch
            orphans.drop(segment)
            if not orphans.held:
                orphans.adopt()
        return None

    def _read(self, segment: Segment, state: State | None, most: int, most_bytes: int) -> Batch | None:
        items, expired, end = segment.read(most, most_bytes, time.time_ns() - int(self._max_age * 1e9))
        with self._lock:
            if segment.dead:
                return None
            segment.taken = end
        if expired:
            segment.settled += expired
            self._losses.lose(expired, Reason.EXPIRED, state is not None)
        if not items:
            segment.ack = end
            return self._last_of(segment, state, most, most_bytes)
        return Batch(items, state, lambda: self._settled(segment, end, len(items)))

    def _last_of(self, segment: Segment, state: State | None, most: int, most_bytes: int) -> Batch | None:
        """Nothing waits in ``segment`` any longer: an orphan gives up its open spans before its file goes."""
        if state is not None:
            return None
        left = [] if segment.continued else left_open(segment)
        if not left:
            return None
        self._losses.count("interrupted", len(left))
        return Batch(left, None, lambda: self._orphans.drop(segment)).within(most, most_bytes)

    def _settled(self, segment: Segment, end: int, count: int) -> None:
        segment.settled += count
        segment.ack = end

    def maintain(self, urgent: bool) -> None:
        """Adopt orphans, keep a spare segment, delete drained ones, give a sign of life."""
        now = time.monotonic()
        with self._lock:
            for segment in self._retired:
                segment.close()
            self._retired.clear()
            while len(self._own) > 1 and self._own[0].drained:
                self._retire_first()
            active = self._own[-1] if self._own else None
            if active is not None:
                active.beat()
        if active is not None:
            if self._fsync == "batch":
                active.sync()
            self._prepare_spare(active)
        if urgent or now >= self._next_scan:
            self._next_scan = now + _SCAN_EVERY
            self._orphans.adopt()
            self._folder.sweep()

    def _retire_first(self) -> None:
        segment = self._own.popleft()
        # What was written and could not be read again.
        self._losses.lose(max(0, segment.written - segment.settled), Reason.CORRUPT, True)
        segment.close(unlink=True)

    def _prepare_spare(self, active: Segment) -> None:
        """Allocating takes milliseconds: the worker does it before a caller needs it."""
        if self._spare is None and active.end > active.size // 2 and active.size == self._segment_bytes:
            owner = self._owner
            try:
                # Not at the cost of spans that wait.
                spare = self._create(self._segment_bytes, evict=False)
            except OSError:
                return
            if owner == self._owner:
                self._spare = spare

    def quarantine(self, items: list[Item]) -> bool:
        """Keep refused items as an OTLP request in a file; ``False`` when there is no room for it."""
        return self._folder.quarantine(self._owner, items, int(self._max_bytes * _QUARANTINE_SHARE))

    # -- the end ------------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Delete what is drained, leave the rest for the next process.

        A span that ends later still finds a place: a new segment, which the next process delivers.
        """
        with self._lock:
            if self._spare is not None:
                self._spare.close(unlink=True)
                self._spare = None
            for segment in [*self._own, *self._orphans.held, *self._retired]:
                segment.close(unlink=segment.drained and segment in self._own)
            self._own.clear()
            self._orphans.held.clear()
            self._retired.clear()
            self._open.clear()

    def forget(self) -> None:
        """In a forked child: close the parent's files, without a change to them."""
        segments = [*self._own, *self._orphans.held, *self._retired, *([self._spare] if self._spare else [])]
        for segment in segments:
            segment.close()
        self._losses.forget()
        self._reset()

"""Calls that have started: noted on disk, so that a crash leaves a trace of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..semconv import litellm as names
from .encoding import Encoder
from .items import Context, Item, interrupted
from .record import CONTEXT, ITEM, STARTED
from .segment import KEY_SIZE, Segment


class Notes(Protocol):
    """Where the notes go (`spool.Spool`)."""

    def started(self, item: Item) -> None:
        """Note a span that has started."""


class Journal:
    """Notes calls when they start, so that a crash leaves a trace of them.

    Args:
        spool: where the notes go.
        encoder: makes bytes of a span that is still open.
        wanted: which spans are noted, by the name of their instrumentation scope.
    """

    def __init__(self, spool: Notes, encoder: Encoder, wanted: Callable[[str], bool]) -> None:
        self._spool, self._encoder, self._wanted = spool, encoder, wanted

    def started(self, span: Any) -> None:
        """A span has started. Never raises."""
        scope = span.instrumentation_scope
        context = span.context
        if scope is None or context is None or not context.trace_flags & 1 or not self._wanted(scope.name):
            return
        try:
            item = self._encoder.encode(span)
        except Exception:  # the span itself is not affected
            return
        self._spool.started(item)


class InFlight:
    """Notes of spans that have started and not ended: each new segment repeats them.

    Args:
        most_bytes: size of all notes; a span that starts beyond it is not noted.

    Attributes:
        bytes: size of all notes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._items: dict[bytes, Item] = {}
        self.bytes = 0

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items.values()))

    def takes(self, item: Item) -> bool:
        """Whether there is room for one more."""
        return self.bytes + item.size <= self._most

    def add(self, item: Item) -> None:
        """A span has started."""
        self._items[item.body[:KEY_SIZE]] = item
        self.bytes += item.size

    def remove(self, item: Item) -> None:
        """It has ended, if it was noted."""
        if self._items and (started := self._items.pop(item.body[:KEY_SIZE], None)):
            self.bytes -= started.size

    def clear(self) -> None:
        """Forget all of them."""
        self._items.clear()
        self.bytes = 0


def left_open(segment: Segment) -> list[Item]:
    """Spans that started in ``segment`` and never ended, as interrupted ones."""
    left: dict[bytes, tuple[Context, bytes]] = {}
    last_ns = segment.alive_ns
    for record in segment.records():
        if record.kind == CONTEXT:
            continue
        last_ns = max(last_ns, record.time_ns)
        context, body = segment.item(record.payload)
        if record.kind == ITEM:
            left.pop(body[:KEY_SIZE], None)
        elif record.kind == STARTED and context is not None:
            left[body[:KEY_SIZE]] = (context, body)
    return [
        Item(context, interrupted(body, last_ns, names.SPAN_OUTCOME, names.OUTCOME_INTERRUPTED))
        for context, body in left.values()
    ]

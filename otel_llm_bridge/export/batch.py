"""What travels: a batch of encoded items, and the place on disk that may hold them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from ..guard import report
from .items import Item
from .ledger import Ledger, Reason, State

#: How often a batch may be halved to find the items that a receiver refuses.
_SPLITS: Final = 24


class Batch:
    """Items on their way, in pieces that are sent one after the other.

    Args:
        items: the items.
        state: where the ledger has them now; ``None`` for items of other processes.
        done: called when all of them are settled.
    """

    def __init__(self, items: list[Item], state: State | None, done: Callable[[], None] = lambda: None) -> None:
        self.pieces = [items] if items else []
        self.state = state
        self.done = done
        self._splits = _SPLITS

    def within(self, most: int, most_bytes: int) -> Batch:
        """The same batch, in pieces of the usual size."""
        items, self.pieces, size = self.items, [], 0
        for item in reversed(items):
            size += item.size
            if not self.pieces or size > most_bytes or len(self.pieces[-1]) >= most:
                self.pieces.append([])
                size = item.size
            self.pieces[-1].insert(0, item)
        return self

    def split(self, piece: list[Item]) -> bool:
        """Put ``piece`` back as two halves; ``False`` when it is not to be divided any further."""
        if len(piece) < 2 or self._splits <= 0:
            return False
        self._splits -= 1
        middle = len(piece) // 2
        self.pieces += [piece[middle:], piece[:middle]]
        return True

    @property
    def items(self) -> list[Item]:
        """Items that are not settled."""
        return [item for piece in self.pieces for item in piece]


class Store(Protocol):
    """A place on disk that keeps items until they are settled (`spool.Spool`)."""

    def bind(self, ledger: Ledger) -> None:
        """The ledger that losses of the store are entered in."""

    def append(self, item: Item) -> bool:
        """Keep ``item``; ``False`` when that is not possible now."""

    def next_batch(self, most: int, most_bytes: int, own: bool = True) -> Batch | None:
        """The oldest items that nobody has on the way; without ``own`` only those of other processes."""

    def quarantine(self, items: list[Item]) -> bool:
        """Keep items that the receiver refuses for good."""

    def maintain(self, urgent: bool) -> None:
        """Called by the worker from time to time."""

    def tidy(self) -> None:
        """The end of the process: delete what is settled, leave the rest for the next one."""

    def forget(self) -> None:
        """In a forked child: let go of what belongs to the parent."""


def from_memory(
    queue: deque[Any], encode: Callable[[Any], Item], ledger: Ledger, most: int, most_bytes: int
) -> Batch | None:
    """The oldest of what waits in ``queue``; what cannot be encoded is dropped and counted."""
    items: list[Item] = []
    size = 0
    while queue and len(items) < most:
        try:
            item = encode(queue[0])
        except Exception as error:  # one that cannot be encoded must not stop the others
            report("encoding", error)
            queue.popleft()
            ledger.move(State.PENDING, State.DROPPED, reason=Reason.ENCODING)
            continue
        size += item.size
        if items and size > most_bytes:
            break
        queue.popleft()
        items.append(item)
    return Batch(items, State.PENDING) if items else None

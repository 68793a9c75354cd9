"""What a spool cannot keep: counted by reason, entered in the ledger, and said once a minute."""

from __future__ import annotations

import time
from typing import Final

from ..guard import logger
from .ledger import Ledger, Reason, State

_WARN_EVERY: Final = 60.0


class Losses:
    """The counts of one spool in one process.

    Args:
        path: the spool's folder, for the warning.

    Attributes:
        ledger: where the losses of this process are entered.
        counts: how many, by what became of them; those that other processes left have names of their own.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.ledger: Ledger | None = None
        self.counts: dict[str, int] = {}
        self._next_warning = 0.0

    def count(self, name: str, number: int = 1) -> None:
        """Something that is no loss, or none of an item: interrupted calls, corrupt files."""
        self.counts[name] = self.counts.get(name, 0) + number

    def lose(self, number: int, reason: Reason, mine: bool) -> None:
        """``number`` items are gone, of this process or (not ``mine``) of others."""
        if not number:
            return
        self.count(reason.value if mine else f"{reason.value}_of_others", number)
        if mine and self.ledger is not None:
            self.ledger.move(State.SPOOLED, State.DROPPED, number, reason)
        if time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + _WARN_EVERY
            logger.warning("the spool %s loses what it cannot keep: %s", self._path, self.counts)

    def forget(self) -> None:
        """In a forked child: nothing has been lost yet."""
        self.counts.clear()
        self._next_warning = 0.0

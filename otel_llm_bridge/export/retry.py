"""When to try again, and when to give up: the only place that decides either."""

from __future__ import annotations

import random
import time
from typing import Final

from .lifetime import Deadline
from .transport import Outcome

#: Seconds between two attempts: the first, the longest, and the longest while somebody waits for a flush.
_FIRST, _LONGEST, _LONGEST_URGENT = 0.1, 30.0, 0.5
#: Attempts at the end of the process before a receiver that nobody runs is given up.
_LAST_ATTEMPTS: Final = 2
#: What a connection attempt ends in when nothing listens.
_NOBODY: Final = frozenset({"ConnectionRefusedError", "gaierror", "UNAVAILABLE"})


class Retry:
    """Back-off, the receiver's own wish to wait, and the patience of whoever waits for us."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.asked_to_wait = False
        self.final: Deadline | None = None
        self.gave_up = False
        self._attempts = 0
        self._attempts_since_asked = 0
        self._final_attempts = 0
        self._urgent_until = 0.0

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for a flush."""
        return time.monotonic() < self._urgent_until

    def asked(self, timeout: float, final: bool) -> None:
        """Somebody waits ``timeout`` seconds; ``final`` at the end of the process, which comes once."""
        if final and self.final is None:
            self.final, self._final_attempts, self.gave_up = Deadline(timeout), 0, False
        self._urgent_until = max(self._urgent_until, time.monotonic() + timeout)
        self._attempts_since_asked = 0

    def must_wait(self) -> bool:
        """Whether it is too early for another attempt; the first one after somebody asked is not."""
        if time.monotonic() >= self.not_before:
            return False
        return self.asked_to_wait or not self.urgent or self._attempts_since_asked > 0

    def waits_beyond(self, timeout: float) -> bool:
        """Whether the receiver asked for more time than ``timeout`` seconds from now."""
        return self.asked_to_wait and self.not_before > time.monotonic() + timeout

    def pause(self, otherwise: float) -> float:
        """Seconds until the next attempt; ``otherwise`` when nothing has failed."""
        return max(0.0, self.not_before - time.monotonic()) if self.not_before else otherwise

    def timeout(self, usual: float) -> float:
        """What a request may take: a last one gets no more time than the process has left."""
        return usual if self.final is None else max(0.05, min(usual, self.final.remaining()))

    def progressed(self) -> None:
        """A batch was settled."""
        self._attempts = 0

    def succeeded(self) -> None:
        """Nothing is left."""
        self.not_before, self._attempts, self.asked_to_wait = 0.0, 0, False

    def failed(self, outcome: Outcome, stored: bool) -> None:
        """The receiver did not take a request now; ``stored`` when its items are safe on disk."""
        self._attempts += 1
        self._attempts_since_asked += 1
        self.asked_to_wait = outcome.retry_after is not None
        longest = _LONGEST_URGENT if self.urgent else _LONGEST
        backoff = min(longest, _FIRST * 2 ** min(self._attempts - 1, 16)) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, keeps no secret
        wait = backoff if outcome.retry_after is None else outcome.retry_after
        self.not_before = time.monotonic() + wait
        if self.final is None:
            return
        self._final_attempts += 1
        # On disk it is safe: one attempt is enough.
        enough = stored or (outcome.detail in _NOBODY and self._final_attempts >= _LAST_ATTEMPTS)
        if enough or wait > self.final.remaining():
            self.gave_up = True

"""One budget for everything that the end of the process does."""

from __future__ import annotations

import time


class Budget:
    """What is left of a budget: a clock that runs only while somebody who entered it makes the process wait.

    Python joins the program's threads between our early part and the rest; that time is not ours. Two may be in it at
    once, when a signal comes during the early part.
    """

    def __init__(self) -> None:
        self._spent = 0.0
        self._since = 0.0
        self._inside = 0

    def left(self, whole: float) -> float:
        """Seconds of ``whole`` that are left, never less than 0."""
        running = time.monotonic() - self._since if self._inside else 0.0
        return max(0.0, whole - self._spent - running)

    @property
    def touched(self) -> bool:
        """Whether anybody has ever been in it."""
        return self._inside > 0 or self._spent > 0.0

    def __enter__(self) -> None:
        if not self._inside:
            self._since = time.monotonic()
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._spent += time.monotonic() - self._since

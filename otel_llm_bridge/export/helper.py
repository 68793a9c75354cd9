"""What is not ours and may hang: done in another thread, also late in the exit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

from ..guard import guarded
from . import lifetime

_Job = tuple[Callable[[], object], threading.Event]


class _Helper:
    """A thread that was started in time, and does one thing after the other. A forked child has one of its own."""

    def __init__(self) -> None:
        self._start()
        lifetime.after_fork_in_child(self._start)

    def _start(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        threading.Thread(target=self._work, args=(self._jobs,), name="otel-llm-bridge-helper", daemon=True).start()

    @staticmethod
    def _work(jobs: SimpleQueue[_Job]) -> None:
        while True:
            function, done = jobs.get()
            try:
                with guarded("something that is not ours"):
                    function()
            finally:
                done.set()

    def run(self, function: Callable[[], object], timeout: float) -> bool:
        """Whether ``function`` was over in time, and what was asked for before it."""
        done = threading.Event()
        self._jobs.put((function, done))
        return done.wait(timeout)


_helper: _Helper | None = None


def prepare() -> None:
    """Let `bounded` be bounded to the end: Python 3.12 starts no thread late in the exit."""
    global _helper
    if _helper is None and sys.version_info >= (3, 12):
        _helper = _Helper()


def bounded(function: Callable[[], object], timeout: float) -> bool:
    """As `lifetime.bounded`; after `prepare` it never runs in the thread that waits, which could not leave it behind."""
    return lifetime.bounded(function, timeout, lifetime.in_place if _helper is None else _helper.run)

"""What a finaliser has to have done, done outside of the garbage collector.

A finaliser may run in the middle of anything on its thread, also while that thread holds a lock of the span processor:
ending a span there could wait for itself. So it only hands over; a thread of ours does it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Final

from .guard import guarded


class Reaper:
    """A thread that calls what it is handed, in that order."""

    def __init__(self) -> None:
        # `SimpleQueue.put` is made for finalisers.
        self._left: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread, before the first finaliser may run. Where none can be started any longer, `settle` does its work."""
        if self._thread is None:
            with self._lock, contextlib.suppress(RuntimeError):
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="otel-llm-bridge-streams", daemon=True)
                    thread.start()
                    self._thread = thread

    def add(self, end: Callable[[], object]) -> None:
        """Have ``end`` called. Safe in a finaliser."""
        self._left.put(end)

    def _run(self) -> None:
        while True:
            self._call(self._left.get())

    @staticmethod
    def _call(end: Callable[[], object]) -> None:  # its own frame: the loop above must hold nothing that it has called
        with guarded("reaper"):
            end()

    def settle(self, timeout: float = 1.0) -> None:
        """Return once everything that had been handed over before is done, or after ``timeout`` seconds."""
        if self._thread is None:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._call(self._left.get_nowait())
            return
        done = threading.Event()
        self._left.put(done.set)
        done.wait(timeout)

    def after_fork(self) -> None:
        """What was handed over is the parent's; the child starts a thread of its own."""
        self.__init__()  # type: ignore[misc]


reaper: Final = Reaper()

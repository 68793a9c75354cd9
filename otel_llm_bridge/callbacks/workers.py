"""Where callbacks run that must not hold up an event loop: our own threads, and our own loop.

All of them are daemon threads: a callback that hangs must not keep the process. What is still to be run when
the process ends is waited for by `otel_llm_bridge.callbacks.dispatch`, with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

#: As many as LiteLLM's own executor has.
MAX_THREADS: Final = 100


class Workers:
    """A pool of daemon threads for plain functions; grows when all are busy, up to `MAX_THREADS`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        #: Threads that wait, less the jobs that wait: never counts a thread for two jobs.
        self._idle = 0

    def submit(self, job: Callable[[], object]) -> None:
        """Run ``job``, which must not raise, in one of the threads.

        Where no thread can be started any longer (Python 3.12 and later, late in the exit) and there is none,
        it runs in place.
        """
        with self._lock:
            self._idle -= 1
            grow = self._idle < 0 and self._threads < MAX_THREADS
            if grow:
                self._threads += 1
                self._idle += 1
        self._jobs.put(job)
        if grow:
            try:
                threading.Thread(target=self._work, name="otel-llm-bridge-callbacks", daemon=True).start()
            except Exception:
                with self._lock:
                    self._threads -= 1
                    self._idle -= 1
                if self._threads == 0:
                    self._jobs.get()()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1

    async def run(self, function: Callable[[], Any]) -> Any:
        """The result of ``function()``, which runs in one of the threads; its exception is raised here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():  # given up in the meantime
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def job() -> None:
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:
                error = raised if isinstance(raised, Exception) else RuntimeError(f"callback ended with {raised!r}")
            # A loop that has been closed: whoever closed it has accounted for this run.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result, error)

        self.submit(job)
        return await future


class BackgroundLoop:
    """Our own event loop in a daemon thread: it outlives every loop of the program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resumed = threading.Event()

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, running; started by the first call.

        Raises:
            RuntimeError, MemoryError: no thread can be started.
            OSError: no loop can be made, as no file can be opened any more.
        """
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def pause(self, timeout: float) -> None:
        """Have the loop wait between two callbacks, until `resume`; at most ``timeout`` seconds to get there.

        For a fork: a lock that the loop's thread holds in that moment (of pydantic, of a logger) would stay locked
        in the child for ever.
        """
        loop = self._loop
        if loop is None or loop is asyncio._get_running_loop():
            return
        reached = threading.Event()
        self._resumed.clear()

        def wait() -> None:
            reached.set()
            self._resumed.wait(timeout)

        loop.call_soon_threadsafe(wait)
        reached.wait(timeout)

    def resume(self) -> None:
        """Let the loop go on."""
        self._resumed.set()

    @staticmethod
    def _start() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop()
        running = threading.Event()
        loop.call_soon(running.set)
        try:
            threading.Thread(target=loop.run_forever, name="otel-llm-bridge-background", daemon=True).start()
        except Exception:
            loop.close()
            raise
        running.wait()
        return loop

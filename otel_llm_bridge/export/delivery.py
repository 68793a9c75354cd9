"""The queue and its one thread: every ended span is confirmed, kept, or counted as lost.

This stands in the place of the SDK's batch processor, which throws the exporter's answer away, lets
``force_flush`` return ``True`` when nothing was delivered, ignores its timeout, forgets what a full queue
dropped, and shares its connection with forked children (all measured, see ``docs/delivery.md``).
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from ..guard import guarded, report
from . import lifetime
from .batch import Batch, Store, from_memory
from .items import Item, write
from .ledger import FlushReport, Ledger, Reason, State
from .retry import Retry
from .sending import Sender
from .transport import Outcome, Transport, Verdict

_FULL: Final = "the queue of %d %s is full; new ones are dropped and counted"


class Delivery:
    """Delivers items of one signal through one `Transport`, with one ledger.

    Args:
        encode: item → bytes.
        transport: how requests leave.
        name: of the signal, for messages.
        queue_size: items that may wait in memory.
        policy: what happens to one more: ``drop`` or ``block``.
        block_timeout: with ``block``, what one call may wait, in seconds.
        batch_size: most items of one request.
        batch_bytes: most bytes of one request.
        schedule_delay: seconds that an item waits for others.
        request_timeout: seconds that one request may take.
        store: the spool.
    """

    def __init__(
        self,
        encode: Callable[[Any], Item],
        transport: Transport,
        *,
        name: str = "spans",
        queue_size: int = 65_536,
        policy: str = "drop",
        block_timeout: float = 0.1,
        batch_size: int = 512,
        batch_bytes: int = 3_670_016,
        schedule_delay: float = 5.0,
        request_timeout: float = 10.0,
        store: Store | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.name = name
        self.queue_size = queue_size
        self._encode, self._store = encode, store
        self.sender = Sender(transport, self.ledger, store, name)
        self._policy, self._block_timeout, self._closed = policy, block_timeout, False
        self._batch_size, self._batch_bytes = min(batch_size, queue_size), batch_bytes
        self._schedule_delay, self._request_timeout = schedule_delay, request_timeout
        #: Whether an item may be handed over before all of it is written (`items.write`); a store has its bytes at once.
        self.waits = store is None
        self._reset()
        forget = weakref.WeakMethod(self._forget)
        lifetime.after_fork_in_child(lambda: (method := forget()) and method())
        if store is not None:
            store.bind(self.ledger)
            # Earlier processes may have left something.
            self._start()

    def _reset(self) -> None:
        self._queue: deque[Any] = deque()
        self._awake = threading.Event()
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._held: Batch | None = None
        self.retry = Retry()
        #: How many ended items the end of the process is for. Later ones are safe in the store.
        self._target = sys.maxsize

    def _forget(self) -> None:
        self.ledger.reset()
        self._reset()
        self.sender.forget()
        if self._store is not None:
            self._store.forget()

    # -- taking ---------------------------------------------------------------------------------------

    def take(self, item: Any) -> None:
        """One item ended. Never raises, and never waits unless the policy says so."""
        if self._store is not None and self._keep(item):
            return
        if self._closed:
            self._lose(item, Reason.AFTER_SHUTDOWN, "after the end", "%s ended after the shutdown and are lost", self.name)
        elif self.ledger.count(State.PENDING) >= self.queue_size and not self._wait_for_a_place():
            self._lose(item, Reason.QUEUE_FULL, "full", _FULL, self.queue_size, self.name)
        else:
            self.ledger.end(State.PENDING)
            self._queue.append(item)
            if self._thread is None:
                self._start()
            if len(self._queue) >= self._batch_size:
                self._wake()

    def _lose(self, item: Any, reason: Reason, *said: Any) -> None:
        self.ledger.end(State.DROPPED, reason=reason)
        self.sender.warn(*said)
        write(item)  # what is measured of it is not lost

    def write_up(self, always: bool = False) -> None:
        """Have all written that was handed over before: somebody is about to read what was measured of it; ``always`` from now on."""
        self.waits = self.waits and not always
        for item in self._queue.copy():
            write(item)

    def _wake(self) -> None:
        """A full batch need not wait for the clock; but while the receiver fails, each span must not wake the worker."""
        if not self.retry.not_before and not self._awake.is_set():
            self._awake.set()

    def _keep(self, item: Any) -> bool:
        assert self._store is not None
        try:
            encoded = self._encode(item)
        except Exception as error:  # counted like any other loss
            report("encoding", error)
            self.ledger.end(State.DROPPED, reason=Reason.ENCODING)
            return True
        # Counted before it is written: the worker may deliver it at once.
        self.ledger.end(State.SPOOLED)
        if self._store.append(encoded):
            if self._thread is None and not self._closed:
                self._start()
            if self.ledger.count(State.SPOOLED) >= self._batch_size:
                self._wake()
            return True
        self.ledger.unend(State.SPOOLED)
        return False

    def _wait_for_a_place(self) -> bool:
        if self._policy != "block" or threading.current_thread() is self._thread:
            return False
        self._awake.set()
        return self.ledger.wait(lambda: self.ledger.count(State.PENDING) < self.queue_size, self._block_timeout)

    # -- asking ---------------------------------------------------------------------------------------

    def hurry(self, timeout: float) -> None:
        """The process ends in ``timeout`` seconds: begin with the last attempts. `flush` waits for them."""
        if self.ledger.outstanding and self._start():
            self.retry.asked(timeout, final=True)
            self._awake.set()

    def flush(self, timeout: float, final: bool = False) -> FlushReport:
        """Try to deliver what ended before the call, for at most ``timeout`` seconds.

        Args:
            timeout: in seconds.
            final: the end of the process. A receiver that is not there is given up early, and what is on
                disk stays there after one attempt.

        Returns:
            The figures. The report is true only when every span that ended was confirmed by the receiver.
        """
        started, deadline = time.monotonic(), lifetime.Deadline(timeout)
        ledger = self.ledger
        target = ledger.ended
        if ledger.outstanding or self._store is not None:
            self._target = target if final else self._target
            self.retry.asked(timeout, final)
            if self._start():
                self._awake.set()
                if not self.retry.waits_beyond(timeout):
                    # The last flush also waits for what other processes left on disk.
                    ledger.wait(
                        lambda: self.retry.gave_up or (not final and ledger.ended - ledger.outstanding >= target),
                        deadline.remaining(),
                    )
            else:
                # No thread can be started any longer: deliver on this one.
                self._work_once()
        return ledger.report(time.monotonic() - started)

    def close(self, timeout: float) -> FlushReport:
        """Deliver what can be delivered in ``timeout`` seconds, then take nothing more."""
        # A provider of the user's may shut us down after our own end: that extends nothing.
        figures = self.flush(lifetime.left(timeout), final=True) if not self._closed else self.ledger.report()
        self._closed = True
        self._awake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(0.05)
        if self._store is not None and (thread is None or not thread.is_alive()):
            with guarded("spool"):
                self._save_the_rest(self._store)
                self._store.tidy()
        return figures

    def _save_the_rest(self, store: Store) -> None:
        """What waits in memory because the disk was full gets another chance at the end."""
        held, self._held = self._held, None
        queued = from_memory(self._queue, self._encode, self.ledger, sys.maxsize, sys.maxsize)
        for batch in (held, queued):
            if batch is not None and batch.state is State.PENDING:
                for item in batch.items:
                    if store.append(item):
                        self.ledger.move(State.PENDING, State.SPOOLED)

    @property
    def waiting(self) -> int:
        """Items in memory that no request holds."""
        return len(self._queue)

    @property
    def on_the_way(self) -> int:
        """Items of the request that is being sent or repeated."""
        batch = self._held
        return len(batch.items) if batch is not None else 0

    # -- delivering -----------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Make sure that the worker runs."""
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return True
            if self._closed:
                return False
            thread = threading.Thread(target=self._work, name=f"otel-llm-bridge-{self.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _work(self) -> None:
        pid = os.getpid()
        with suppress_instrumentation():
            while not self._closed and os.getpid() == pid:
                self._awake.wait(self.retry.pause(self._schedule_delay))
                self._awake.clear()
                self._work_once()
        self.sender.close()

    def _work_once(self) -> None:
        """Deliver until nothing is left, or the receiver does not take it now."""
        final = self.retry.final
        try:
            if self._work_through():
                self.retry.succeeded()
        except Exception as error:  # the worker goes on, whatever happens
            report("delivery", error)
            self._later(Outcome(Verdict.RETRY, detail=type(error).__name__))
            return
        if final is not None and not self.retry.not_before:
            self.retry.gave_up = True
            self.ledger.nudge()

    def _work_through(self) -> bool:
        if self._store is not None:
            with guarded("spool"):
                self._store.maintain(self.retry.urgent)
        if self.retry.must_wait():
            return False
        while (batch := self._held or self._next()) is not None:
            self._held = batch
            outcome = self.sender.send(batch, self.retry.timeout(self._request_timeout))
            if outcome is not None:
                self._later(outcome)
                return False
            self._held = None
            self.retry.progressed()
        return True

    def _later(self, outcome: Outcome) -> None:
        self.retry.failed(outcome, stored=self._held is not None and self._held.state is not State.PENDING)
        self.ledger.nudge()

    def _next(self) -> Batch | None:
        if self._store is not None:
            settled = self.ledger.ended - self.ledger.outstanding
            batch = self._store.next_batch(self._batch_size, self._batch_bytes, own=settled < self._target)
            if batch is not None:
                return batch
        return from_memory(self._queue, self._encode, self.ledger, self._batch_size, self._batch_bytes)

"""The queue and its one thread: every ended span is confirmed, kept, or counted as lost.

This stands in the place of the SDK's batch processor, which throws the exporter's answer away, lets
``force_flush`` return ``True`` when nothing was delivered, ignores its timeout, forgets what a full queue
dropped, and shares its connection with forked children (all measured, see ``docs/delivery.md``).
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from opentelemetry.instrumentation.utils import suppress_instrumentation

from ..guard import guarded, logger, report
from . import lifetime
from .encoding import Item, request
from .ledger import FlushReport, Ledger, Reason, State
from .transport import Outcome, Transport, Verdict

#: Seconds between two attempts: the first, the longest, and the longest while somebody waits for a flush.
_BACKOFF: Final = (0.1, 30.0, 0.5)
#: Attempts at the end of the process before a receiver that nobody runs is given up.
_LAST_ATTEMPTS: Final = 3
#: How often a batch may be halved to find the items that a receiver refuses.
_SPLITS: Final = 24
_WARN_EVERY: Final = 60.0
#: What a connection attempt ends in when nothing listens.
_NOBODY: Final = frozenset({"ConnectionRefusedError", "gaierror", "UNAVAILABLE"})


class Batch:
    """Items on their way, in pieces that are sent one after the other."""

    def __init__(self, items: list[Item], state: State | None, done: Callable[[], None] = lambda: None) -> None:
        self.pieces = [items] if items else []
        self.splits = _SPLITS
        #: Where the ledger has these items now; ``None`` for items of other processes.
        self.state = state
        #: Called when all of them are settled.
        self.done = done


class Store(Protocol):
    """A place on disk that keeps items until they are settled (`spool.Spool`)."""

    def bind(self, ledger: Ledger) -> None:
        """The ledger that losses of the store are entered in."""

    def append(self, item: Item) -> bool:
        """Keep ``item``; ``False`` when that is not possible now."""

    def next_batch(self, most: int, most_bytes: int) -> Batch | None:
        """The oldest items that nobody has on the way."""

    def quarantine(self, items: list[Item]) -> bool:
        """Keep items that the receiver refuses for good."""

    def maintain(self, urgent: bool) -> None:
        """Called by the worker from time to time."""

    def tidy(self) -> None:
        """The end of the process: delete what is settled, leave the rest for the next one."""

    def forget(self) -> None:
        """In a forked child: let go of what belongs to the parent."""


class Delivery:
    """Delivers items of one signal through one `Transport`, with one ledger.

    Args:
        encode: item → bytes; ``None`` for an item that cannot be made small enough.
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
        encode: Callable[[Any], Item | None],
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
        self._encode, self._transport, self._store = encode, transport, store
        self._policy, self._block_timeout = policy, block_timeout
        self._batch_size, self._batch_bytes = min(batch_size, queue_size), batch_bytes
        self._schedule_delay, self._request_timeout = schedule_delay, request_timeout
        self.transport_errors: dict[str, int] = {}
        self._closed = False
        self._reset()
        forget = weakref.WeakMethod(self._forget)
        lifetime.after_fork_in_child(lambda: (method := forget()) and method())  # type: ignore[arg-type,return-value]
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
        self._attempts = self._attempts_since_asked = 0
        self._not_before = 0.0
        self._asked_to_wait = False
        self._urgent_until = 0.0
        self._final: lifetime.Deadline | None = None
        self._final_attempts = 0
        self._gave_up = False
        self._warned: dict[str, float] = {}

    def _forget(self) -> None:
        self.ledger.reset()
        self._reset()
        self._transport.forget()
        if self._store is not None:
            self._store.forget()

    # -- taking ---------------------------------------------------------------------------------------

    def take(self, item: Any) -> None:
        """One item ended. Never raises, and never waits unless the policy says so."""
        if self._store is not None:
            if self._keep(item):
                return
        if self._closed:
            self.ledger.end(State.DROPPED, reason=Reason.AFTER_SHUTDOWN)
            self._warn("after the end", "%s ended after the shutdown and are lost", self.name)
            return
        ledger = self.ledger
        if ledger.count(State.PENDING) >= self.queue_size and not self._wait_for_a_place():
            ledger.end(State.DROPPED, reason=Reason.QUEUE_FULL)
            self._warn("full", "the queue of %d %s is full; new ones are dropped and counted", self.queue_size, self.name)
            return
        ledger.end(State.PENDING)
        self._queue.append(item)
        if self._thread is None:
            self._start()
        if len(self._queue) >= self._batch_size and not self._awake.is_set():
            self._awake.set()

    def _keep(self, item: Any) -> bool:
        assert self._store is not None
        try:
            encoded = self._encode(item)
        except Exception:  # noqa: BLE001 - counted like any other loss
            encoded = None
        if encoded is None:
            self.ledger.end(State.DROPPED, reason=Reason.TOO_LARGE)
            return True
        # Counted before it is written: the worker may deliver it at once.
        self.ledger.end(State.SPOOLED)
        if self._store.append(encoded):
            if self._thread is None and not self._closed:
                self._start()
            if self.ledger.count(State.SPOOLED) >= self._batch_size and not self._awake.is_set():
                self._awake.set()
            return True
        self.ledger.unend(State.SPOOLED)
        return False

    def _wait_for_a_place(self) -> bool:
        if self._policy != "block" or threading.current_thread() is self._thread:
            return False
        self._awake.set()
        return self.ledger.wait(lambda: self.ledger.count(State.PENDING) < self.queue_size, self._block_timeout)

    # -- asking ---------------------------------------------------------------------------------------

    def flush(self, timeout: float, final: bool = False) -> FlushReport:
        """Try to deliver what ended before the call, for at most ``timeout`` seconds.

        Args:
            timeout: in seconds.
            final: the end of the process. A receiver that is not there is given up early, and what is on
                disk stays there after one attempt.

        Returns:
            The figures. The report is true only when every span that ended was confirmed by the receiver.
        """
        started = time.monotonic()
        deadline = lifetime.Deadline(timeout)
        ledger = self.ledger
        target = ledger.ended
        if ledger.outstanding or self._store is not None:
            if final:
                self._final, self._final_attempts, self._gave_up = deadline, 0, False
            self._urgent_until = max(self._urgent_until, started + timeout)
            self._attempts_since_asked = 0
            if self._start():
                self._awake.set()
                if not (self._asked_to_wait and self._not_before > started + timeout):
                    # The last flush also waits for what other processes left on disk.
                    ledger.wait(
                        lambda: self._gave_up or (not final and ledger.ended - ledger.outstanding >= target),
                        deadline.remaining(),
                    )
            else:
                # No thread can be started any longer: deliver on this one.
                self._work_once()
        return ledger.report(time.monotonic() - started)

    def close(self, timeout: float) -> FlushReport:
        """Deliver what can be delivered in ``timeout`` seconds, then take nothing more."""
        figures = self.flush(timeout, final=True) if not self._closed else self.ledger.report()
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
        left = [item for piece in held.pieces for item in piece] if held and held.state is State.PENDING else []
        left += [item for raw in self._queue if (item := self._encode(raw)) is not None]
        self._queue.clear()
        for item in left:
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
        return sum(len(piece) for piece in batch.pieces) if batch is not None else 0

    # -- delivering -----------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Make sure that the worker runs."""
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return True
            if self._closed:
                return False
            thread = threading.Thread(target=self._work, name=f"otel-llm-bridge-{self.name}", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:
                return False
        return True

    def _work(self) -> None:
        pid = os.getpid()
        with suppress_instrumentation():
            while not self._closed and os.getpid() == pid:
                self._awake.wait(self._pause())
                self._awake.clear()
                self._work_once()
        self._transport.close()

    def _pause(self) -> float:
        if self._not_before:
            return max(0.0, self._not_before - time.monotonic())
        return self._schedule_delay

    def _work_once(self) -> None:
        """Deliver until nothing is left, or the receiver does not take it now."""
        final = self._final
        try:
            if self._work_through():
                self._not_before, self._attempts, self._asked_to_wait = 0.0, 0, False
        except Exception as error:  # noqa: BLE001 - the worker goes on, whatever happens
            report("delivery", error)
            self._later(Outcome(Verdict.RETRY, detail=type(error).__name__))
            return
        if final is not None and not self._not_before:
            self._give_up()

    def _work_through(self) -> bool:
        urgent = time.monotonic() < self._urgent_until
        if self._store is not None:
            with guarded("spool"):
                self._store.maintain(urgent)
        if self._must_wait(urgent):
            return False
        while (batch := self._held or self._next()) is not None:
            self._held = batch
            outcome = self._send(batch)
            if outcome is not None:
                self._later(outcome)
                return False
            self._held = None
            self._attempts = 0
        return True

    def _must_wait(self, urgent: bool) -> bool:
        """Whether it is too early for another attempt; the first one after a flush was asked for is not."""
        if time.monotonic() >= self._not_before:
            return False
        return self._asked_to_wait or not urgent or self._attempts_since_asked > 0

    def _next(self) -> Batch | None:
        if self._store is not None:
            batch = self._store.next_batch(self._batch_size, self._batch_bytes)
            if batch is not None:
                return batch
        return self._from_memory()

    def _from_memory(self) -> Batch | None:
        items: list[Item] = []
        size = 0
        queue, ledger = self._queue, self.ledger
        while queue and len(items) < self._batch_size:
            raw = queue[0]
            try:
                item = self._encode(raw)
            except Exception as error:  # noqa: BLE001 - a span that cannot be encoded must not stop the others
                logger.debug("%s cannot be encoded", self.name, exc_info=error)
                queue.popleft()
                ledger.move(State.PENDING, State.DROPPED, reason=Reason.ENCODING)
                continue
            if item is None:
                queue.popleft()
                ledger.move(State.PENDING, State.DROPPED, reason=Reason.TOO_LARGE)
                continue
            # Room for the tags and lengths around the item, and for a resource of its own at worst.
            size += len(item.body) + len(item.context.resource) + len(item.context.scope) + 32
            if items and size > self._batch_bytes:
                break
            queue.popleft()
            items.append(item)
        return Batch(items, State.PENDING) if items else None

    def _send(self, batch: Batch) -> Outcome | None:
        """Send what is left of ``batch``; an outcome means: not now, come back with the same batch."""
        while batch.pieces:
            piece = batch.pieces[-1]
            outcome = self._transport.send(request(piece), self._timeout())
            if outcome.verdict is not Verdict.DELIVERED:
                self.transport_errors[outcome.detail] = self.transport_errors.get(outcome.detail, 0) + 1
            if outcome.verdict is Verdict.RETRY:
                return outcome
            batch.pieces.pop()
            if outcome.verdict is Verdict.DELIVERED:
                self._confirmed(batch, len(piece), min(outcome.rejected, len(piece)))
            elif len(piece) > 1 and batch.splits > 0:
                batch.splits -= 1
                middle = len(piece) // 2
                batch.pieces += [piece[middle:], piece[:middle]]
            else:
                self._refused(batch, piece, outcome)
        batch.done()
        return None

    def _timeout(self) -> float:
        """A last request gets no more time than the process has left."""
        if self._final is not None:
            return max(0.05, min(self._request_timeout, self._final.remaining()))
        return self._request_timeout

    def _confirmed(self, batch: Batch, count: int, rejected: int) -> None:
        if batch.state is None:
            self.ledger.replay(count - rejected)
        else:
            self.ledger.move(batch.state, State.EXPORTED, count - rejected)
            self.ledger.move(batch.state, State.FAILED, rejected)
        if rejected:
            self._warn("partial", "the receiver refused %d of %d %s", rejected, count, self.name)

    def _refused(self, batch: Batch, piece: list[Item], outcome: Outcome) -> None:
        kept = self._store is not None and self._store.quarantine(piece)
        if batch.state is not None:
            self.ledger.move(batch.state, State.QUARANTINED if kept else State.FAILED, len(piece))
        self._warn("refused", "the receiver refused %d %s for good: %s", len(piece), self.name, outcome.detail)

    def _later(self, outcome: Outcome) -> None:
        """Decide when to try again."""
        first, longest, urgent_longest = _BACKOFF
        now = time.monotonic()
        if now < self._urgent_until:
            longest = urgent_longest
        self._attempts += 1
        self._attempts_since_asked += 1
        self._asked_to_wait = outcome.retry_after is not None
        backoff = min(longest, first * 2 ** min(self._attempts - 1, 16)) * random.uniform(0.8, 1.2)
        wait = backoff if outcome.retry_after is None else outcome.retry_after
        self._not_before = now + wait
        self._warn("failing", "%s are not delivered: %s", self.name, outcome.detail)
        if self._final is None:
            self.ledger.nudge()
            return
        self._final_attempts += 1
        stored = self._held is not None and self._held.state is not State.PENDING
        enough = 1 if stored else _LAST_ATTEMPTS if outcome.detail in _NOBODY else 1 << 30
        if self._final_attempts >= enough or wait > self._final.remaining():
            self._give_up()

    def _give_up(self) -> None:
        self._gave_up = True
        self.ledger.nudge()

    def _warn(self, kind: str, message: str, *args: object) -> None:
        """One warning a kind and minute, with the figures."""
        now = time.monotonic()
        if now - self._warned.get(kind, -_WARN_EVERY) >= _WARN_EVERY:
            self._warned[kind] = now
            logger.warning("otel_llm_bridge: " + message + " (%s)", *args, self.ledger.report())

"""One batch and one receiver: send, divide what is refused, enter the result in the ledger."""

from __future__ import annotations

import time
from typing import Final

from ..guard import logger
from .batch import Batch, Store
from .items import Item, request
from .ledger import Ledger, State
from .transport import Outcome, Transport, Verdict

_WARN_EVERY: Final = 60.0


class Sender:
    """Sends batches over ``transport``.

    Attributes:
        errors: how often each status or error came back.
    """

    def __init__(self, transport: Transport, ledger: Ledger, store: Store | None, name: str) -> None:
        self.errors: dict[str, int] = {}
        self._transport, self._ledger, self._store, self._name = transport, ledger, store, name
        self._warned: dict[str, float] = {}

    def send(self, batch: Batch, timeout: float) -> Outcome | None:
        """Send what is left of ``batch``; an outcome means: not now, come back with the same batch."""
        while batch.pieces:
            piece = batch.pieces[-1]
            outcome = self._transport.send(request(piece), timeout)
            if outcome.verdict is not Verdict.DELIVERED:
                self.errors[outcome.detail] = self.errors.get(outcome.detail, 0) + 1
            if outcome.verdict is Verdict.RETRY:
                self.warn("failing", "%s are not delivered: %s", self._name, outcome.detail)
                return outcome
            batch.pieces.pop()
            if outcome.verdict is Verdict.DELIVERED:
                self._confirmed(batch, len(piece), min(outcome.rejected, len(piece)))
            elif not batch.split(piece):
                self._refused(batch, piece, outcome)
        batch.done()
        return None

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def forget(self) -> None:
        """In a forked child: the connection is the parent's."""
        self._warned.clear()
        self._transport.forget()

    def _confirmed(self, batch: Batch, count: int, rejected: int) -> None:
        if batch.state is None:
            self._ledger.replay(count - rejected)
        else:
            self._ledger.move(batch.state, State.EXPORTED, count - rejected)
            self._ledger.move(batch.state, State.FAILED, rejected)
        if rejected:
            self.warn("partial", "the receiver refused %d of %d %s", rejected, count, self._name)

    def _refused(self, batch: Batch, piece: list[Item], outcome: Outcome) -> None:
        kept = self._store is not None and self._store.quarantine(piece)
        if batch.state is not None:
            self._ledger.move(batch.state, State.QUARANTINED if kept else State.FAILED, len(piece))
        self.warn("refused", "the receiver refused %d %s for good: %s", len(piece), self._name, outcome.detail)

    def warn(self, kind: str, message: str, *args: object) -> None:
        """One warning a kind and minute, with the figures."""
        now = time.monotonic()
        if now - self._warned.get(kind, -_WARN_EVERY) >= _WARN_EVERY:
            self._warned[kind] = now
            logger.warning("otel_llm_bridge: " + message + " (%s)", *args, self._ledger.report())

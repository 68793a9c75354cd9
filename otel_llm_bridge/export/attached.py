"""A TracerProvider that belongs to the user: watched and flushed, never replaced or shut down."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ..guard import guarded, logger
from ..locks import rlock
from . import helper, lifetime
from .delivery import Delivery
from .ledger import FlushReport, Ledger, Reason, State
from .processors import DeliverySpanProcessor
from .slices import slices

#: What failures of one batch may take, in seconds, before the rest of it is given up.
_PATIENCE: Final = 1.0


class Attached:
    """The figures of one provider of the user's, from now on: spans that ended before may still wait there, and are not counted.

    What was exported is what the first exporter behind it confirmed. Where no exporter can be found (a
    processor of another make), spans stay *pending*: a flush that merely returned is no proof.

    Attributes:
        max_request_bytes: what a request of the exporter may be; a larger batch reaches it as several. Unlimited unless set.
    """

    def __init__(self, provider: Any) -> None:
        self.provider = provider
        self.max_request_bytes = math.inf
        self._exporter: _Observed | None = None
        self._delivery = _ours(provider)
        if self._delivery is not None:
            # The user has put our own processor there: its figures are the truth.
            self.ledger = self._delivery.ledger
            return
        self.ledger = Ledger()
        self._looking = rlock()
        self._looked_at: Any = None
        helper.prepare()
        lifetime.after_fork_in_child(self.ledger.reset)
        self._counts = functools.partial(_counts, time.time_ns())
        add = getattr(provider, "add_span_processor", None)
        if add is not None:
            with guarded("attach"):
                add(_Counting(self.ledger, self._counts, self.look))
        self.look()

    def look(self) -> None:
        """Find the exporter. The user may add one after us: asked for each span that ends, until there is one."""
        if self._exporter is not None or (there := _listed(self.provider)) is self._looked_at:
            return
        with guarded("attach"), self._looking:
            if self._exporter is None:
                self._exporter = _observe(self)
                self._looked_at = there

    def settle(self, spans: Sequence[ReadableSpan], state: State) -> None:
        """Enter what became of ``spans``."""
        self.ledger.move(State.PENDING, state, sum(map(self._counts, spans)))

    def flush(self, timeout: float, final: bool = False) -> FlushReport:
        """The provider's own ``force_flush``, in a helper thread and for at most ``timeout`` seconds."""
        if self._delivery is not None:
            return self._delivery.flush(timeout, final)
        started = time.monotonic()
        self.look()
        force_flush = getattr(self.provider, "force_flush", None)
        over = force_flush is not None and helper.bounded(lambda: _force(force_flush, timeout), timeout)
        if over and self._exporter is not None and self._exporter.is_idle():
            # What ended, is not on its way and never reached the exporter was thrown away on the way there.
            self.ledger.move(State.PENDING, State.DROPPED, self.ledger.count(State.PENDING), Reason.USER_PIPELINE)
        return self.ledger.report(time.monotonic() - started)


def _force(force_flush: Any, timeout: float) -> None:
    try:
        force_flush(int(timeout * 1000))
    except TypeError:
        force_flush()
    except Exception as error:  # the user's pipeline, not ours
        logger.debug("force_flush of the user's provider", exc_info=error)


_Counts = Callable[[ReadableSpan], bool]


def _counts(since: int, span: ReadableSpan) -> bool:
    """Whether ``span`` is sampled and has ended at ``since`` or later: asked at its end and at its export alike."""
    context = span.context
    return context is not None and bool(context.trace_flags & 1) and (span.end_time or 0) >= since


class _Counting(SpanProcessor):
    """Counts ends. It comes after the processors that were there, which may have exported the span, and before new ones."""

    def __init__(self, ledger: Ledger, counts: _Counts, look: Callable[[], None]) -> None:
        self._ledger, self._counts, self._look = ledger, counts, look

    def on_end(self, span: ReadableSpan) -> None:
        self._look()
        if self._counts(span):
            self._ledger.end(State.PENDING)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here. The SDK's own says nothing in old versions, and there a flush went no further than to us."""
        return True


class _Observed(SpanExporter):
    """The user's exporter, with its answers counted, and with batches that a receiver takes."""

    def __init__(self, exporter: Any, attached: Attached, processor: Any) -> None:
        self._exporter, self._attached, self._processor = exporter, attached, processor
        self._over = False
        #: One entry for each export that is going on: in a list, so that several threads can tell.
        self._going_on: list[None] = []

    def export(self, spans: Any) -> SpanExportResult:
        """The exporter's answer, or the last one that is no success if it was asked for several slices.

        What is left is given up, and counted as failed, once failures have taken a second: an exporter that waits for a dead
        receiver in each slice would hold its processor for as long as that many batches.
        """
        result, failing, left = SpanExportResult.SUCCESS, 0.0, slices(spans, self._attached.max_request_bytes)
        self._going_on.append(None)
        try:
            while left and failing < _PATIENCE and not (self._over and failing):
                started = time.monotonic()
                answer = self._export(left.pop(0))
                if answer is not SpanExportResult.SUCCESS:
                    result = answer
                    failing += time.monotonic() - started
            return result
        finally:
            for part in left:
                self._attached.settle(part, State.FAILED)
            self._going_on.pop()

    def _export(self, spans: Any) -> SpanExportResult:
        confirmed = False
        try:
            result: SpanExportResult = self._exporter.export(spans)
            confirmed = result is SpanExportResult.SUCCESS
        finally:
            self._attached.settle(spans, State.EXPORTED if confirmed else State.FAILED)
        return result

    def is_idle(self) -> bool:
        """Whether the user's batch processor holds nothing back, and nothing is on its way."""
        holder = getattr(self._processor, "_batch_processor", self._processor)
        queue = getattr(holder, "_queue", getattr(holder, "queue", ()))  # the latter in old versions
        return not queue and not self._going_on

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        self._over = True
        self._exporter.shutdown(*args, **kwargs)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return bool(self._exporter.force_flush(timeout_millis))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)


def _listed(provider: Any) -> Any:
    """The SDK's own tuple, another one when a processor is added; ``None`` where that cannot be seen."""
    return getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)


def processors(provider: Any) -> tuple[Any, ...] | None:
    """What a provider of the SDK's hands its spans to, without ours that only counts; ``None`` where that cannot be seen."""
    found = _listed(provider)
    return None if found is None else tuple(one for one in found if not isinstance(one, _Counting))


def _ours(provider: Any) -> Delivery | None:
    """The delivery behind a processor of ours that the user has added."""
    for processor in processors(provider) or ():
        if isinstance(processor, DeliverySpanProcessor):
            return processor.delivery
    return None


def _observe(attached: Attached) -> _Observed | None:
    """Put an observer in front of the first exporter of the SDK's own processors."""
    for processor in processors(attached.provider) or ():
        inner = getattr(processor, "_batch_processor", None)
        holder, name = (inner, "_exporter") if inner is not None else (processor, "span_exporter")
        exporter = getattr(holder, name, None)
        if isinstance(exporter, _Observed):
            continue
        if hasattr(exporter, "export"):
            observed = _Observed(exporter, attached, processor)
            setattr(holder, name, observed)
            return observed
    return None

"""The SDK's own interfaces over `delivery`: a span processor, a log processor, a metric exporter."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

# Imported here and not where they are used: a fork during an import in the worker would leave the module's
# lock held for ever in the child.
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.metrics import MetricsTimeoutError
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from ..guard import guarded
from . import lifetime
from .delivery import Delivery
from .transport import Transport, Verdict


class DeliverySpanProcessor(SpanProcessor):
    """Hands every sampled span that ends to a `Delivery`.

    Args:
        delivery: the queue.
        exit_timeout: what `shutdown` may take, in seconds.
        journal: told of each span that starts; see `spool.Journal`.
    """

    #: Whether `on_start` does anything.
    notes_starts = True

    def __init__(self, delivery: Delivery, exit_timeout: float = 5.0, journal: Any = None) -> None:
        self.delivery = delivery
        self._take = delivery.take
        self._exit_timeout = exit_timeout
        self._journal = journal
        self.notes_starts = journal is not None

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self._journal is not None:
            self._journal.started(span)

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is not None and context.trace_flags & 1:
            self._take(span)

    def force_flush(self, timeout_millis: int | None = 30000) -> bool:
        """Whether everything that ended was confirmed, within the timeout."""
        seconds = 30.0 if timeout_millis is None else timeout_millis / 1000
        return bool(self.delivery.flush(seconds))

    def shutdown(self) -> None:
        self.delivery.close(self._exit_timeout)


class DeliveryLogProcessor(LogRecordProcessor):
    """Hands every log record to a `Delivery`."""

    def __init__(self, delivery: Delivery, exit_timeout: float = 5.0) -> None:
        self.delivery = delivery
        self._exit_timeout = exit_timeout

    def on_emit(self, log_record: Any) -> None:
        self.delivery.take(log_record)

    #: The name of the same before OpenTelemetry 1.35.
    emit = on_emit

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Whether every record was confirmed, within the timeout."""
        return bool(self.delivery.flush(timeout_millis / 1000))

    def shutdown(self) -> None:
        self.delivery.close(self._exit_timeout)


#: What data points failed with where the receiver gives no reason.
_REJECTED: Final = "rejected"


class DeliveryMetricExporter(MetricExporter):
    """Sends metrics over a `Transport`. A failed export is not repeated: the next one carries the same sums."""

    def __init__(self, transport: Transport, timeout: float, preferred: tuple[Any, Any] = (None, None)) -> None:
        super().__init__(preferred_temporality=preferred[0], preferred_aggregation=preferred[1])
        self._transport = transport
        self._timeout = timeout
        #: Data points whose export is over, by what it failed with; blank for those that were delivered.
        self.finished: Counter[str] = Counter()
        #: Adds to what was collected what is not kept by the SDK.
        self.complete: Callable[[MetricsData], MetricsData] = lambda collected: collected
        #: Called before that: what was measured is to be there.
        self.prepare: Callable[[], None] = lambda: None

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        with guarded("metrics"):
            self.prepare()
        whole = self.complete(metrics_data)
        body = encode_metrics(whole).SerializeToString()
        if not body:
            return MetricExportResult.SUCCESS
        outcome = self._transport.send(body, min(self._timeout, timeout_millis / 1000))
        scopes = [scope for resource in whole.resource_metrics for scope in resource.scope_metrics]
        count = sum(len(metric.data.data_points) for scope in scopes for metric in scope.metrics)
        if outcome.verdict is not Verdict.DELIVERED:
            self.finished[outcome.detail or _REJECTED] += count
            return MetricExportResult.FAILURE
        self.finished[""] += count - outcome.rejected
        if outcome.rejected:
            self.finished[_REJECTED] += outcome.rejected
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._transport.close()


#: How long the last collection of metrics may take when the process ends, in seconds.
_LAST_COLLECTION: Final = 2.0


class DeliveryMetricReader(PeriodicExportingMetricReader):
    """The SDK's reader, made safe for forked children and bounded at the end.

    The SDK keeps one lock across a fork: a child of a parent that was exporting waits for it for ever.
    """

    def __init__(self, transport: Transport, timeout: float, preferred: tuple[Any, Any], schedule: tuple[float, float]) -> None:
        self.exporter = DeliveryMetricExporter(transport, timeout, preferred)
        super().__init__(self.exporter, *schedule)
        self._transport = transport
        lifetime.after_fork_in_child(self._forget)

    def _forget(self) -> None:
        self._export_lock = threading.Lock()
        self.exporter.finished.clear()
        self._transport.forget()

    def flush(self, timeout: float) -> bool:
        """Collect and send once, in at most ``timeout`` seconds; ``False`` when that was too little."""
        done: list[bool] = []
        end = time.monotonic() + timeout

        def collect() -> None:
            with guarded("the last collection of metrics"), contextlib.suppress(MetricsTimeoutError):  # no time left: not done
                self.collect(timeout_millis=max(1.0, (end - time.monotonic()) * 1000))
                done.append(True)

        return lifetime.bounded(collect, min(timeout, _LAST_COLLECTION)) and bool(done)

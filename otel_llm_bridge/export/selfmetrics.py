"""The figures of delivery as the metrics in which an OpenTelemetry SDK reports on itself.

All are observable: they are read when metrics are collected and cost nothing when a span ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from ..providers import SCOPE
from ..semconv import sdk as names
from .delivery import Delivery
from .processors import DeliveryMetricExporter

_numbers = itertools.count()

_COUNTER, _UP_DOWN = "create_observable_counter", "create_observable_up_down_counter"


def _processed(delivery: Delivery) -> Iterator[tuple[int, str]]:
    """Spans that the processor is done with: handed on, or dropped for the reason that ``error.type`` names."""
    report = delivery.ledger.report()
    yield report.ended - report.pending - sum(report.dropped.values()), ""
    yield from ((count, reason) for reason, count in report.dropped.items())


def _exported(delivery: Delivery) -> Iterator[tuple[int, str]]:
    report = delivery.ledger.report()
    yield report.exported, ""
    yield report.failed + report.quarantined, "rejected"


def _points(exporter: DeliveryMetricExporter) -> Iterator[tuple[int, str]]:
    """A value also when there was no export yet: the SDK's reader passes nothing on where its instruments have nothing."""
    finished = {"": 0, **exporter.finished}
    yield from ((count, error) for error, count in finished.items())


#: Of spans: name, kind of instrument, component, meaning, figures with their ``error.type`` (blank for none).
_SPANS: Final = (
    (names.PROCESSOR_PROCESSED, _COUNTER, names.PROCESSOR_TYPE, "Spans that the processor is done with.", _processed),
    (
        names.PROCESSOR_QUEUE_SIZE, _UP_DOWN, names.PROCESSOR_TYPE, "Spans that wait in memory.",
        lambda delivery: [(delivery.waiting, "")],
    ),
    (
        names.PROCESSOR_QUEUE_CAPACITY, _UP_DOWN, names.PROCESSOR_TYPE, "Spans that may wait in memory.",
        lambda delivery: [(delivery.queue_size, "")],
    ),
    (names.EXPORTER_EXPORTED, _COUNTER, names.EXPORTER_TYPE, "Spans that the receiver confirmed or refused.", _exported),
    (
        names.EXPORTER_INFLIGHT, _UP_DOWN, names.EXPORTER_TYPE, "Spans on their way.",
        lambda delivery: [(delivery.on_the_way, "")],
    ),
    (
        names.SPOOL_SPANS, _UP_DOWN, names.EXPORTER_TYPE, "Spans of this process that wait on disk.",
        lambda delivery: [(delivery.ledger.report().spooled, "")],
    ),
    (
        names.SPOOL_REPLAYED, _COUNTER, names.EXPORTER_TYPE, "Spans of other processes that were delivered from disk.",
        lambda delivery: [(delivery.ledger.report().replayed, "")],
    ),
)  # fmt: skip

#: The same of metrics.
_METRICS: Final = (
    (names.POINTS_EXPORTED, _COUNTER, names.METRIC_EXPORTER_TYPE, "Data points that were delivered, or not.", _points),
)


def observe_spans(delivery: Delivery, provider: MeterProvider) -> None:
    """Report the figures of ``delivery`` through ``provider``."""
    _observe(_SPANS, names.UNIT_SPAN, delivery, provider)


def observe_metrics(exporter: DeliveryMetricExporter, provider: MeterProvider) -> None:
    """Report the figures of ``exporter`` through ``provider``."""
    _observe(_METRICS, names.UNIT_POINT, exporter, provider)


def _observe(table: Iterable[tuple[Any, ...]], unit: str, source: Any, provider: MeterProvider) -> None:
    meter = provider.get_meter(f"{SCOPE}.export")
    number = next(_numbers)
    for name, kind, component, meaning, figures in table:
        attributes = {names.COMPONENT_TYPE: component, names.COMPONENT_NAME: f"{component}/{number}"}

        def read(_: CallbackOptions, figures: Any = figures, attributes: dict[str, str] = attributes) -> Iterable[Observation]:
            for value, error in figures(source):
                yield Observation(value, {**attributes, names.ERROR_TYPE: error} if error else attributes)

        getattr(meter, kind)(name, callbacks=[read], unit=unit, description=meaning)

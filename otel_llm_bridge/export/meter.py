"""The meter of the bridge's own pipeline: its counters and histograms are `instruments`, everything else is the SDK's.

The SDK keeps all measurements where it was told to do anything but its defaults.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from . import lifetime
from .instruments import BucketHistogram, Counter, Instrument

#: Standard variables with which the SDK keeps the measurements.
_OTHERWISE: Final = (
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
)


class Meter:
    """Makes our counters and histograms; the SDK's meter makes the rest.

    Args:
        stock: the SDK's meter of the same scope.
        scope: of the instruments.
    """

    def __init__(self, stock: metrics.Meter, scope: InstrumentationScope) -> None:
        self._stock, self._scope = stock, scope
        self._made: dict[str, Instrument] = {}
        lifetime.after_fork_in_child(self._forget)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stock, name)

    def _forget(self) -> None:
        for instrument in tuple(self._made.values()):
            instrument.forget()

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        """See `opentelemetry.metrics.Meter`."""
        if name not in self._made:
            self._made[name] = Counter(self._stock.create_counter(name, unit, description), name, unit, description)
        return self._made[name]

    def create_histogram(
        self, name: str, unit: str = "", description: str = "", *, explicit_bucket_boundaries_advisory: Sequence[float] | None = None
    ) -> Any:
        """See `opentelemetry.metrics.Meter`."""
        bounds = explicit_bucket_boundaries_advisory or ()
        if name not in self._made:
            stock = self._stock.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)
            self._made[name] = BucketHistogram(stock, name, unit, description, bounds)
        return self._made[name]

    def share(self) -> None:
        """Somebody else reads the SDK's instruments: give them every measurement as well."""
        for instrument in tuple(self._made.values()):
            instrument.is_shared = True

    def add_to(self, collected: MetricsData) -> MetricsData:
        """``collected`` by the SDK, with our points in their scope, and in the place of the SDK's own."""
        now = time.time_ns()
        ours = [metric for instrument in tuple(self._made.values()) if (metric := instrument.collect(now)) is not None]
        if not ours or not collected.resource_metrics:
            return collected
        names = {metric.name for metric in ours}
        told = collected.resource_metrics[0]
        theirs = [scope for scope in told.scope_metrics if scope.scope != self._scope]
        beside = [
            metric for scope in told.scope_metrics if scope.scope == self._scope for metric in scope.metrics if metric.name not in names
        ]
        whole = ScopeMetrics(self._scope, [*beside, *ours], self._scope.schema_url or "")
        first = ResourceMetrics(told.resource, [*theirs, whole], told.schema_url)
        return MetricsData([first, *collected.resource_metrics[1:]])


class Provider(MeterProvider):
    """The SDK's provider, whose meter of one scope is ours.

    Args:
        of: name of the instrumentation scope; empty when the SDK is to keep everything.
        readers: see `opentelemetry.sdk.metrics.MeterProvider`.
        **options: of the SDK's provider.
    """

    def __init__(self, of: str, readers: Sequence[Any], **options: Any) -> None:
        super().__init__(readers, **options)
        self._of = of
        self.meter: Meter | None = None
        #: Called when somebody else begins to read.
        self.shared: Callable[[], None] = lambda: None

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> metrics.Meter:
        """See `opentelemetry.metrics.MeterProvider`."""
        stock = super().get_meter(name, version, schema_url, attributes)
        if name != self._of or any(os.environ.get(variable, "").strip() for variable in _OTHERWISE):
            return stock
        if self.meter is None:
            self.meter = Meter(stock, InstrumentationScope(name, version, schema_url, attributes))
        return self.meter  # type: ignore[return-value]  # it has all that a Meter has

    def add_metric_reader(self, metric_reader: Any) -> None:
        """See `opentelemetry.sdk.metrics.MeterProvider`. The new reader is given what is measured from now on."""
        super().add_metric_reader(metric_reader)
        self.shared()
        if self.meter is not None:
            self.meter.share()

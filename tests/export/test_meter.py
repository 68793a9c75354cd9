"""Our own instruments against those of the SDK: the same measurements, the same points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData, ResourceMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_llm_bridge.export.meter import Meter, Provider

_SCOPE = "ours"
_BOUNDS = (0.1, 1.0, 10.0)
_LABELS: tuple[dict[str, Any], ...] = ({"a": "1"}, {"a": "2", "b": "x"}, {})
_CONTEXTS = tuple(
    trace.set_span_in_context(NonRecordingSpan(SpanContext(number, number, False, TraceFlags(flags))))
    for number, flags in ((5, 1), (6, 1), (7, 0))
)


def _read(provider: MeterProvider, reader: InMemoryMetricReader) -> MetricsData:
    collected = reader.get_metrics_data()
    assert collected is not None
    meter = getattr(provider, "meter", None)
    return meter.add_to(collected) if meter is not None else collected


def _told(data: MetricsData) -> dict[str, Any]:
    """Everything but times."""
    found: dict[str, Any] = {}
    for resource in encode_metrics(data).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                points = []
                for point in getattr(metric, kind).data_points:
                    for part in (point, *point.exemplars):
                        part.ClearField("time_unix_nano")
                    point.ClearField("start_time_unix_nano")
                    points.append(str(point))
                whole = getattr(metric, kind)
                found[scope.scope.name, scope.schema_url, metric.name] = (
                    metric.description, metric.unit, kind, whole.aggregation_temporality, getattr(whole, "is_monotonic", None), sorted(points)
                )  # fmt: skip
    return found


def _both(do: Callable[[Any], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    told = []
    for made in (MeterProvider, lambda readers, **options: Provider(_SCOPE, readers, **options)):
        reader = InMemoryMetricReader()
        provider = made([reader], shutdown_on_exit=False)
        meter = provider.get_meter(_SCOPE, "1", "https://example.invalid/1")

        def observe(_: CallbackOptions) -> list[Observation]:
            return [Observation(3, {"c": 1})]

        meter.create_observable_counter("observed", [observe])
        do(meter)
        told.append(_told(_read(provider, reader)))
    return told[0], told[1]


_measurements = st.lists(
    st.tuples(st.floats(0, 20), st.sampled_from(_LABELS), st.sampled_from(_CONTEXTS)), min_size=1, max_size=30
)


@settings(max_examples=100, deadline=None)
@given(_measurements)
def test_a_histogram(measurements: list[tuple[float, Any, Any]]) -> None:
    """Counts, sums, buckets, extremes and exemplars of each label set are those of the SDK."""

    def do(meter: Any) -> None:
        histogram = meter.create_histogram("h", "s", "How long.", explicit_bucket_boundaries_advisory=_BOUNDS)
        for amount, labels, context in measurements:
            histogram.record(amount, labels, context)

    theirs, ours = _both(do)
    assert ours == theirs


def test_a_counter() -> None:
    """Sums are those of the SDK. Of the measurements we keep the last as an exemplar; the SDK keeps one by chance."""

    def do(meter: Any) -> None:
        counter = meter.create_counter("c", "{token}", "How many.")
        for amount, labels in ((1, _LABELS[0]), (2.5, _LABELS[1]), (4, _LABELS[0])):
            counter.add(amount, labels, _CONTEXTS[2])

    theirs, ours = _both(do)
    assert ours == theirs


def test_a_counter_has_an_exemplar() -> None:
    """The last measurement of a sampled span leads to it, once."""
    reader = InMemoryMetricReader()
    provider = Provider(_SCOPE, [reader], shutdown_on_exit=False)
    meter: Any = provider.get_meter(_SCOPE)
    meter.create_observable_counter("observed", [lambda _: [Observation(3)]])
    counter = meter.create_counter("c")
    for amount, context in ((1, _CONTEXTS[0]), (2, _CONTEXTS[1]), (4, _CONTEXTS[2])):
        counter.add(amount, _LABELS[0], context)

    def exemplars() -> list[Any]:
        (scope,) = _read(provider, reader).resource_metrics[0].scope_metrics
        (point,) = next(metric for metric in scope.metrics if metric.name == "c").data.data_points
        assert point.value == 7
        return [(exemplar.trace_id, exemplar.value) for exemplar in point.exemplars]

    assert exemplars() == [(6, 2)]
    assert exemplars() == []


def test_names_are_one_instrument() -> None:
    """Asked for twice, as after ``uninstrument()`` and ``instrument()``, an instrument goes on counting."""
    meter: Any = Provider(_SCOPE, [InMemoryMetricReader()], shutdown_on_exit=False).get_meter(_SCOPE)
    assert meter.create_counter("c") is meter.create_counter("c")
    assert meter.create_histogram("h") is meter.create_histogram("h")


def test_instruments_may_be_made_while_others_are_read() -> None:
    """The first call makes its instruments while the reader may be at work."""
    provider = Provider(_SCOPE, [InMemoryMetricReader()], shutdown_on_exit=False)
    meter: Any = provider.get_meter(_SCOPE)
    counter = meter.create_counter("c")
    counter.add(1, _LABELS[0])
    collect = counter.collect

    def meanwhile(now: int) -> Any:
        meter.create_counter("another")
        return collect(now)

    counter.collect = meanwhile
    told = MetricsData([ResourceMetrics(Resource({}), [], "")])
    (scope,) = meter.add_to(told).resource_metrics[0].scope_metrics
    assert [metric.name for metric in scope.metrics] == ["c"]


def test_labels_are_known_by_what_they_say() -> None:
    """Mappings with the same labels are one point: the bridge makes new ones when it is switched on again."""

    def do(meter: Any) -> None:
        counter, histogram = meter.create_counter("c"), meter.create_histogram("h", explicit_bucket_boundaries_advisory=_BOUNDS)
        for amount in range(3):
            for labels in _LABELS:
                # Mappings that nobody keeps, in either order.
                counter.add(amount, dict(labels), _CONTEXTS[2])
                histogram.record(amount, dict(reversed(labels.items())), _CONTEXTS[2])

    theirs, ours = _both(do)
    assert ours == theirs


def test_a_second_reader_gets_the_measurements() -> None:
    """A reader that somebody adds reads the SDK's instruments; our own export stays whole and has nothing twice."""
    reader = InMemoryMetricReader()
    provider = Provider(_SCOPE, [reader], shutdown_on_exit=False)
    if not hasattr(MeterProvider, "add_metric_reader"):
        pytest.skip("this SDK has no way to add a reader")
    meter: Any = provider.get_meter(_SCOPE)
    counter = meter.create_counter("c")
    counter.add(1, _LABELS[0])
    second = InMemoryMetricReader()
    provider.add_metric_reader(second)
    counter.add(2, _LABELS[0])
    theirs = second.get_metrics_data()
    assert theirs is not None
    assert [metric.data.data_points[0].value for metric in theirs.resource_metrics[0].scope_metrics[0].metrics] == [2]
    (scope,) = _read(provider, reader).resource_metrics[0].scope_metrics
    assert [metric.data.data_points[0].value for metric in scope.metrics] == [3]


@pytest.mark.parametrize("variable", ["OTEL_METRICS_EXEMPLAR_FILTER", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"])
def test_otherwise_the_sdk_keeps_them(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a standard variable asks for something that ours do not do, and for other scopes."""
    provider = Provider(_SCOPE, [InMemoryMetricReader()], shutdown_on_exit=False)
    assert not isinstance(provider.get_meter("theirs"), Meter)
    monkeypatch.setenv(variable, "always_on")
    assert not isinstance(provider.get_meter(_SCOPE), Meter)

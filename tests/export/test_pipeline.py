"""Providers from the standard variables, and what they say about themselves."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import Observation

from otel_llm_bridge.events import emit_record
from otel_llm_bridge.export import otlp_env, pipeline
from otel_llm_bridge.semconv import sdk as names
from otel_llm_bridge.settings import Settings
from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import endpoint_of, received, run

#: Variable → (value, word that the warning has to have).
_BAD = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("carrier-pigeon", "http/protobuf"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://", "http://host:port"),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("ftp://x", "http://host:port"),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("soon", "a number"),
    "OTEL_EXPORTER_OTLP_COMPRESSION": ("zip", "gzip"),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("sometimes", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": ("linear", "explicit_bucket_histogram"),
    "OTEL_EXPORTER_OTLP_HEADERS": ("no-equals-sign", "key1=value1"),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ("/nowhere.pem", "exists"),
    "OTEL_EXPORTER_OTLP_INSECURE": ("maybe", "true, false"),
    "OTEL_BSP_SCHEDULE_DELAY": ("-1", "a number"),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": ("many", "a whole number"),
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ``OTEL_*`` variable of the machine."""
    import os

    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    otlp_env._warned.clear()


@pytest.mark.parametrize("name", _BAD)
def test_a_bad_value_is_a_warning_and_the_default_holds(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the variable and what is accepted; the endpoint is as if it were unset."""

    def read() -> tuple[Any, ...]:
        return otlp_env.endpoint("traces"), otlp_env.batch("OTEL_BSP"), otlp_env.metric_preferences()

    usual = read()
    value, word = _BAD[name]
    monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "otel_llm_bridge"):
        assert read() == usual
    assert name in caplog.text and word in caplog.text
    if "HEADERS" in name:
        assert value not in caplog.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"protocol": "grpc", "url": "http://localhost:4317", "insecure": True}),
        ({"ENDPOINT": "http://c:4318"}, {"protocol": "http/protobuf", "url": "http://c:4318/v1/traces"}),
        ({"ENDPOINT": "http://c:4318/", "PROTOCOL": "http/protobuf"}, {"url": "http://c:4318/v1/traces"}),
        ({"TRACES_ENDPOINT": "http://c:9/own/path", "PROTOCOL": "http/protobuf"}, {"url": "http://c:9/own/path"}),
        ({"ENDPOINT": "https://c:4317"}, {"protocol": "grpc", "insecure": False}),
        ({"ENDPOINT": "c:4317", "INSECURE": "true"}, {"protocol": "grpc", "url": "http://c:4317", "insecure": True}),
        ({"ENDPOINT": "c:4317"}, {"protocol": "grpc", "url": "https://c:4317", "insecure": False}),
        ({"ENDPOINT": "c:4318"}, {"protocol": "http/protobuf", "url": "http://c:4318/v1/traces"}),
        ({"HEADERS": "a=1, api%2Dkey=x%20y"}, {"headers": (("a", "1"), ("api-key", "x y"))}),
        ({"TIMEOUT": "3", "TRACES_TIMEOUT": "4"}, {"timeout": 4.0}),
        ({"COMPRESSION": "gzip"}, {"gzip": True}),
    ],
)
def test_the_variables_mean_what_the_specification_says(environ: dict[str, str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, path, protocol, headers, timeout and compression, the signal's own before the general ones."""
    for name, value in environ.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    endpoint = otlp_env.endpoint("traces")
    assert {name: getattr(endpoint, name) for name in expected} == expected


def test_the_standard_queue_size_holds_unless_ours_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OTEL_BSP_MAX_QUEUE_SIZE`` is honoured; our own option is stronger."""
    from otel_llm_bridge.export.providers import span_processor

    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "77")
    assert span_processor(Settings.resolve(environ={})).delivery.queue_size == 77
    assert span_processor(Settings.resolve(environ={}, queue_size=88)).delivery.queue_size == 88


_VARIABLES = [*_BAD, "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_SDK_DISABLED"]
_TEXTS = st.one_of(
    st.sampled_from(["", " ", "none", "otlp", "console", "true", "grpc", "http/protobuf", "http://127.0.0.1:9", "0", "5", "otlp,none", "bogus"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(_VARIABLES), _TEXTS, max_size=6))
def test_no_combination_of_values_raises(environ: dict[str, str]) -> None:
    """Whatever the environment holds, there is a pipeline, and it can be shut down."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        built = pipeline.build(Settings.resolve(environ={}))
        for provider in (built.meter_provider, built.logger_provider):
            if provider is not None:
                provider.shutdown()
        built.shutdown(0.05)


@pytest.fixture
def built(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[pipeline.Pipeline]:
    """A whole pipeline to the receiver."""
    for name, value in endpoint_of(receiver, "http/protobuf").items():
        monkeypatch.setenv(name, value)
    line = pipeline.build(Settings.resolve(environ={}))
    yield line
    if line.meter_provider is not None:
        line.meter_provider.shutdown(timeout_millis=500)
    line.shutdown(0.2)


def test_all_three_signals_arrive(built: pipeline.Pipeline, receiver: Receiver) -> None:
    """One flush delivers spans, log records and metrics."""
    assert built.tracer_provider and built.meter_provider and built.logger_provider
    span = built.tracer_provider.get_tracer("t").start_span("s")
    span.end()
    built.meter_provider.get_meter("m").create_counter("calls").add(2)
    emit_record(built.logger_provider.get_logger("l"), span, "event", {}, body="said")
    assert built.flush(60)
    assert [span.name for span in receiver.store.spans()] == ["s"]
    assert [record.body for record in receiver.store.logs()] == ["said"]
    assert "calls" in {metric.name for metric in receiver.store.metrics()}
    assert built.stats()["logs"]["exported"] == 1


@pytest.mark.parametrize("traces", ["otlp", "console", "none"])
def test_metrics_need_no_delivery_of_spans(traces: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bridge measures is sent whatever becomes of the spans; the SDK's reader calls no exporter when its own instruments have nothing."""
    for name, value in {**endpoint_of(receiver, "http/protobuf"), "OTEL_TRACES_EXPORTER": traces}.items():
        monkeypatch.setenv(name, value)
    built = pipeline.build(Settings.resolve(environ={}))
    assert built.meter_provider
    built.meter_provider.get_meter("otel_llm_bridge").create_counter("calls").add(2, {})
    built.flush(60)
    assert [point.value for metric in receiver.store.metrics() if metric.name == "calls" for point in metric.points] == [2]
    built.meter_provider.shutdown(timeout_millis=500)
    built.shutdown(0.2)


def test_data_points_are_counted_by_what_became_of_them(built: pipeline.Pipeline, receiver: Receiver) -> None:
    """Delivered, refused whole, and refused in part: each data point once, in the standard metric of exporters."""
    built.flush(60)
    whole = sum(len(metric.points) for metric in receiver.store.metrics())
    for fault in (Fault.refuse(400), Fault.partial_success(2), Fault.none):
        receiver.fault = fault
        built.flush(60)
    # The third request has one data point more: the one that counts those of the second.
    assert _figures(receiver, names.POINTS_EXPORTED) == {"": whole + whole + 1 - 2, "400": whole, "rejected": 2}


@pytest.mark.parametrize(
    ("preference", "counted", "observed"), [("", [2, 5], [1, 2]), ("delta", [2, 3], [1, 1]), ("LowMemory", [2, 3], [1, 2])]
)
def test_metrics_are_told_as_the_standard_variable_asks(
    preference: str, counted: list[int], observed: list[int], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums since the beginning, or since the last export; with ours (the scope of the bridge) as with the SDK's."""
    environ = {**endpoint_of(receiver, "http/protobuf"), "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    built = pipeline.build(Settings.resolve(environ={}))
    assert built.meter_provider
    seen = itertools.count(1)
    labels: dict[str, str] = {}
    counters = [built.meter_provider.get_meter(scope).create_counter(f"calls.{scope}") for scope in ("otel_llm_bridge", "theirs")]
    built.meter_provider.get_meter("theirs").create_observable_counter("seen", [lambda _: [Observation(next(seen))]])
    for amount in (2, 3):
        for counter in counters:
            counter.add(amount, labels)
        built.flush(60)

    def values(name: str) -> list[float]:
        return [point.value for metric in receiver.store.metrics() if metric.name == name for point in metric.points]

    assert [values("calls.otel_llm_bridge"), values("calls.theirs"), values("seen")] == [counted, counted, observed]
    built.meter_provider.shutdown(timeout_millis=500)
    built.shutdown(0.2)


def _figures(receiver: Receiver, name: str) -> dict[str, float]:
    """The last value of each ``error.type`` of a metric."""
    return {
        point.attributes.get(names.ERROR_TYPE, ""): point.value
        for metric in receiver.store.metrics()
        if metric.name == name
        for point in metric.points
    }


def test_the_sdks_own_metrics_carry_the_same_figures(built: pipeline.Pipeline, receiver: Receiver) -> None:
    """Exported, refused and dropped spans are in the standard self-metrics, with the reason as error.type."""
    assert built.tracer_provider
    tracer = built.tracer_provider.get_tracer("t")
    [tracer.start_span("s").end() for _ in range(7)]
    built._spans and built._spans.flush(60)  # type: ignore[func-returns-value]
    receiver.fault = Fault.refuse(400)
    [tracer.start_span("s").end() for _ in range(3)]
    built._spans and built._spans.flush(60)  # type: ignore[func-returns-value]
    receiver.fault = Fault.none
    built.tracer_provider.shutdown()
    tracer.start_span("late").end()
    built.flush(60)
    assert _figures(receiver, names.EXPORTER_EXPORTED) == {"": 7, "rejected": 3}
    assert _figures(receiver, names.PROCESSOR_PROCESSED) == {"": 10, "after_shutdown": 1}
    assert _figures(receiver, names.PROCESSOR_QUEUE_CAPACITY) == {"": 65_536}
    assert _figures(receiver, names.PROCESSOR_QUEUE_SIZE) == {"": 0}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OTEL_SDK_DISABLED": "TRUE"}, (None, None, None)),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, (None, None, None)),
    ],
)
def test_switched_off_is_off(environ: dict[str, str], expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built, and a flush reports nothing."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    built = pipeline.build(Settings.resolve(environ={}))
    assert (built.tracer_provider, built.meter_provider, built.logger_provider) == expected
    assert built.flush(1).ended == 0
    built.shutdown(0.1)


def test_the_console_exporter_is_honoured(tmp_path: Path) -> None:
    """``OTEL_TRACES_EXPORTER=console`` prints spans and connects to nobody."""
    ended = run("span(1)", tmp_path, environ={"OTEL_TRACES_EXPORTER": "console"})
    assert '"name": "work"' in ended.output and ended.errors == ""


def test_sampler_and_resource_come_from_the_sdks_own_variables(tmp_path: Path, receiver: Receiver) -> None:
    """The standard variables reach the providers that we build."""
    environ = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}
    run("span(1)", tmp_path, receiver, environ=environ)
    (arrived,) = receiver.store.spans()
    assert (arrived.resource["service.name"], arrived.resource["a"]) == ("shop", "b")
    ended = run("span(1)\nfigures()", tmp_path, receiver, environ={**environ, "OTEL_TRACES_SAMPLER": "always_off"})
    assert (len(received(receiver)), ended.figures["ended"]) == (1, 0)


def test_the_last_figures_are_posted_where_asked(tmp_path: Path, receiver: Receiver) -> None:
    """With the address of a receiver of reports, a program posts its figures when it ends."""
    run("[span(i) for i in range(3)]", tmp_path, receiver, environ={"OTEL_LLM_BRIDGE_REPORT_URL": receiver.report_url})
    (report,) = receiver.reports
    assert (report["ended"], report["exported"]) == (3, 3)


@pytest.mark.filterwarnings("error")
def test_a_slow_instrument_does_not_spoil_the_end(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK raises when an instrument takes longer than is left; the flush says that it was not done, and no thread dies of it."""
    for name, value in endpoint_of(receiver, "http/protobuf").items():
        monkeypatch.setenv(name, value)
    built = pipeline.build(Settings.resolve(environ={}))
    assert built.meter_provider and built._metrics
    asked, go_on = threading.Event(), threading.Event()

    def slow(_: Any) -> list[Observation]:
        asked.set()
        go_on.wait(10)
        return [Observation(1)]

    for name in ("slow", "slow.too"):  # the SDK looks at the clock before each instrument
        built.meter_provider.get_meter("theirs").create_observable_gauge(name, [slow])
    assert built._metrics.flush(0.02) is False
    assert asked.is_set()
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "otel-llm-bridge-end":
            thread.join(10)
    assert built._metrics.flush(5) is True

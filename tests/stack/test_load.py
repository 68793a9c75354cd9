"""The load generator under the bridge, through the whole stack: Jaeger, Prometheus and the dashboard tell the same story."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_llm_bridge.semconv import gen_ai, litellm, metrics

from .programs import ROOT, get, load, until
from .stack import Stack
from .test_traces import tags

SERVICE: Final = "load-sdk"
CALLS: Final = 200
LAUNCHER: Final = str(Path(sys.executable).with_name("opentelemetry-instrument"))
dashboard: Final = load(ROOT / "deploy/grafana/build_dashboard.py")


def launch(stack: Stack, service: str, *command: str, **more: str) -> str:
    """Run Python under the zero-code launcher with the stack's Collector as its destination; its output."""
    environ = {**os.environ, **stack.otlp_environ, "OTEL_SERVICE_NAME": service, "OTEL_METRIC_EXPORT_INTERVAL": "1000", **more}
    done = subprocess.run([LAUNCHER, "--", sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def spans(stack: Stack) -> list[dict[str, Any]]:
    """All spans of a run of the load generator, as Jaeger has them."""
    output = launch(stack, SERVICE, "deploy/demo/load.py", "sdk", "--config", "deploy/proxy/config.yaml", "--rate", "20", "--calls", str(CALLS))
    made = [int(number) for number in re.findall(r"(\d+) calls succeeded, (\d+) failed", output)[0]]
    assert sum(made) == CALLS
    traces = until(lambda: found if len(found := stack.traces(SERVICE)) >= CALLS else [], f"{CALLS} traces in Jaeger")
    assert len(traces) == CALLS
    return [span for trace in traces for span in trace["spans"]]


def total(stack: Stack, expression: str) -> float:
    """The sum of what Prometheus answers."""
    return sum(float(row["value"][1]) for row in stack.query(expression))


def test_every_call_is_one_tree(spans: list[dict[str, Any]]) -> None:
    """Each call of the load generator is one trace with one root, a Router span, and its attempts below it."""
    roots = [span for span in spans if not span["references"]]
    assert len(roots) == CALLS
    assert {span["operationName"].split()[0] for span in roots} == {litellm.SPAN_ROUTER}
    ids = {span["spanID"] for span in roots}
    attempts = [span for span in spans if gen_ai.OPERATION_NAME in tags(span)]
    assert all(span["references"][0]["spanID"] in ids for span in attempts)


def test_span_metrics_count_every_span(stack: Stack, spans: list[dict[str, Any]]) -> None:
    """Prometheus scraped from the Collector as many calls as there are spans in Jaeger, by service."""
    expression = f'traces_span_metrics_calls_total{{service_name="{SERVICE}"}}'
    until(lambda: total(stack, expression) == len(spans), "all spans are counted")
    failed = sum(1 for span in spans if tags(span).get("otel.status_code") == "ERROR")
    assert total(stack, f'traces_span_metrics_calls_total{{service_name="{SERVICE}",status_code="STATUS_CODE_ERROR"}}') == failed > 0


def _attempts(spans: list[dict[str, Any]], **having: Any) -> list[dict[str, Any]]:
    found = [tags(span) for span in spans if gen_ai.OPERATION_NAME in tags(span)]
    return [span for span in found if all(span.get(key) == value for key, value in having.items())]


#: A metric of the bridge, and what the spans say it must be in all.
AGREE: Final = [
    (f"{dashboard.name('gen_ai.client.operation.duration')}_count", lambda spans: len(_attempts(spans))),
    (f"{dashboard.name('gen_ai.client.token.usage')}_sum", lambda spans: sum(s.get(key, 0) for s in _attempts(spans, **{litellm.USAGE_SOURCE: litellm.USAGE_FROM_PROVIDER}) for key in (gen_ai.USAGE_INPUT_TOKENS, gen_ai.USAGE_OUTPUT_TOKENS))),
    (dashboard.name("litellm.client.operation.cost"), lambda spans: pytest.approx(sum(s.get(litellm.COST_TOTAL, 0) for s in _attempts(spans)), rel=1e-9)),
    (dashboard.name("litellm.router.attempts"), lambda spans: len(_attempts(spans))),
    (f"{dashboard.name('litellm.router.duration')}_count", lambda spans: CALLS),
    (dashboard.name("litellm.router.retries"), lambda spans: len(_attempts(spans, **{litellm.ATTEMPT_KIND: litellm.KIND_RETRY}))),
    (dashboard.name("litellm.router.fallbacks"), lambda spans: len(_attempts(spans, **{litellm.ATTEMPT_KIND: litellm.KIND_FALLBACK}))),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "expected"), AGREE, ids=[metric for metric, _ in AGREE])
def test_metrics_agree_with_spans(stack: Stack, spans: list[dict[str, Any]], metric: str, expected: Any) -> None:
    """The bridge's metrics in Prometheus and its spans in Jaeger are two views of the same calls."""
    want = expected(spans)
    until(lambda: total(stack, f'{metric}{{job="{SERVICE}"}}') == want, f"{metric} is {want} and not {total(stack, metric)}", 20)
    assert want != 0


def test_exemplars_lead_to_traces(stack: Stack, spans: list[dict[str, Any]]) -> None:
    """From the latency of the spans' metrics there is a way to a trace that Jaeger has."""
    url = stack.url("PROMETHEUS_PORT") + "/api/v1/query_exemplars"
    query = f'traces_span_metrics_duration_milliseconds_bucket{{service_name="{SERVICE}"}}'

    def found() -> set[str]:
        answer = get(url, query=query, start=0, end=2**31)
        return {exemplar["labels"]["trace_id"] for series in (answer or {}).get("data", []) for exemplar in series["exemplars"]}

    assert until(found, "exemplars are stored") <= {span["traceID"] for span in spans}


@pytest.mark.parametrize("metric", ["calls", "errors", "latencies"])
def test_jaeger_monitor(stack: Stack, spans: list[dict[str, Any]], metric: str) -> None:
    """Jaeger's Monitor tab finds the rate, the errors and the latency of the service in Prometheus."""
    query: dict[str, str | int] = {"service": SERVICE, "spanKind": "client", "ratePer": 60000, "step": 1000, "lookback": 600000}
    if metric == "latencies":
        query["quantile"] = "0.95"

    def points() -> list[float]:
        answer = get(stack.url("JAEGER_UI_PORT") + f"/api/metrics/{metric}", **query) or {}
        values = [point["gaugeValue"]["doubleValue"] for series in answer.get("metrics", []) for point in series["metricPoints"]]
        return [value for value in values if value not in ("NaN", 0)]

    until(points, f"Jaeger has {metric}")


@pytest.fixture(scope="module")
def callbacks(stack: Stack) -> None:
    """Metrics of callbacks, of which the load generator has none: two readings of each by its name in the bridge's table."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=stack.url("OTLP_HTTP_PORT") + "/v1/metrics"), export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=Resource({"service.name": SERVICE}))
    rows = [row for row in metrics.chosen(metrics.RELEASED) if row.name.startswith("litellm.callback.")]
    mine = f'{{{dashboard.label(litellm.CALLBACK_NAME)}="one"}}'
    count = 0
    for row in rows:
        attributes = {label.attribute: "one" for label in row.labels}
        provider.get_meter("otel_llm_bridge").create_observable_counter(row.name, [lambda _, a=attributes: [Observation(count, a)]], row.unit)
    for count in (1, 5):
        provider.force_flush()
        until(lambda: all(total(stack, dashboard.name(row.name) + mine) == count for row in rows), "the metrics of callbacks are scraped")
    provider.shutdown()


QUERIES: Final = [
    (f"{row}: {panel.title}: {legend}", query) for row, panels in dashboard.ROWS for panel in panels for query, legend in panel.queries
]


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[name for name, _ in QUERIES])
def test_dashboard_query(stack: Stack, spans: list[dict[str, Any]], callbacks: None, query: str) -> None:
    """Each query of the dashboard finds data in a Prometheus that scraped a real run, and each of its labels is filled."""
    for variable, value in (("$__rate_interval", "10m"), ("$__range", "10m"), ("$service", SERVICE), ("$model", ".*")):
        query = query.replace(variable, value)
    assert "$" not in query
    rows = until(lambda: [row for row in stack.query(query) if row["value"][1] != "NaN"], f"{query} finds data", 20)
    wanted = {label for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(", ")} - {"le"}
    filled = {label for row in rows for label, value in row["metric"].items() if value}
    assert filled == wanted


def test_dashboard_variables(stack: Stack, spans: list[dict[str, Any]]) -> None:
    """The dashboard's two variables offer the service and its models."""
    for variable in dashboard.dashboard()["templating"]["list"]:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        values = {row["metric"].get(label) for row in stack.query(series.replace("$service", SERVICE))}
        assert values & {SERVICE, "gpt-4o-mini"}


def test_the_demo_in_jaeger(stack: Stack) -> None:
    """The demo's program without a changed line is in Jaeger: retry and fallback trees with events and errors, streams, embeddings."""
    launch(stack, "demo", "-m", "otel_llm_bridge.demo.program")
    traces = until(lambda: found if len(found := stack.traces("demo")) >= 18 else [], "the demo's traces are in Jaeger")
    trees: dict[str, list[dict[str, Any]]] = {}
    for trace in traces:
        roots = [span for span in trace["spans"] if not span["references"]]
        assert len(roots) == 1
        trees.setdefault(roots[0]["operationName"], trace["spans"])
    retried, fallen = trees[f"{litellm.SPAN_ROUTER} assistant"], trees[f"{litellm.SPAN_ROUTER} fast"]
    assert [kind for _, kind in sorted((span["startTime"], tags(span)[litellm.ATTEMPT_KIND]) for span in retried if span["references"])][:2] == ["first", "retry"]
    for spans, event in ((retried, litellm.EVENT_RETRY), (fallen, litellm.EVENT_FALLBACK)):
        (root,) = [span for span in spans if not span["references"]]
        assert event in {tags(log)["event"] for log in root["logs"]}
        failed = [span for span in spans if tags(span).get("error")]
        assert failed
        assert all(gen_ai.EVENT_EXCEPTION in {tags(log)["event"] for log in span["logs"]} for span in failed)
    operations = {tags(span).get(gen_ai.OPERATION_NAME) for trace in traces for span in trace["spans"]}
    assert {gen_ai.CHAT, gen_ai.EMBEDDINGS} <= operations
    outcomes = {tags(span).get(litellm.STREAM_OUTCOME) for trace in traces for span in trace["spans"]}
    assert outcomes >= {litellm.OUTCOME_COMPLETE, litellm.OUTCOME_ABANDONED}
    assert "sk-no-key-is-needed" not in json.dumps(traces)

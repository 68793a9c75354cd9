"""Write ``dashboards/llm.json`` from one table of panels.

    python deploy/grafana/build_dashboard.py            write it
    python deploy/grafana/build_dashboard.py --check    fail if it is not what the table makes

Names are Prometheus's form of those in the bridge's own tables, of the generation that it emits by default
(`OTEL_LLM_BRIDGE_METRICS=released`), and of those that the Collector's span_metrics connector makes from spans.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from otel_llm_bridge.semconv import gen_ai, litellm, metrics

TARGET: Final = Path(__file__).with_name("dashboards") / "llm.json"

#: UCUM's units as the suffixes that Prometheus wants; a unit in braces has none.
_UNITS: Final = {"s": "_seconds", "ms": "_milliseconds", "By": "_bytes"}


def label(attribute: str) -> str:
    """An attribute's name as a label."""
    return re.sub(r"\W", "_", attribute)


def name(metric: str) -> str:
    """A metric of the bridge as Prometheus's exporter calls it; of a histogram, the part before ``_bucket``.

    Raises:
        KeyError: the bridge emits no such metric by default.
    """
    row = {row.name: row for row in metrics.chosen(metrics.RELEASED)}[metric]
    return label(row.name) + _UNITS.get(row.unit, "") + ("" if row.kind == "histogram" else "_total")


def rate(metric: str, by: str, where: str, scale: str = "") -> str:
    """The rate a second of a counter, summed by labels."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{where}}}[$__rate_interval])){scale}"


def quantile(q: float, metric: str, by: str, where: str) -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({q}, {rate(metric + '_bucket', f'le, {by}' if by else 'le', where)})"


def quantiles(metric: str, by: str, where: str, *which: float) -> tuple[tuple[str, str], ...]:
    """Several quantiles, each with its legend."""
    return tuple((quantile(q, metric, by, where), f"p{q * 100:g} {{{{{by}}}}}") for q in which)


_DURATION: Final = name("gen_ai.client.operation.duration")
_FIRST: Final = name("gen_ai.client.operation.time_to_first_chunk")
_EACH: Final = name("gen_ai.client.operation.time_per_output_chunk")
_TOKENS: Final = name("gen_ai.client.token.usage")
_COST: Final = name("litellm.client.operation.cost")
_CALLS: Final = name("litellm.router.duration")
_ATTEMPTS: Final = name("litellm.router.attempts")
_RETRIES: Final = name("litellm.router.retries")
_FALLBACKS: Final = name("litellm.router.fallbacks")
_COOLDOWNS: Final = name("litellm.router.cooldowns")
_RUNS: Final = name("litellm.callback.runs")
_FAILURES: Final = name("litellm.callback.failures")
_DROPS: Final = name("litellm.callback.drops")
_SPANS: Final = "traces_span_metrics_calls_total"
_SPAN_DURATION: Final = "traces_span_metrics_duration_milliseconds"

_MODEL: Final = label(gen_ai.REQUEST_MODEL)
_ERROR: Final = label(gen_ai.ERROR_TYPE)
_TOKEN_TYPE: Final = label(metrics.TOKEN_TYPE)
_GROUP: Final = label(litellm.MODEL_GROUP)
_DEPLOYMENT: Final = label(litellm.DEPLOYMENT_ID)
_KIND: Final = label(litellm.ATTEMPT_KIND)
_FROM: Final = label(litellm.EVENT_FALLBACK_FROM)
_TO: Final = label(litellm.EVENT_FALLBACK_TO)
_CALLBACK: Final = label(litellm.CALLBACK_NAME)
_REASON: Final = label(metrics.DROP_REASON)

#: Filters that every query of one kind shares: the dashboard's variables.
_SERVICE: Final = 'job=~"$service"'
_METRIC: Final = f'{_SERVICE},{_MODEL}=~"$model"'
_SPAN: Final = f'service_name=~"$service",{_MODEL}=~"$model",span_kind="SPAN_KIND_CLIENT"'
_FAILED: Final = f'{_METRIC},{_ERROR}!=""'


@dataclasses.dataclass(frozen=True)
class Panel:
    """One panel: its title, Grafana's unit, and pairs of a query and a legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    help: str = ""
    kind: str = "timeseries"
    width: int = 8


#: A row's title, and its panels.
ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    ("Now", (
        Panel("Attempts", "reqps", ((rate(f"{_DURATION}_count", "", _METRIC), ""),), kind="stat", width=4),
        Panel("Failed", "percentunit", ((f"({rate(f'{_DURATION}_count', '', _FAILED)} or vector(0)) / {rate(f'{_DURATION}_count', '', _METRIC)}", ""),), kind="stat", width=4),
        Panel("Latency, p95", "s", ((quantile(0.95, _DURATION, "", _METRIC), ""),), kind="stat", width=4),
        Panel("First chunk, p95", "s", ((quantile(0.95, _FIRST, "", _METRIC), ""),), kind="stat", width=4),
        Panel("Tokens", "short", ((rate(f"{_TOKENS}_sum", "", _METRIC), ""),), "A second.", kind="stat", width=4),
        Panel("Cost", "currencyUSD", ((rate(_COST, "", _METRIC, " * 3600"), ""),), "An hour.", kind="stat", width=4),
    )),
    ("By model", (
        Panel("Attempts", "reqps", ((rate(f"{_DURATION}_count", _MODEL, _METRIC), f"{{{{{_MODEL}}}}}"),)),
        Panel("Errors", "reqps", ((rate(f"{_DURATION}_count", f"{_MODEL}, {_ERROR}", _FAILED), f"{{{{{_MODEL}}}}} {{{{{_ERROR}}}}}"),)),
        Panel("Latency", "s", quantiles(_DURATION, _MODEL, _METRIC, 0.5, 0.95, 0.99)),
        Panel("Time to first chunk", "s", quantiles(_FIRST, _MODEL, _METRIC, 0.5, 0.95), "Streams only."),
        Panel("Time per output chunk", "s", quantiles(_EACH, _MODEL, _METRIC, 0.5, 0.95), "Streams only."),
        Panel("Tokens", "short", ((rate(f"{_TOKENS}_sum", f"{_MODEL}, {_TOKEN_TYPE}", _METRIC), f"{{{{{_MODEL}}}}} {{{{{_TOKEN_TYPE}}}}}"),), "A second."),
        Panel("Cost", "currencyUSD", ((rate(_COST, _MODEL, _METRIC, " * 3600"), f"{{{{{_MODEL}}}}}"),), "An hour, as LiteLLM prices it; calls without a known price are left out."),
        Panel("Cost in the shown time", "currencyUSD", ((f"sum by ({_MODEL}) (increase({_COST}{{{_METRIC}}}[$__range]))", f"{{{{{_MODEL}}}}}"),), kind="bargauge"),
        Panel("Tokens in the shown time", "short", ((f"sum by ({_MODEL}, {_TOKEN_TYPE}) (increase({_TOKENS}_sum{{{_METRIC}}}[$__range]))", f"{{{{{_MODEL}}}}} {{{{{_TOKEN_TYPE}}}}}"),), kind="bargauge"),
    )),
    ("By deployment", (
        Panel("Attempts", "reqps", ((rate(_ATTEMPTS, f"{_GROUP}, {_DEPLOYMENT}", _SERVICE), f"{{{{{_GROUP}}}}} {{{{{_DEPLOYMENT}}}}}"),)),
        Panel("Errors", "reqps", ((rate(_ATTEMPTS, f"{_DEPLOYMENT}, {_ERROR}", f'{_SERVICE},{_ERROR}!=""'), f"{{{{{_DEPLOYMENT}}}}} {{{{{_ERROR}}}}}"),)),
        Panel("Latency, p95", "ms", ((quantile(0.95, _SPAN_DURATION, _DEPLOYMENT, _SPAN), f"{{{{{_DEPLOYMENT}}}}}"),), "Counted by the Collector from spans."),
        Panel("Retries and fallbacks by model", "reqps", ((rate(_SPANS, f"{_MODEL}, {_KIND}", f'{_SPAN},{_KIND}=~"retry|fallback"'), f"{{{{{_MODEL}}}}} {{{{{_KIND}}}}}"),), "Counted by the Collector from spans.", width=12),
        Panel("Retries and fallbacks by deployment", "reqps", ((rate(_SPANS, f"{_DEPLOYMENT}, {_KIND}", f'{_SPAN},{_KIND}=~"retry|fallback"'), f"{{{{{_DEPLOYMENT}}}}} {{{{{_KIND}}}}}"),), "By the deployment that was tried then.", width=12),
    )),
    ("Router", (
        Panel("Attempts for each call, mean", "short", ((f"{rate(_ATTEMPTS, _GROUP, _SERVICE)} / {rate(f'{_CALLS}_count', _GROUP, _SERVICE)}", f"{{{{{_GROUP}}}}}"),), "1: every first attempt served."),
        Panel("What the caller waited for a call", "s", quantiles(_CALLS, _GROUP, _SERVICE, 0.5, 0.95), "With all its attempts."),
        Panel("Calls that failed in the end", "reqps", ((rate(f"{_CALLS}_count", f"{_GROUP}, {_ERROR}", f'{_SERVICE},{_ERROR}!=""'), f"{{{{{_GROUP}}}}} {{{{{_ERROR}}}}}"),)),
        Panel("Retries", "reqps", ((rate(_RETRIES, f"{_GROUP}, {_ERROR}", _SERVICE), f"{{{{{_GROUP}}}}} {{{{{_ERROR}}}}}"),)),
        Panel("Fallbacks", "reqps", ((rate(_FALLBACKS, f"{_FROM}, {_TO}", _SERVICE), f"{{{{{_FROM}}}}} → {{{{{_TO}}}}}"),)),
        Panel("Cooldowns", "reqps", ((rate(_COOLDOWNS, _DEPLOYMENT, _SERVICE), f"{{{{{_DEPLOYMENT}}}}}"),)),
    )),
    ("Callbacks and delivery", (
        Panel("Callbacks", "reqps", (
            (rate(_RUNS, _CALLBACK, _SERVICE), f"{{{{{_CALLBACK}}}}}"),
            (rate(_FAILURES, f"{_CALLBACK}, {_ERROR}", _SERVICE), f"{{{{{_CALLBACK}}}}} {{{{{_ERROR}}}}}"),
            (rate(_DROPS, f"{_CALLBACK}, {_REASON}", _SERVICE), f"{{{{{_CALLBACK}}}}} dropped: {{{{{_REASON}}}}}"))),
        Panel("Spans through the Collector", "short", (
            ("sum(rate(otelcol_receiver_accepted_spans[$__rate_interval]))", "received"),
            ("sum(rate(otelcol_receiver_refused_spans[$__rate_interval]))", "refused: the sender retries"),
            ("sum(rate(otelcol_exporter_sent_spans[$__rate_interval]))", "sent to Jaeger")), "A second."),
        Panel("Queue on disk", "percentunit", (("max(otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)", "used"),), "Full: the Collector refuses, and the senders keep their spans."),
    )),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Grafana's form of the table."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, members in ROWS:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        x, y = 0, y + 1
        height = 4 if members[0].kind == "stat" else 8
        for member in members:
            if x + member.width > 24:
                x, y = 0, y + height
            panels.append(_panel(member, len(panels) + 1, {"x": x, "y": y, "w": member.width, "h": height}))
            x += member.width
        y += height
    return {
        "uid": "otel-llm-bridge", "title": "LLM calls", "tags": ["litellm", "gen_ai"], "schemaVersion": 39, "version": 1, "editable": False,
        "refresh": "15s", "time": {"from": "now-30m", "to": "now"}, "timezone": "browser",
        "templating": {"list": [
            _variable("service", f"label_values({_SPANS}, service_name)"),
            _variable("model", f'label_values({_SPANS}{{service_name=~"$service"}}, {_MODEL})'),
        ]},
        "panels": panels,
    }  # fmt: skip


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "prometheus"}
    exemplars = panel.kind == "timeseries" and any("_bucket" in query for query, _ in panel.queries)
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.help, "gridPos": place, "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": {"showPoints": "never", "fillOpacity": 10} if panel.kind == "timeseries" else {}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}} if panel.kind == "timeseries" else {"reduceOptions": {"calcs": ["lastNotNull"]}},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": source, "exemplar": exemplars, "instant": panel.kind == "bargauge", "range": panel.kind != "bargauge"}
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "type": "query", "datasource": {"type": "prometheus", "uid": "prometheus"}, "query": {"query": query, "refId": name}, "definition": query,
        "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the file is not what the table makes")
    if parser.parse_args(argv).check:
        if TARGET.read_text("utf-8") != text():
            print(f"{TARGET.name} is not what the table makes; run {Path(__file__).name}")
            return 1
    else:
        TARGET.write_text(text(), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

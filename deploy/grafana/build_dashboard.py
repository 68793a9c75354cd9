"""Write ``dashboards/llm.json`` from one table of panels.

    python deploy/grafana/build_dashboard.py            write it
    python deploy/grafana/build_dashboard.py --check    fail if it is not what the table makes

Metric names are Prometheus's form of those that the bridge emits by default (`OTEL_LLM_BRIDGE_METRICS=released`), and of
those that the Collector's span_metrics connector makes from spans.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).with_name("dashboards") / "llm.json"

#: Filters that every query of one kind shares: the dashboard's variables.
_METRIC: Final = 'job=~"$service",gen_ai_request_model=~"$model"'
_SERVICE: Final = 'job=~"$service"'
_SPAN: Final = 'service_name=~"$service",gen_ai_request_model=~"$model",span_kind="SPAN_KIND_CLIENT"'


def rate(metric: str, by: str, where: str, scale: str = "") -> str:
    """The rate a second of a counter, summed by labels."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{where}}}[$__rate_interval])){scale}"


def quantile(q: float, metric: str, by: str, where: str) -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({q}, {rate(metric + '_bucket', 'le, ' + by if by else 'le', where)})"


_DURATION: Final = "gen_ai_client_operation_duration_seconds"
_FIRST: Final = "gen_ai_client_operation_time_to_first_chunk_seconds"
_EACH: Final = "gen_ai_client_operation_time_per_output_chunk_seconds"
_TOKENS: Final = "gen_ai_client_token_usage"
_COST: Final = "litellm_cost_USD_total"
_CALLS: Final = "traces_span_metrics_calls_total"
_SPAN_DURATION: Final = "traces_span_metrics_duration_milliseconds"
_MODEL: Final = "gen_ai_request_model"
_DEPLOYMENT: Final = "litellm_deployment_id"


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
        Panel("Failed", "percentunit", ((
            f"({rate(f'{_DURATION}_count', '', _METRIC + ',error_type!=' + chr(34) * 2)} or vector(0)) / {rate(f'{_DURATION}_count', '', _METRIC)}", ""),), kind="stat", width=4),
        Panel("Latency, p95", "s", ((quantile(0.95, _DURATION, "", _METRIC), ""),), kind="stat", width=4),
        Panel("First chunk, p95", "s", ((quantile(0.95, _FIRST, "", _METRIC), ""),), kind="stat", width=4),
        Panel("Tokens", "short", ((rate(f"{_TOKENS}_sum", "", _METRIC), ""),), "per second", kind="stat", width=4),
        Panel("Cost", "currencyUSD", ((rate(_COST, "", _METRIC, " * 3600"), ""),), "per hour", kind="stat", width=4),
    )),
    ("By model", (
        Panel("Attempts", "reqps", ((rate(f"{_DURATION}_count", _MODEL, _METRIC), "{{gen_ai_request_model}}"),)),
        Panel("Errors", "reqps", ((rate(f"{_DURATION}_count", f"{_MODEL}, error_type", _METRIC + ',error_type!=""'), "{{gen_ai_request_model}} {{error_type}}"),)),
        Panel("Latency", "s", tuple((quantile(q, _DURATION, _MODEL, _METRIC), f"p{q * 100:g} {{{{gen_ai_request_model}}}}") for q in (0.5, 0.95, 0.99))),
        Panel("Time to first chunk", "s", tuple((quantile(q, _FIRST, _MODEL, _METRIC), f"p{q * 100:g} {{{{gen_ai_request_model}}}}") for q in (0.5, 0.95)), "Streams only."),
        Panel("Time per output chunk", "s", tuple((quantile(q, _EACH, _MODEL, _METRIC), f"p{q * 100:g} {{{{gen_ai_request_model}}}}") for q in (0.5, 0.95)), "Streams only."),
        Panel("Tokens", "short", ((rate(f"{_TOKENS}_sum", f"{_MODEL}, gen_ai_token_type", _METRIC), "{{gen_ai_request_model}} {{gen_ai_token_type}}"),), "Per second."),
        Panel("Cost", "currencyUSD", ((rate(_COST, _MODEL, _METRIC, " * 3600"), "{{gen_ai_request_model}}"),), "Per hour, as LiteLLM prices it; calls without a known price are left out."),
        Panel("Cost in the shown time", "currencyUSD", ((f"sum by ({_MODEL}) (increase({_COST}{{{_METRIC}}}[$__range]))", "{{gen_ai_request_model}}"),), kind="bargauge"),
        Panel("Tokens in the shown time", "short", ((f"sum by ({_MODEL}, gen_ai_token_type) (increase({_TOKENS}_sum{{{_METRIC}}}[$__range]))", "{{gen_ai_request_model}} {{gen_ai_token_type}}"),), kind="bargauge"),
    )),
    ("By deployment (counted by the Collector from spans)", (
        Panel("Attempts", "reqps", ((rate(_CALLS, _DEPLOYMENT, _SPAN), "{{litellm_deployment_id}}"),)),
        Panel("Errors", "reqps", ((rate(_CALLS, f"{_DEPLOYMENT}, error_type", _SPAN + ',status_code="STATUS_CODE_ERROR"'), "{{litellm_deployment_id}} {{error_type}}"),)),
        Panel("Latency, p95", "ms", ((quantile(0.95, _SPAN_DURATION, _DEPLOYMENT, _SPAN), "{{litellm_deployment_id}}"),)),
        Panel("Retries and fallbacks that a deployment was given", "reqps", ((rate(_CALLS, f"{_DEPLOYMENT}, litellm_attempt_kind", _SPAN + ',litellm_attempt_kind=~"retry|fallback"'), "{{litellm_deployment_id}} {{litellm_attempt_kind}}"),), width=12),
        Panel("Retries and fallbacks by model", "reqps", ((rate(_CALLS, f"{_MODEL}, litellm_attempt_kind", _SPAN + ',litellm_attempt_kind=~"retry|fallback"'), "{{gen_ai_request_model}} {{litellm_attempt_kind}}"),), width=12),
    )),
    ("Router", (
        Panel("Attempts for each call, mean", "short", ((f"{rate('litellm_router_attempts_sum', 'litellm_model_group', _SERVICE)} / {rate('litellm_router_attempts_count', 'litellm_model_group', _SERVICE)}", "{{litellm_model_group}}"),), "1 is a call whose first attempt served."),
        Panel("Retries, fallbacks", "reqps", (
            (rate("litellm_router_retries_total", "litellm_model_group", _SERVICE), "retry {{litellm_model_group}}"),
            (rate("litellm_router_fallbacks_total", "litellm_model_group", _SERVICE), "fallback {{litellm_model_group}}"))),
        Panel("Cooldowns", "reqps", ((rate("litellm_router_cooldowns_total", "litellm_model_group", _SERVICE), "{{litellm_model_group}}"),)),
    )),
    ("Callbacks and delivery", (
        Panel("Runs of callbacks", "reqps", ((rate("litellm_callback_runs_total", "litellm_callback_outcome", _SERVICE), "{{litellm_callback_outcome}}"),)),
        Panel("Spans through the Collector", "short", (
            ("sum(rate(otelcol_receiver_accepted_spans_total[$__rate_interval]))", "received"),
            ("sum(rate(otelcol_receiver_refused_spans_total[$__rate_interval]))", "refused, the sender retries"),
            ("sum(rate(otelcol_exporter_sent_spans_total[$__rate_interval]))", "sent to Jaeger")), "Per second."),
        Panel("Queue on disk", "percentunit", (("max(otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)", "used"),), "Full: the Collector refuses, and the application's spool fills."),
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
            _variable("service", f"label_values({_CALLS}, service_name)"),
            _variable("model", f"label_values({_CALLS}{{service_name=~\"$service\"}}, {_MODEL})"),
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
    return json.dumps(dashboard(), indent=2) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the file is not what the table makes")
    if parser.parse_args(argv).check:
        if TARGET.read_text() != text():
            print(f"{TARGET.name} is not what the table makes; run {Path(__file__).name}")
            return 1
    else:
        TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Everything that is emitted passes the checker of the GenAI conventions, and stands in our own tables."""

from __future__ import annotations

import copy
import importlib.metadata
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import litellm
import pytest
import yaml
from packaging.version import Version

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.events import takes_structures
from otel_llm_bridge.semconv import content, gen_ai, metrics, vocabulary
from otel_llm_bridge.viewer.otlp_json import dump
from otel_llm_bridge.viewer.receiver import Receiver

from ..semconv_data import check_conformance
from .recording import Recording
from .scenarios import SCENARIOS, Scenario

_DATA: Final = Path(check_conformance.__file__).parent
_ROWS: Final = [pytest.param(scenario, id=scenario.name) for scenario in SCENARIOS]
#: Ours by default: the newest span attributes with the metric names of the released Python packages.
_DEFAULT: Final = "released-python"
_BY_NAME: Final = {scenario.name: scenario for scenario in SCENARIOS}
#: Enough to meet every kind of span, event and metric.
_FEW: Final = (
    "completion, ok", "acompletion-stream, ok", "acompletion-stream, left early", "completion-tool, ok", "every parameter",
    "embedding, ok", "aresponses-stream, ok", "aanthropic_messages, ok", "generate_content_stream, ok", "text_completion, ok",
    "reasoning", "interactions, an agent", "completion, error", "acompletion, cancelled", "Router, retry and fallback",
)  # fmt: skip


_SDK: Final = Version(importlib.metadata.version("opentelemetry-sdk"))
#: What an older OpenTelemetry cannot do: attributes of its log records have no structured values, so they are JSON text.
_CANNOT: Final = frozenset() if takes_structures() else frozenset({"content-not-structured"})


def errors(records: list[Any], profile: str, **options: Any) -> list[str]:
    """What the checker objects to."""
    found = check_conformance.check(records, profile, **options)
    return [str(finding) for finding in found if finding.level == "error" and finding.code not in _CANNOT]


@pytest.mark.parametrize("scenario", _ROWS)
def test_every_scenario_conforms(scenario: Scenario, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """Each way that a call can go: the right number of inference spans, no error of the checker, only names of our tables."""
    recorded = record()
    provider.reset()
    scenario.run(provider)

    assert len(recorded.inference()) == scenario.spans
    records = recorded.records()
    assert errors(records, _DEFAULT, no_content=True) == []
    assert strangers(records) == []


#: Options -> the profile that they are to pass.
_OPTIONS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "latest metrics": ({"metrics": "latest"}, "main-2026-10"),
    "no metrics": ({"metrics": "none"}, "main-2026-10"),
    "chunk events": ({"chunk_events": True}, _DEFAULT),
    "content on spans": ({"capture_content": "SPAN_ONLY"}, _DEFAULT),
    "content on events": ({"capture_content": "EVENT_ONLY"}, _DEFAULT),
    "content on both": ({"capture_content": "SPAN_AND_EVENT"}, _DEFAULT),
    "both vocabularies": ({"vocabulary": "both"}, _DEFAULT),
}


@pytest.mark.parametrize("name", _OPTIONS)
def test_every_option_conforms(name: str, record: Callable[..., Recording], provider: FakeProvider) -> None:
    """With each option, what a dozen different calls emit has no error of the checker."""
    options, profile = _OPTIONS[name]
    recorded = record(**options)
    for scenario in _FEW:
        _BY_NAME[scenario].run(provider)

    assert len(recorded.inference()) == sum(_BY_NAME[scenario].spans for scenario in _FEW)
    assert errors(recorded.records(), profile, no_content="capture_content" not in options) == []


def test_both_generations_of_metrics_conform(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """With both generations at once, each metric passes the profile of its own generation, and both are there."""
    recorded = record(metrics="both")
    for scenario in _FEW:
        _BY_NAME[scenario].run(provider)

    generation = {row.name: row.generation for row in metrics.chosen("both")}
    for wanted, profile in ((metrics.RELEASED, _DEFAULT), (metrics.LATEST, "main-2026-10")):
        mine = [it for it in recorded.records() if it["signal"] == "metric" and generation[it["name"]] == wanted]
        assert {it["name"] for it in mine} == {name for name in generation if generation[name] == wanted}
        assert errors(mine, profile) == []


def test_what_the_receiver_got_conforms(provider: FakeProvider, record: Callable[..., Recording]) -> None:
    """The same through the stock exporters and a real OTLP receiver, all three signals, with our schema URL."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    documents: list[Any] = []
    with Receiver(grpc_port=None, listeners=(lambda _signal, message: documents.append(json.loads(dump(message))),)) as receiver:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{receiver.http_endpoint}/v1/metrics"))
        meter_provider = MeterProvider([reader], shutdown_on_exit=False)
        recorded = record(meter_provider=meter_provider)
        recorded.tracer_provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.http_endpoint}/v1/traces")))
        for scenario in _FEW:
            _BY_NAME[scenario].run(provider)
        wanted = len(recorded.spans())
        meter_provider.shutdown()

    spans = [it for document in documents for it in check_conformance.records(document) if it["signal"] == "span"]
    assert len(spans) == wanted
    assert any("resourceMetrics" in document for document in documents)
    found = errors(documents, _DEFAULT, no_content=True)
    urls = {scope.get("schemaUrl") for document in documents for scope in _scopes(document)}
    assert {span.instrumentation_scope.schema_url for span in recorded.spans()} == {gen_ai.SCHEMA_URL}
    if Version("1.35") > _SDK:
        # The stock OTLP exporter of 1.30 asks for the SDK's own boundaries; in-memory readers get the advised ones.
        found = [finding for finding in found if "metric-buckets" not in finding]
        assert urls == {None}  # it sends the resource's schema URL in the place of the scope's
    else:
        assert urls == {gen_ai.SCHEMA_URL}
    assert found == []


def _scopes(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        scope
        for resource in (*document.get("resourceSpans", ()), *document.get("resourceMetrics", ()))
        for scope in (*resource.get("scopeSpans", ()), *resource.get("scopeMetrics", ()))
    ]


# The checker itself ------------------------------------------------------------------------------------------------

_BREAKS: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "unknown-attribute": lambda span: span["attributes"].update({"gen_ai.cost.total": 0.1}),
    "deprecated-attribute": lambda span: span["attributes"].update({"gen_ai.system": "openai"}),
    "wrong-type": lambda span: span["attributes"].update({"gen_ai.usage.input_tokens": "7"}),
    "int-for-double": lambda span: span["attributes"].update({"gen_ai.request.temperature": 1}),
    "missing-required": lambda span: span["attributes"].pop("gen_ai.provider.name"),
    "missing-conditional": lambda span: span["attributes"].pop("gen_ai.request.stream"),
    "enum-spelling": lambda span: span["attributes"].update({"gen_ai.provider.name": "azure"}),
    "span-name": lambda span: span.update(name="litellm.completion"),
    "span-kind": lambda span: span.update(kind="SERVER"),
    "status-ok": lambda span: span.update(status="OK"),
    "not-at-start": lambda span: span["start_attributes"].remove("gen_ai.request.model"),
    "content-captured": lambda span: span["attributes"].update({"gen_ai.input.messages": "[]"}),
    "usage-subset": lambda span: span["attributes"].update({"gen_ai.usage.cache_read.input_tokens": 10_000}),
    "bad-address": lambda span: span["attributes"].update({"server.address": "http://127.0.0.1"}),
    "unknown-event": lambda span: span["events"].append({"name": "gen_ai.retry", "attributes": {}}),
}


def test_the_checker_would_notice(record: Callable[..., Recording], provider: FakeProvider) -> None:
    """A span of ours that conforms does not any longer when it is broken in one of many ways."""
    recorded = record()
    _BY_NAME["acompletion-stream, ok"].run(provider)
    (good,) = (it for it in recorded.records() if it["signal"] == "span")
    assert errors([good], _DEFAULT, no_content=True) == []

    for code, spoil in _BREAKS.items():
        bad = copy.deepcopy(good)
        spoil(bad)
        found = check_conformance.check([bad], _DEFAULT, no_content=True)
        assert code in {finding.code for finding in found}, code


# Our own tables ----------------------------------------------------------------------------------------------------

_TYPES: Final = {
    "string": str, "int": int, "double": float, "boolean": bool, "string[]": list,
}  # fmt: skip


@cache
def _tables() -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, ...]], dict[str, frozenset[str]]]:
    attempt = {fact.attribute: fact.type for fact in (*vocabulary.INFERENCE, *content.CONTENT)}
    call = {fact.attribute: fact.type for fact in vocabulary.ROUTER}
    events = {event.name: event.attributes for event in vocabulary.EVENTS}
    events[gen_ai.EVENT_EXCEPTION] = (gen_ai.EXCEPTION_TYPE, gen_ai.EXCEPTION_MESSAGE, gen_ai.EXCEPTION_STACKTRACE)
    labels: dict[str, frozenset[str]] = {}
    for row in metrics.TABLE:
        labels[row.name] = labels.get(row.name, frozenset()) | {label.attribute for label in row.labels}
    return {"attempt": attempt, "call": call}, events, labels


def strangers(records: list[dict[str, Any]]) -> list[str]:
    """What is in none of our tables, or of another type than they say."""
    spans, events, labels = _tables()
    found = []
    for it in records:
        if it["signal"] == "span":
            table = spans["attempt" if it["kind"] == "CLIENT" else "call"]
            found += [
                f"{it['name']}: {name}={value!r}"
                for name, value in it["attributes"].items()
                if name not in table or type(value) is not _TYPES.get(table[name], type(value))
            ]
            told = [(event["name"], event["attributes"]) for event in it["events"]]
        elif it["signal"] == "event":
            told = [(it["event_name"], it["attributes"])]
        else:
            told = []
            used = {name for point in it["points"] for name in point["attributes"]}
            found += [f"metric {it['name']}: {name}" for name in used - labels.get(it["name"], frozenset())]
            found += [it["name"]] if it["name"] not in labels else []
        for name, attributes in told:
            found += [f"event {name}"] if name not in events else []
            found += [f"event {name}: {extra}" for extra in set(attributes) - set(events.get(name, ()))]
    return found


def test_no_stranger_goes_unnoticed() -> None:
    """An attribute, a type, an event, a metric and a label that are in no table are all found."""
    span = {"signal": "span", "name": "n", "kind": "CLIENT", "attributes": {"litellm.new": 1, "server.port": "80"}, "events": [{"name": "new", "attributes": {}}]}
    metric = {"signal": "metric", "name": "new", "points": [{"attributes": {"user": "u"}}]}
    assert len(strangers([span, metric])) == 5


def test_our_names_are_the_models() -> None:
    """Each GenAI name of our tables is in the registry with the same type, and none of ours pretends to be one."""
    model = check_conformance.model_for("main-2026-10")
    for fact in (*vocabulary.INFERENCE, *vocabulary.ROUTER):
        registered = model.find(fact.attribute)
        if registered is None:
            assert fact.attribute.startswith("litellm."), fact
        else:
            assert fact.type == registered.base, fact
    for row in metrics.TABLE:
        released, latest = (check_conformance.model_for(profile).metrics for profile in (_DEFAULT, "main-2026-10"))
        known = {metrics.RELEASED: released, metrics.LATEST: latest}.get(row.generation)
        assert known is None or (known[row.name].unit, known[row.name].instrument) == (row.unit, row.kind), row
        assert known is not None or row.name.startswith("litellm."), row


def test_provider_names() -> None:
    """For every provider that LiteLLM lists, the name is the well-known one where there is one."""
    expected = yaml.safe_load((_DATA / "litellm_provider_map.yaml").read_text("utf-8"))["well_known"]
    assert len(litellm.provider_list) > 100
    for listed in litellm.provider_list:
        name = str(getattr(listed, "value", listed))
        assert gen_ai.PROVIDERS.get(name, name) == expected.get(name, name)
    well_known = check_conformance.model_for().attrs["gen_ai.provider.name"].members
    assert set(gen_ai.PROVIDERS.values()) <= set(well_known)

"""What a call was is read later, in the thread that delivers: it must be what it would have been, read at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_llm_bridge.viewer.receiver import Receiver

from ..export.support import run

_PREAMBLE = """
import faulthandler, os, sys
faulthandler.dump_traceback_later(280, exit=True)
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import otel_llm_bridge
otel_llm_bridge.instrument()
import litellm
from opentelemetry import trace
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.export import pipeline
provider = FakeProvider().__enter__()
def call(model="openai/gpt-4o-mini", **more):
    return litellm.completion(**{"model": model, "messages": [{"role": "user", "content": "x"}], "api_base": provider.url + "/v1",
                                 "api_key": "sk-test", "max_retries": 0, **more})
"""
_METRICS = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
#: Attributes that are other ones each time.
_CHANGING = {
    "litellm.call_id", "litellm.provider.request_id", "server.port", "gen_ai.response.time_to_first_chunk", "litellm.attempt.wait",
    "gen_ai.response.id", "litellm.stream.chunks",
}  # fmt: skip


@pytest.fixture
def receiver() -> Any:
    with Receiver() as running:
        yield running


def _run(body: str, folder: Path, receiver: Receiver, **environ: str) -> None:
    ended = run(body, folder, receiver, preamble=_PREAMBLE, environ={**_METRICS, **environ}, timeout=300)
    assert ended.status == 0, ended.errors
    assert "internal fault" not in ended.errors, ended.errors


def _spans(receiver: Receiver) -> list[Any]:
    return [span for span in receiver.store.spans() if span.scope_name == "otel_llm_bridge"]


def test_what_is_changed_afterwards_is_not_recorded(tmp_path: Path, receiver: Receiver) -> None:
    """The answer, the arguments and LiteLLM's settings belong to the program: it may do with them what it likes, at once."""
    body = """
    stop, kind = ["END"], {"type": "json_object"}
    litellm.api_base = provider.url + "/v1"
    answer = call(api_base=None, stop=stop, response_format=kind, temperature=0.5)
    litellm.api_base = "http://changed.invalid"
    stop.append("changed"); kind["type"] = "text"
    answer.id = answer.model = answer.choices[0].finish_reason = "changed"
    answer.usage.prompt_tokens = answer.usage.completion_tokens = 999_999
    answer.usage.prompt_tokens_details = answer.usage.completion_tokens_details = None
    answer._hidden_params["response_cost"] = 42.0
    answer._hidden_params["additional_headers"].clear()
    again = call(temperature=0.25)
    again.id = again.model = again.choices[0].finish_reason = "changed"
    again.usage.prompt_tokens = again.usage.completion_tokens = 999_999
    again._hidden_params["response_cost"] = 42.0
    again.choices.clear()
    """
    _run(body, tmp_path, receiver)
    first, second = _spans(receiver)
    assert (first.name, second.name) == ("chat gpt-4o-mini",) * 2
    for span in (first, second):
        said = span.attributes
        assert "changed" not in str(said) and "999999" not in str(said)
        assert said["gen_ai.response.model"].startswith("gpt-4o-mini") and said["gen_ai.response.finish_reasons"] == ["stop"]
        assert 0 < said["gen_ai.usage.input_tokens"] < 1000
        assert 0 < said["litellm.cost.total"] < 1
        assert said["server.address"] == "127.0.0.1"
    assert first.attributes["gen_ai.request.stop_sequences"] == ["END"]
    assert first.attributes["gen_ai.output.type"] == "json"
    assert (first.attributes["gen_ai.request.temperature"], second.attributes["gen_ai.request.temperature"]) == (0.5, 0.25)


def test_what_the_block_around_was_given_is_changed_afterwards(tmp_path: Path, receiver: Receiver) -> None:
    """A list in `attributes` belongs to the program as well."""
    body = """
    steps = ["first"]
    with otel_llm_bridge.attributes(user="u-1", steps=steps, kind="plain"):
        call()
        steps.append("changed")
    """
    _run(body, tmp_path, receiver, OTEL_LLM_BRIDGE_METADATA_KEYS="steps,kind")
    (span,) = _spans(receiver)
    said = {name: span.attributes[f"litellm.{name}"] for name in ("end_user", "metadata.steps", "metadata.kind")}
    assert said == {"end_user": "u-1", "metadata.steps": ["first"], "metadata.kind": "plain"}


def test_requests_that_are_nearly_the_same(tmp_path: Path, receiver: Receiver) -> None:
    """What plain arguments say is known from earlier calls; not what compares equal and is another thing, nor what is one call's own."""
    body = """
    for seed, session in ((1, "s-1"), (True, "s-2"), (1.0, "s-3"), (1, "s-4")):
        call(seed=seed, litellm_session_id=session)
    litellm.api_base = "http://elsewhere.invalid:4711"
    try:
        call(api_base=None, seed=1)
    except Exception:
        pass
    """
    _run(body, tmp_path, receiver)
    *said, elsewhere = [span.attributes for span in _spans(receiver)]
    assert [(of.get("gen_ai.request.seed"), of["gen_ai.conversation.id"]) for of in said] == [(1, "s-1"), (None, "s-2"), (1, "s-3"), (1, "s-4")]
    assert {of["server.address"] for of in said} == {"127.0.0.1"}
    assert elsewhere["server.address"] == "elsewhere.invalid"


def test_what_was_said_of_the_running_span_stays(tmp_path: Path, receiver: Receiver) -> None:
    """Code inside the call names the span and adds to it: neither is undone by what is said of it later."""
    body = """
    from litellm.litellm_core_utils.litellm_logging import Logging
    def inside(self, *args, **kwargs):
        trace.get_current_span().set_attribute("app.said", "inside")
        trace.get_current_span().update_name("renamed")
        return before(self, *args, **kwargs)
    before, Logging.pre_call = Logging.pre_call, inside
    call()
    """
    _run(body, tmp_path, receiver)
    (span,) = _spans(receiver)
    assert (span.name, span.attributes["app.said"], span.attributes["gen_ai.operation.name"]) == ("renamed", "inside", "chat")


@pytest.mark.skipif(not hasattr(MeterProvider, "add_metric_reader"), reason="this SDK takes readers only when it is made")
def test_nothing_waits_where_somebody_else_looks(tmp_path: Path, receiver: Receiver) -> None:
    """With a reader of metrics of the program's own, or another span processor, a call has been said when it returns."""
    body = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    call()
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    metrics.get_meter_provider().add_metric_reader(reader)
    call()
    found = {metric.name: metric for part in reader.get_metrics_data().resource_metrics for scope in part.scope_metrics for metric in scope.metrics}
    (point,) = found["gen_ai.client.operation.duration"].data.data_points
    assert point.count == 1, point
    assert point.attributes["gen_ai.response.model"].startswith("gpt-4o-mini"), point
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    call()
    (span,) = exporter.get_finished_spans()
    assert span.name == "chat gpt-4o-mini" and span.attributes["gen_ai.response.finish_reasons"] == ("stop",), span.attributes
    """
    _run(body, tmp_path, receiver)
    assert len(_spans(receiver)) == 3


@pytest.mark.parametrize(
    ("environ", "waits"),
    [
        ({}, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, True),
        ({"OTEL_LLM_BRIDGE_METRICS": "none"}, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"}, True),
        ({"OTEL_METRICS_EXPORTER": "console,otlp"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}, False),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, False),
        ({"OTEL_LLM_BRIDGE_SPOOL_DIR": "spool"}, False),
        ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "5"}, False),
    ],
    ids=str,
)
def test_where_a_call_waits(environ: dict[str, str], waits: bool, tmp_path: Path, receiver: Receiver) -> None:
    """Only where nobody but our own pipeline reads the span, the name it is sampled by, and what is measured; never with a spool."""
    body = """
    from otel_llm_bridge.export.call_span import CallSpan
    written, write = [], CallSpan.end_unwritten
    CallSpan.end_unwritten = lambda self, rest: (written.append(self), write(self, rest))
    call(mock_response="x", api_base=None)
    assert bool(written) is (os.environ["WAITS"] == "True"), written
    """
    _run(body, tmp_path, receiver, WAITS=str(waits), **environ)
    (span,) = _spans(receiver)
    assert (span.name, span.attributes["gen_ai.response.finish_reasons"]) == ("chat gpt-4o-mini", ["stop"])


def test_another_provider_comes(tmp_path: Path, receiver: Receiver) -> None:
    """The program sets a meter provider of its own: what had ended by then is in ours, and the rest in that."""
    body = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    call()
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    call(); call()
    found = {metric.name: metric for part in reader.get_metrics_data().resource_metrics for scope in part.scope_metrics for metric in scope.metrics}
    (point,) = found["gen_ai.client.operation.duration"].data.data_points
    assert point.count == 2, point
    """
    _run(body, tmp_path, receiver)
    ((count, _sum),) = _measured(receiver)["gen_ai.client.operation.duration"].values()
    assert (count, len(_spans(receiver))) == (1, 3)


def test_what_is_measured_of_lost_spans(tmp_path: Path, receiver: Receiver) -> None:
    """A full queue drops spans; the metrics have all calls, those of the dropped ones and of the waiting ones."""
    body = """
    for _ in range(5):
        call()
    """
    nowhere = {"OTEL_LLM_BRIDGE_QUEUE_SIZE": "2", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}
    _run(body, tmp_path, receiver, **nowhere)
    ((_labels, (count, _sum)),) = _measured(receiver)["gen_ai.client.operation.duration"].items()
    assert count == 5


def test_somebody_begins_to_listen_while_a_call_runs(tmp_path: Path, receiver: Receiver) -> None:
    """A callback that is registered inside a call hears of it, and of its end."""
    body = """
    from litellm.litellm_core_utils.litellm_logging import Logging
    from otel_llm_bridge import callbacks
    heard = []
    def inside(self, *args, **kwargs):
        callbacks.register(lambda event: heard.append(event.point), on=["pre_call", "post_call", "success"], key="late")
        return before(self, *args, **kwargs)
    before, Logging.pre_call = Logging.pre_call, inside
    call()
    assert heard == ["pre_call", "post_call", "success"], heard
    """
    _run(body, tmp_path, receiver)


# Every way that a call can go ---------------------------------------------------------------------------------------

_ALL = """
from tests.truth.scenarios import SCENARIOS
call()
assert pipeline.current()._spans.waits
if os.environ["HOW"] == "at once":
    pipeline.current()._spans.write_up(always=True)
tracer = trace.get_tracer("scenarios")
for scenario in SCENARIOS:
    if scenario.name.startswith("a"):  # the same, awaited
        continue
    with tracer.start_as_current_span(scenario.name):
        scenario.run(provider)
"""


def _told(receiver: Receiver) -> dict[str, Counter[str]]:
    """What the spans of each scenario say."""
    names = {span.trace_id: span.name for span in receiver.store.spans() if span.scope_name == "scenarios"}
    told: dict[str, Counter[str]] = {}
    for span in _spans(receiver):
        said = {key: "…" if key in _CHANGING else value for key, value in span.attributes.items()}
        events = sorted((event.name, str(sorted(event.attributes.keys()))) for event in span.events if event.name != "litellm.success")
        line = str((span.name, span.kind, sorted(said.items()), events, span.status_code))
        told.setdefault(names.get(span.trace_id, "first"), Counter())[line] += 1
    return told


def _measured(receiver: Receiver) -> dict[str, dict[str, tuple[int, float]]]:
    """How often each metric was measured, by its labels, and the sum of what is not a time."""
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for metric in receiver.store.metrics():
        if not metric.name.startswith(("gen_ai.", "litellm.")):
            continue
        points = {}
        for point in metric.points:
            figures = point.value if isinstance(point.value, Mapping) else {"count": 0, "sum": point.value}
            points[str(sorted(point.attributes.items()))] = (figures["count"], 0.0 if metric.unit == "s" else round(figures["sum"], 9))
        found[metric.name] = points  # sums: the last export has all
    return found


@pytest.mark.slow
def test_every_call_says_the_same_as_at_once(tmp_path: Path) -> None:
    """Every scenario, its spans and what is measured, written in the caller's thread and in the one that delivers."""

    def tell(how: str) -> tuple[Any, Any]:
        folder = tmp_path / how
        folder.mkdir()
        with Receiver() as receiver:
            _run(_ALL, folder, receiver, HOW=how, OTEL_LLM_BRIDGE_METRICS_SERIES_MAX="1000")
            measured = _measured(receiver)
            measured.pop("gen_ai.client.operation.time_per_output_chunk")  # some streams come in as many chunks as the network makes
            return _told(receiver), measured

    with ThreadPoolExecutor() as both:
        (at_once, measured_at_once), (later, measured_later) = both.map(tell, ("at once", "later"))
    assert len(later) > 60
    for name in at_once | later:
        assert at_once[name] == later[name], name
    assert measured_at_once == measured_later

"""The user's own providers are used and never replaced; without one, the standard variables build a pipeline."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.providers import Providers
from otel_llm_bridge.settings import Settings
from otel_llm_bridge.viewer.receiver import Receiver

_CALL = """
import os, litellm
litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "x"}], api_base=os.environ["PROVIDER"], api_key="sk-test")
"""
_SDK = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider(); provider.add_span_processor(SimpleSpanProcessor(exporter))
"""
_FOREIGN = """
from opentelemetry import trace
made = []
class Tracer(trace.NoOpTracer):
    def start_span(self, name, *args, **kwargs):
        made.append(name); return super().start_span(name, *args, **kwargs)
class Foreign(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs): return Tracer()
"""
_LATE = """
trace.set_tracer_provider(provider)
assert trace.get_tracer_provider() is provider
with trace.get_tracer("mine").start_as_current_span("caller"):""" + _CALL.replace("\n", "\n    ") + """
names = [span.name for span in exporter.get_finished_spans()]
"""

#: provider -> (program, spans that reach the receiver of the standard variables)
_KINDS = {
    "global, set before": (_SDK + "trace.set_tracer_provider(provider)\nimport otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL + "assert len(exporter.get_finished_spans()) == 1", 0),
    "global, set after instrument": ("import otel_llm_bridge; otel_llm_bridge.instrument()" + _SDK + "trace.set_tracer_provider(provider)" + _CALL + "assert len(exporter.get_finished_spans()) == 1", 0),
    "an argument": (_SDK + "import otel_llm_bridge; otel_llm_bridge.instrument(tracer_provider=provider)" + _CALL + "assert len(exporter.get_finished_spans()) == 1", 0),
    "no-op": ("from opentelemetry import trace\ntrace.set_tracer_provider(trace.NoOpTracerProvider())\nimport otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL, 0),
    "foreign, without SDK methods": (_FOREIGN + "trace.set_tracer_provider(Foreign())\nimport otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL + "assert made == ['chat gpt-4o-mini'], made", 0),
    "global, set after a call": ("import otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL + _SDK + _LATE + "assert names == ['chat gpt-4o-mini', 'caller'], names", 1),
    "global, set after a call and a switch": ("import otel_llm_bridge as b; b.instrument()" + _CALL + "b.uninstrument(); b.instrument()" + _CALL + _SDK + _LATE + "assert names == ['chat gpt-4o-mini', 'caller'], names", 2),
    "none": ("import otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL, 1),
}  # fmt: skip


def run(arguments: list[str], receiver: Receiver, provider: FakeProvider, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the standard variables pointing to ``receiver``."""
    environment = {
        **os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PROVIDER": f"{provider.url}/v1", **more,
    }  # fmt: skip
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("kind", _KINDS)
def test_whose_provider(kind: str, provider: FakeProvider) -> None:
    """Spans go to the user's provider only, whenever it is set; nobody is warned of an override."""
    program, expected = _KINDS[kind]
    with Receiver() as receiver:
        done = run(["-c", program], receiver, provider)
        assert done.returncode == 0, done.stderr
        assert "verrid" not in done.stderr
        assert len(receiver.store.spans()) == expected


_ALL_SIGNALS = """
from opentelemetry import _logs, metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor, InMemoryLogExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader, logged = InMemoryMetricReader(), InMemoryLogExporter()
trace.set_tracer_provider(provider); metrics.set_meter_provider(MeterProvider([reader]))
logs = LoggerProvider(); logs.add_log_record_processor(SimpleLogRecordProcessor(logged)); _logs.set_logger_provider(logs)
"""
_MEASURED = """
measured = {metric.name: metric for of in reader.get_metrics_data().resource_metrics for scope in of.scope_metrics for metric in scope.metrics}
(point,) = measured["gen_ai.client.operation.duration"].data.data_points
assert point.count == 1, point
runs = [point.value for point in measured["litellm.callback.runs"].data.data_points]
assert runs == [2], runs
said = [one.log_record for one in logged.get_finished_logs() if "gen_ai.input.messages" in one.log_record.attributes]
assert len(said) == 1, said
report = b.flush(60)
assert (report.ended, report.exported) == (2, 2), report
"""


def test_a_late_provider_of_each_signal(provider: FakeProvider) -> None:
    """Metrics and log records follow as spans do; nothing is told in two places, and the figures count what either had."""
    callback = "from otel_llm_bridge import callbacks\ncallbacks.register(lambda *_: None, mode='inline')\n"
    with Receiver() as receiver:
        done = run(
            ["-c", "import otel_llm_bridge as b; b.instrument()\n" + callback + _CALL + _SDK + _ALL_SIGNALS + _CALL + _MEASURED], receiver, provider,
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="EVENT_ONLY",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "verrid" not in done.stderr
        said = [record for record in receiver.store.logs() if "gen_ai.input.messages" in record.attributes]
        assert (len(receiver.store.spans()), len(said)) == (1, 1)


_THREADS = """
import threading, litellm
from concurrent.futures import ThreadPoolExecutor
begun = threading.Semaphore(0)
def call(number):
    litellm.completion(model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}], mock_response="hi"); begun.release()
pool = ThreadPoolExecutor(8)
calls = [pool.submit(call, number) for number in range(200)]
for _ in range(50): begun.acquire()
""" + _SDK + """
trace.set_tracer_provider(provider)
for one in calls: one.result()
theirs = len(exporter.get_finished_spans())
report = b.flush(60)
assert 0 < theirs < 200 and (report.ended, report.exported) == (200, 200), (theirs, report)
print(theirs)
"""


def test_a_late_provider_while_calls_are_made(provider: FakeProvider) -> None:
    """Each span is delivered by one of the two, once."""
    with Receiver() as receiver:
        done = run(["-c", "import otel_llm_bridge as b; b.instrument()\n" + _THREADS], receiver, provider)
        assert done.returncode == 0, done.stderr
        assert "verrid" not in done.stderr
        assert len(receiver.store.spans()) == 200 - int(done.stdout)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_standard_variables(protocol: str, provider: FakeProvider) -> None:
    """Our own pipeline exports by either protocol, with the service's name from the environment."""
    with Receiver() as receiver:
        endpoint = receiver.grpc_endpoint if protocol == "grpc" else receiver.http_endpoint
        done = run(
            ["-c", "import otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL], receiver, provider,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME="mine",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (span,) = receiver.store.spans()
    assert span.resource["service.name"] == "mine"
    assert span.scope_name == "otel_llm_bridge"


def test_opentelemetry_instrument(provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> None:
    """``opentelemetry-instrument python app.py``: zero code, through the entry point."""
    app = tmp_path_factory.mktemp("app") / "app.py"
    app.write_text(_CALL)
    with Receiver() as receiver:
        launcher = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
        done = run(
            ["-c", launcher, sys.executable, str(app)], receiver, provider,
            OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        names = [span.name for span in receiver.store.spans()]
    assert names == ["chat gpt-4o-mini"]


def test_the_kill_switch(provider: FakeProvider) -> None:
    """With ``OTEL_LLM_BRIDGE_DISABLED`` nothing is patched and nothing is sent."""
    program = (
        "import otel_llm_bridge; otel_llm_bridge.instrument()" + _CALL
        + "from otel_llm_bridge.patching import is_patched; assert not is_patched(litellm.completion)"
    )
    with Receiver() as receiver:
        done = run(["-c", program], receiver, provider, OTEL_LLM_BRIDGE_DISABLED="true")
        assert done.returncode == 0, done.stderr
        assert receiver.store.spans() == []


class _Slow(trace.NoOpTracerProvider):
    """A provider of all three signals: who is asked for one of them waits a moment for a second one to be asked for it."""

    def __init__(self, signal: str) -> None:
        self._signal, self._both = signal, threading.Barrier(2)

    def _make(self, signal: str) -> Any:
        if signal == self._signal:
            with contextlib.suppress(threading.BrokenBarrierError):
                self._both.wait(0.5)
        return object()

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        return self._make("tracer")

    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        return self._make("meter")

    def get_logger(self, *args: Any, **kwargs: Any) -> Any:
        return self._make("logger")


@pytest.mark.parametrize("signal", ["tracer", "meter", "logger"])
def test_two_first_calls_share_one(signal: str) -> None:
    """What is made at the first call is made once, also by two of them at once: two meters would count in two places."""
    slow = _Slow(signal)
    providers = Providers(Settings.resolve({}), slow, slow, slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda name: getattr(providers, name), [signal] * 2)
    assert first is second is getattr(providers, signal)

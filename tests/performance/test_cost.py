"""What a call costs: ratios to a hand-written span with wide bounds, and counts that no load can change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]

#: Runs in a process of its own: `trivial.replace` takes LiteLLM's functions away for good. Exports go nowhere.
_PROGRAM = """
import json, os, statistics, sys, time
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from benchmarks import trivial
from benchmarks.hand import Hand
from benchmarks.scenarios import TRIVIAL
import litellm, otel_llm_bridge

trivial.replace()
options = {"handle_signals": False, "metrics": "none" if "no metrics" in sys.argv else "released"}
if "own pipeline" not in sys.argv:
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF if "sampled out" in sys.argv else ALWAYS_ON))
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
hand = Hand()

def caller(scenario):
    scenario = TRIVIAL[scenario]
    def one():
        answer = litellm.completion(**scenario.arguments())
        if scenario.chunks:
            for _ in answer:
                pass
    return one

one = caller("wrapper")
def by_hand():
    hand.sync(one, [])

def functions(one):
    for _ in range(20):  # what is made once is made by then
        one()
    count = 0
    def see(frame, event, argument):
        nonlocal count
        count += event == "call"
    sys.setprofile(see)
    one()
    sys.setprofile(None)
    return count

def block(one):
    began = time.process_time()
    for _ in range(100):
        one()
    return time.process_time() - began

result = {"functions by hand": functions(by_hand)}
blocks = {"by hand": [], "ours": []}
for _ in range(7):  # in turn, so that both see the same machine
    blocks["by hand"].append(block(by_hand))
    otel_llm_bridge.instrument(**options)
    block(one)
    blocks["ours"].append(block(one))
    otel_llm_bridge.uninstrument()
otel_llm_bridge.instrument(**options)
result["ratio"] = statistics.median(a / b for a, b in zip(blocks["ours"], blocks["by hand"]))
for scenario in ("wrapper", "100 kB prompt", "200 messages", "100 chunks", "1000 chunks"):
    result[scenario] = functions(caller(scenario))
print(json.dumps(result), flush=True)
os._exit(0)
"""


def _run(*arguments: str) -> dict[str, Any]:
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    environ = {**os.environ, **nowhere, "PYTHONPATH": str(_ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], env=environ, capture_output=True, text=True, timeout=120, cwd=_ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Figures of calls whose spans are recorded."""
    return _run()


@pytest.fixture(scope="module")
def sampled_out() -> dict[str, Any]:
    """Figures of calls whose spans the sampler refuses."""
    return _run("sampled out")


def test_a_call_beside_a_span_by_hand(recorded: dict[str, Any]) -> None:
    """A call costs no more than a few hand-written spans, before export."""
    assert recorded["ratio"] < 5


def test_functions_of_a_call(recorded: dict[str, Any]) -> None:
    """A call runs a bounded number of Python functions, whatever the load of the machine."""
    assert recorded["functions by hand"] < recorded["wrapper"] < 700


def test_functions_of_a_call_in_its_own_thread(recorded: dict[str, Any]) -> None:
    """In the bridge's own pipeline most of it is run by the thread that delivers: what is left is less than half of a span by hand."""
    own = _run("own pipeline")
    assert own["wrapper"] < recorded["functions by hand"] / 2


@pytest.mark.parametrize("prompt", ["100 kB prompt", "200 messages"])
def test_content_that_is_off_is_not_touched(prompt: str, recorded: dict[str, Any]) -> None:
    """With content off a long prompt runs exactly the functions that a short one does."""
    assert abs(recorded[prompt] - recorded["wrapper"]) <= 5


def test_functions_of_a_chunk(recorded: dict[str, Any]) -> None:
    """One more chunk of a stream runs seven functions, four of them OpenTelemetry's; to record its gap in the SDK runs fifty."""
    per_chunk = {name: (run["1000 chunks"] - run["100 chunks"]) / 900 for name, run in (("SDK", recorded), ("none", _run("no metrics")))}
    assert per_chunk["none"] < 9
    assert per_chunk["SDK"] < 75


def test_sampled_out_builds_less(recorded: dict[str, Any], sampled_out: dict[str, Any]) -> None:
    """A call that the sampler refuses runs fewer functions than one that is recorded."""
    assert sampled_out["wrapper"] < recorded["wrapper"]


def test_disabled_adds_nothing() -> None:
    """Switched off by its variable, the bridge leaves LiteLLM's functions as they are, and does not import it."""
    code = (
        "import sys, otel_llm_bridge; otel_llm_bridge.instrument(); print('litellm' in sys.modules);"
        "import litellm; from otel_llm_bridge.patching import is_patched; print(is_patched(litellm.completion))"
    )
    environ = {**os.environ, "OTEL_LLM_BRIDGE_DISABLED": "true", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]

"""One LLM span for each call, whoever else is watching."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from typing import Any, Final

import pytest

from tests.environments import python_with

pytestmark = pytest.mark.slow

OURS: Final = "otel_llm_bridge"
HTTP: Final = ("opentelemetry.instrumentation.httpx", "opentelemetry.instrumentation.aiohttp_client")

#: Neighbour -> the module that it needs.
NEEDS: Final = {
    "openai-official": "opentelemetry.instrumentation.genai.openai",
    "openai-contrib": "opentelemetry.instrumentation.openai_v2",
    "httpx": "opentelemetry.instrumentation.httpx",
    "aiohttp": "opentelemetry.instrumentation.aiohttp_client",
    "openinference-litellm": "openinference.instrumentation.litellm",
    "openinference-openai": "openinference.instrumentation.openai",
    "traceloop-litellm": "opentelemetry.instrumentation.litellm",
    "traceloop-openai": "opentelemetry.instrumentation.openai",
    "openlit": "openlit",
    "litellm-otel": "litellm",
    "framework-gen_ai": "litellm",
    "framework-openinference": "litellm",
    "framework-agent": "litellm",
}
_ALL: Final = frozenset({"sync", "sync stream", "async", "async stream", "router", "embedding"})
#: For which calls each makes the LLM span that `defer` leaves to it; of all others it is ours.
DEFERRED: Final = {
    "openai-official": _ALL - {"embedding"},
    "openai-contrib": _ALL,
    "openinference-litellm": _ALL,
    "openinference-openai": _ALL,
    "traceloop-litellm": _ALL,
    "traceloop-openai": _ALL - {"embedding"},
    "openlit": _ALL,
    "framework-gen_ai": _ALL,
    "framework-openinference": _ALL,
}
#: A framework's span is there before us: under `suppress` it stays the LLM span, too.
_OUTER: Final = ("framework-gen_ai", "framework-openinference")


@functools.cache
def _spans(neighbour: str, order: str = "before") -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The spans of each call under each policy, from one child process for all tests of this neighbour."""
    policies = ("suppress", "defer", "nest") if order == "before" else ("suppress",)
    python = python_with("neighbours", NEEDS[neighbour], "litellm", "otel_llm_bridge")
    done = subprocess.run(
        [python, "-m", "tests.neighbours.program", neighbour, order, ",".join(policies)],
        capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "OTEL_TRACES_EXPORTER": "none"},
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("SPANS ")]
    if not lines and "ModuleNotFoundError: No module named 'opentelemetry." in done.stderr:
        pytest.skip(f"{neighbour} does not work with the installed OpenTelemetry: {done.stderr.splitlines()[-1]}")
    assert lines, done.stderr[-3000:]
    found: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(lines[-1].removeprefix("SPANS "))
    return found


@pytest.mark.parametrize("neighbour", NEEDS)
def test_one_llm_span(neighbour: str) -> None:
    """Under `suppress` and `defer` each call has exactly one LLM span, and nothing of the tree is lost."""
    for policy, calls in _spans(neighbour).items():
        if policy == "nest":
            continue
        for call, spans in calls.items():
            where = f"{policy}, {call}: {[(span['scope'], span['name']) for span in spans]}"
            llm = [span for span in spans if span["llm"]]
            assert len(llm) == 1, where
            theirs = (policy == "defer" and call in DEFERRED.get(neighbour, ())) or neighbour in _OUTER
            assert (llm[0]["scope"] != OURS) == theirs, where
            known = {span["id"] for span in spans}
            assert all(span["parent"] is None or span["parent"] in known for span in spans), where


@pytest.mark.parametrize("neighbour", ["openinference-litellm", "openinference-openai", "traceloop-litellm"])
def test_order_does_not_matter(neighbour: str) -> None:
    """A neighbour that comes after the bridge is silenced as well."""
    for call, spans in _spans(neighbour, "after")["suppress"].items():
        llm = [span["scope"] for span in spans if span["llm"]]
        assert llm == [OURS], f"{call}: {spans}"


def test_nest() -> None:
    """Under `nest` everybody makes spans, and they nest."""
    spans = _spans("openinference-openai")["nest"]["sync"]
    assert [span["scope"] for span in spans] == [OURS, "openinference.instrumentation.openai"]
    assert spans[1]["parent"] == spans[0]["id"]


@pytest.mark.parametrize("neighbour", ["httpx", "aiohttp"])
def test_http_spans_stay(neighbour: str) -> None:
    """Spans of HTTP clients are no LLM spans: they are children of the attempt."""
    calls = _spans(neighbour)["suppress"]
    seen = 0
    for call, spans in calls.items():
        (attempt,) = [span for span in spans if span["llm"]]
        http = [span for span in spans if span["scope"] in HTTP]
        assert all(span["parent"] == attempt["id"] for span in http), (call, spans)
        seen += len(http)
    assert seen >= 3


def test_under_a_frameworks_llm_span() -> None:
    """Below the LLM span of a framework ours is one without GenAI attributes, under it; the cost is there once."""
    for call, spans in _spans("framework-gen_ai")["suppress"].items():
        ours = [span for span in spans if span["scope"] == OURS and span["name"].startswith("litellm.attempt")]
        assert len(ours) == 1, (call, spans)
        assert not [name for name in ours[0]["attributes"] if name.startswith("gen_ai.")]
        assert "litellm.cost.total" in ours[0]["attributes"]

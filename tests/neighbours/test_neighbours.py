"""One LLM span for each call, whoever else is watching."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any, Final

import pytest

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
#: Those that make the LLM span themselves around LiteLLM's functions, or within them for these calls.
_ALL: Final = ("sync", "sync stream", "async", "async stream", "router", "embedding")
DEFERRED: Final = {
    "openai-official": _ALL,
    "openinference-litellm": ("sync", "sync stream", "async", "async stream", "embedding"),
    "openinference-openai": _ALL,
    "traceloop-openai": _ALL,
    "openlit": ("sync", "sync stream", "async", "async stream", "embedding"),
    "framework-gen_ai": _ALL,
    "framework-openinference": _ALL,
}


def _missing(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ImportError:
        return True


def _spans(neighbour: str, order: str, *policies: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The spans of each call under each policy, from a child process."""
    if _missing(NEEDS[neighbour]):
        pytest.skip(f"{NEEDS[neighbour]} is not installed; the extra `neighbours` has it")
    done = subprocess.run(
        [sys.executable, "-m", "tests.neighbours.program", neighbour, order, ",".join(policies)],
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
    for policy, calls in _spans(neighbour, "before", "suppress", "defer").items():
        for call, spans in calls.items():
            where = f"{policy}, {call}: {[(span['scope'], span['name']) for span in spans]}"
            if neighbour == "framework-agent":
                llm = [span for span in spans if span["llm"]]
                assert [span["scope"] for span in llm] == [OURS], where
                continue
            llm = [span for span in spans if span["llm"]]
            if policy == "defer" and call == "router" and len(llm) != 1:
                # The Router calls what the other instrumentation does not see: then it is ours.
                pytest.fail(where)
            assert len(llm) == 1, where
            ours_expected = policy == "suppress" and not neighbour.startswith("framework-") or (
                policy == "defer" and call not in DEFERRED.get(neighbour, ())
            )
            if neighbour not in ("traceloop-litellm", "litellm-otel", "openai-contrib") or policy == "suppress":
                assert (llm[0]["scope"] == OURS) == ours_expected, where
            known = {span["id"] for span in spans}
            assert all(span["parent"] is None or span["parent"] in known for span in spans), where


@pytest.mark.parametrize("neighbour", ["openinference-litellm", "openinference-openai", "traceloop-litellm"])
def test_order_does_not_matter(neighbour: str) -> None:
    """A neighbour that comes after the bridge is silenced as well."""
    for call, spans in _spans(neighbour, "after", "suppress")["suppress"].items():
        llm = [span["scope"] for span in spans if span["llm"]]
        assert llm == [OURS], f"{call}: {spans}"


def test_nest() -> None:
    """Under `nest` everybody makes spans, and they nest."""
    spans = _spans("openinference-openai", "before", "nest")["nest"]["sync"]
    assert [span["scope"] for span in spans] == [OURS, "openinference.instrumentation.openai"]
    assert spans[1]["parent"] == spans[0]["id"]


@pytest.mark.parametrize("neighbour", ["httpx", "aiohttp"])
def test_http_spans_stay(neighbour: str) -> None:
    """Spans of HTTP clients are no LLM spans: they are children of the attempt."""
    calls = _spans(neighbour, "before", "suppress")["suppress"]
    seen = 0
    for call, spans in calls.items():
        (attempt,) = [span for span in spans if span["llm"]]
        http = [span for span in spans if span["scope"] in HTTP]
        assert all(span["parent"] == attempt["id"] for span in http), (call, spans)
        seen += len(http)
    assert seen >= 3


def test_under_a_frameworks_llm_span() -> None:
    """Below the LLM span of a framework ours is one without GenAI attributes, under it; the cost is there once."""
    for call, spans in _spans("framework-gen_ai", "before", "suppress")["suppress"].items():
        ours = [span for span in spans if span["scope"] == OURS and span["name"].startswith("litellm.attempt")]
        assert len(ours) == 1, (call, spans)
        assert not [name for name in ours[0]["attributes"] if name.startswith("gen_ai.")]
        assert "litellm.cost.total" in ours[0]["attributes"]

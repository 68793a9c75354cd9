"""Each framework's calls are under the span of the program that made them, one span for each request."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_llm_bridge.commands.otel_env import ZERO_CODE
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from tests.environments import python_with

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(600)]


class Row(NamedTuple):
    """A program of `programs`, the module that it needs, and how many requests it makes."""

    program: str
    module: str
    requests: int = 1
    #: Names of the spans between the program's own and the attempts.
    between: frozenset[str] = frozenset()


ROWS = (
    Row("smolagents_model", "smolagents"),
    Row("smolagents_agent", "smolagents"),
    Row("dspy_sync", "dspy"),
    Row("dspy_async", "dspy", 3),
    Row("openai_agents", "agents"),
    Row("openai_agents_tool", "agents", 2),
    Row("openai_agents_stream", "agents"),
    Row("langchain_sync", "langchain_litellm"),
    Row("langchain_async", "langchain_litellm"),
    Row("langchain_stream", "langchain_litellm"),
    Row("langchain_batch", "langchain_litellm", 3),
    Row("langchain_router", "langchain_litellm", 2, frozenset({"litellm.router fast"})),
)


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.program) for row in ROWS]
)
def test_calls_are_under_the_program(provider: FakeProvider, tmp_path: Path, row: Row) -> None:
    """No line of code, one LLM span for each request, every one of them with tokens and below the program's span."""
    python = python_with("agents" if row.module == "agents" else "frameworks", "litellm", row.module)
    provider.reset()
    with Receiver() as receiver:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LITELLM_"))}
        ran = subprocess.run(
            [python, str(Path(__file__).with_name("programs.py")), row.program],
            env={
                **kept,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(ZERO_CODE), kept.get("PYTHONPATH", "")))),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "PROVIDER": provider.url,
                "DSPY_CACHEDIR": str(tmp_path),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        assert len(provider.requests) == row.requests, [request.path for request in provider.requests]
        spans = {span.span_id: span for span in receiver.store.spans()}
        attempts = [span for span in spans.values() if "gen_ai.request.model" in span.attributes]
        assert [span.name for span in attempts] == ["chat gpt-4o-mini"] * row.requests, ran.stderr[-3000:]
        for attempt in attempts:
            above = [attempt]
            while above[-1].parent_span_id in spans:
                above.append(spans[above[-1].parent_span_id])
            assert above[-1].name == "work" and above[-1].parent_span_id is None
            assert {span.name for span in above[1:-1]} == row.between
            if attempt.status_code != "ERROR":
                assert attempt.attributes["gen_ai.usage.output_tokens"] > 0

"""The Proxy of the compose file, run natively with its shipped configuration: what its clients see in Jaeger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.semconv import gen_ai, litellm
from tests.environments import python_with

from .programs import ROOT, Program, free_port, get, until
from .stack import Stack
from .test_load import launch
from .test_traces import tags

CALLS = 60


@pytest.fixture(scope="module")
def traces(stack: Stack, provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The client's traces after a run of the load generator through it and the Proxy's end by SIGTERM."""
    python = python_with("proxy", "litellm", "apscheduler", "uvicorn", "opentelemetry.instrumentation.fastapi")
    folder = tmp_path_factory.mktemp("proxy")
    config = folder / "config.yaml"
    text = (ROOT / "deploy/proxy/config.yaml").read_text()
    assert text.count("http://127.0.0.1:8080/as/") == 7
    config.write_text(text.replace("http://127.0.0.1:8080", provider.url))
    port = free_port()
    beside = Path(python).parent
    environ = {**stack.otlp_environ, "OTEL_SERVICE_NAME": "litellm-proxy", "OTEL_PYTHON_EXCLUDED_URLS": "health", "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    command = ["opentelemetry-instrument", "--", "litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    command[0], command[2] = str(beside / command[0]), str(beside / command[2])
    with Program(command, folder / "proxy.log", environ) as proxy:
        url = f"http://127.0.0.1:{port}"
        proxy.wait_until(lambda: get(f"{url}/health/liveliness"), "the Proxy is alive", 300)
        launch(
            stack, "load-proxy", "deploy/demo/load.py", "proxy", "--url", url, "--rate", "15", "--calls", str(CALLS),
            OTEL_LLM_BRIDGE_TRACEPARENT_HOSTS="127.0.0.1",
        )  # fmt: skip
        proxy.stop()
    # The Proxy has ended, so what is missing now is on its way or lost.
    yield until(lambda: found if len(found := stack.traces("load-proxy")) >= CALLS and all(map(_whole, found)) else [], f"{CALLS} whole traces in Jaeger")


def _whole(trace: dict[str, Any]) -> bool:
    known = {span["spanID"] for span in trace["spans"]}
    return all(span["references"][0]["spanID"] in known for span in trace["spans"] if span["references"])


def test_requests_through_the_proxy(traces: list[dict[str, Any]]) -> None:
    """Each request is one tree from the client through the Proxy's Router to the attempts; retries and fallbacks among them."""
    assert len(traces) == CALLS
    kinds = set()
    for trace in traces:
        service = {key: process["serviceName"] for key, process in trace["processes"].items()}
        (root,) = [span for span in trace["spans"] if not span["references"]]
        assert service[root["processID"]] == "load-proxy"
        proxied = [span for span in trace["spans"] if service[span["processID"]] == "litellm-proxy"]
        assert len([span for span in proxied if span["operationName"].startswith(f"{litellm.SPAN_ROUTER} ")]) == 1
        kinds |= {tags(span)[litellm.ATTEMPT_KIND] for span in proxied if gen_ai.OPERATION_NAME in tags(span)}
    assert kinds == {litellm.KIND_FIRST, litellm.KIND_RETRY, litellm.KIND_FALLBACK}


def test_health_checks_are_silent(stack: Stack, traces: list[dict[str, Any]]) -> None:
    """The compose file's health checks leave no trace."""
    assert not [span for trace in stack.traces("litellm-proxy") for span in trace["spans"] if "/health" in span["operationName"]]

"""LiteLLM's own OpenTelemetry, version 1 and 2, configured beside the bridge."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver

from . import support

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LLM_SPANS_OF_V1 = ("litellm_request", "raw_gen_ai_request")
VERSIONS = {"v1": {}, "v2": {"LITELLM_OTEL_V2": "true"}}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_attempt_is_one_llm_span(proxy_python: str, provider: FakeProvider, tmp_path: Path, version: str) -> None:
    """Whoever makes them, there are as many LLM spans as attempts, and all of them are in the client's trace."""
    with Receiver() as receiver:
        environment = {
            **VERSIONS[version],
            "OTEL_EXPORTER": "otlp_http",
            "OTEL_ENDPOINT": receiver.http_endpoint,
        }
        with support.running(proxy_python, tmp_path, provider, receiver, callbacks=("otel",), environment=environment) as proxy:
            before = len(provider.requests)
            traces = {support.new_trace(): group for group in ("assistant", "flaky", "assistant")}
            for trace_id, group in traces.items():
                assert proxy.chat(group, trace=trace_id)[0] == 200
            proxy.terminate()
            assert len(provider.requests) - before == 5
            # Not by the model's name: version 2 puts that on every span of the process.
            llm = [
                span
                for span in receiver.store.spans()
                if span.attributes.get("gen_ai.operation.name") == "chat" or span.name in LLM_SPANS_OF_V1
            ]
            assert sorted(span.name for span in llm) == ["chat gpt-4o-mini"] * 5, [(span.name, span.scope_name) for span in llm]
            assert {span.trace_id for span in llm} == set(traces)

"""The last traces of a Proxy that is ended by a signal."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver

from . import support

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: How it is served -> arguments of ``litellm``.
SERVERS = {
    "uvicorn": (),
    # uvicorn kills a worker that imports for more than five seconds on a busy machine.
    "2 uvicorn workers": ("--num_workers", "2", "--timeout_worker_healthcheck", "120"),
    "2 gunicorn workers": ("--run_gunicorn", "--num_workers", "2"),
}
REQUESTS = 20


@pytest.mark.parametrize("launcher", [False, True], ids=["callback", "launcher"])
@pytest.mark.parametrize("arguments", SERVERS.values(), ids=list(SERVERS))
def test_the_last_traces_arrive(
    proxy_python: str, provider: FakeProvider, tmp_path: Path, arguments: tuple[str, ...], launcher: bool
) -> None:
    """20 of 20 requests are there after SIGTERM, though nothing was sent before; the exit code is the server's own."""
    environment = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}  # nobody sends before the end
    with Receiver() as receiver, support.running(
        proxy_python, tmp_path, provider, receiver, launcher=launcher, arguments=arguments, environment=environment
    ) as proxy:
        traces = [support.new_trace() for _ in range(REQUESTS)]
        for trace_id in traces:
            assert proxy.chat(trace=trace_id)[0] == 200
        code = proxy.terminate(signal.SIGTERM)
        for trace_id in traces:
            trace = receiver.store.trace(trace_id)
            assert trace is not None, f"{trace_id} is lost; exit code {code}: {proxy.output[-2000:]}"
            names = sorted(span.name for span in support.ours(trace) if span is not support.request_span(trace))
            assert names == ["chat gpt-4o-mini", "litellm.router assistant"]
        assert receiver.store.counts.duplicates == 0
        assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)

"""One Proxy for each way to instrument it, for the whole session; it takes ten seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from tests.environments import python_with

from .support import Proxy, running


@pytest.fixture(scope="session")
def proxy_python() -> str:
    """An interpreter with the Proxy and the web framework's instrumentation."""
    return python_with("proxy", "litellm", "apscheduler", "uvicorn", "gunicorn", "opentelemetry.instrumentation.fastapi")


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Where all Proxies of the session send their telemetry."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session", params=["callback", "launcher"])
def proxy(
    request: pytest.FixtureRequest, proxy_python: str, provider: FakeProvider, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A running Proxy, instrumented by its configuration or by ``opentelemetry-instrument``."""
    folder: Path = tmp_path_factory.mktemp(f"proxy-{request.param}")
    with running(proxy_python, folder, provider, receiver, launcher=request.param == "launcher") as proxy:
        yield proxy

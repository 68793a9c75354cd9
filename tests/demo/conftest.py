"""The session's provider with an empty memory for each test of this folder, and litellm without its chatter."""

from __future__ import annotations

from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider


@pytest.fixture
def provider(provider: FakeProvider) -> FakeProvider:
    """The server, with an empty memory."""
    provider.reset()
    return provider


@pytest.fixture(scope="session")
def litellm() -> Any:
    """LiteLLM, imported when the first test needs it."""
    module = pytest.importorskip("litellm")
    module.suppress_debug_info = True
    return module

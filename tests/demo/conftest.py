"""One provider for all tests of this folder, and litellm without its chatter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.fixture(scope="session")
def running_provider() -> Iterator[FakeProvider]:
    """The server; it is started once."""
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider: FakeProvider) -> FakeProvider:
    """The server, with an empty memory."""
    running_provider.reset()
    return running_provider


@pytest.fixture(scope="session")
def litellm() -> Any:
    """LiteLLM, imported when the first test needs it."""
    module = pytest.importorskip("litellm")
    module.suppress_debug_info = True
    return module

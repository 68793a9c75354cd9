"""A real receiver for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_llm_bridge.viewer.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An OTLP receiver on loopback that can be told to misbehave."""
    with Receiver() as running:
        yield running

"""Parts of the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import litellm
import pytest

from .recording import Recording, recording


@pytest.fixture
def record() -> Iterator[Callable[..., Recording]]:
    """Switch the bridge on with options, all three signals recorded, for one test."""
    yield from recording()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM prints advice at errors, and waits seconds between retries."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    monkeypatch.setattr(litellm.Router, "_time_to_sleep_before_retry", lambda *_args, **_kwargs: 0)

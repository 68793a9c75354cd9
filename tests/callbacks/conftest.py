"""Each test begins with no callbacks, and ends with none that is pending."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from otel_llm_bridge import callbacks
from otel_llm_bridge.callbacks.dispatch import Dispatcher
from otel_llm_bridge.settings import Settings


@pytest.fixture
def make_dispatcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Dispatcher]]:
    """A dispatcher of the test's own, in the place of the one of the process."""
    made: list[Dispatcher] = []

    def make(**options: Any) -> Dispatcher:
        dispatcher = Dispatcher(Settings.resolve({}, **options))
        monkeypatch.setattr(callbacks, "dispatcher", dispatcher)
        made.append(dispatcher)
        return dispatcher

    yield make
    for dispatcher in made:
        assert callbacks.drains.drain(dispatcher, 10).complete


@pytest.fixture
def dispatcher(make_dispatcher: Callable[..., Dispatcher]) -> Dispatcher:
    """One with the default options."""
    return make_dispatcher()


@pytest.fixture
def the_dispatcher() -> Iterator[Dispatcher]:
    """The one of the process, which takes part in LiteLLM's calls; without callbacks before and after the test."""
    dispatcher = callbacks.dispatcher
    dispatcher.registry.clear()
    yield dispatcher
    dispatcher.registry.clear()
    assert callbacks.drain(10).complete


def told(**kwargs: Any) -> Callable[[], Mapping[str, Any]]:
    """What a driver hands to `Call.emit`."""
    return lambda: {"kwargs": kwargs, "response_obj": "response", "start_time": 1, "end_time": 2}

"""Stacks for the tests: one that is shared and whole, and one of its own for each test that kills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .stack import Stack, stack_in


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the stack; a first build takes minutes, a built program no time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Collector, Jaeger and Prometheus, all running."""
    with stack_in(tmp_path_factory.mktemp("stack")) as running:
        running.jaeger()
        running.collector()
        running.prometheus()
        yield running


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of one test, nothing of which runs yet."""
    with stack_in(tmp_path) as stopped:
        yield stopped

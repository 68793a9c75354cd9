"""What several test modules of the viewer share: one run of the demo, one browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_llm_bridge.viewer import Store, jsonl

from .commands import Demo, environment


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One run of the demo, and what it wrote as OTLP JSON lines, read back."""
    lines = tmp_path_factory.mktemp("demo") / "demo.jsonl"
    command = [sys.executable, "-m", "otel_llm_bridge.cli", "demo", "--json", str(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment(), check=False)
    store = Store()
    for signal, message in jsonl.read(lines):
        store.add(signal.name, message)
    return Demo(done, store, lines)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A headless Chromium with a new profile."""
    browser = pytest.importorskip("tests.viewer.chromium", reason="needs the package websockets")
    if browser.PROGRAM is None:
        pytest.skip("there is no chromium on this machine (Debian: apt-get install chromium)")
    profile: Path = tmp_path_factory.mktemp("chromium")
    with browser.Chromium(profile) as running:
        yield running

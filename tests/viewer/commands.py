"""Our commands as subprocesses, for tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from otel_llm_bridge.viewer import Store

COMMAND = [sys.executable, "-m", "otel_llm_bridge.cli"]


class Demo(NamedTuple):
    """A finished demo: the process, what it exported, and the file that it was read from."""

    done: subprocess.CompletedProcess[str]
    store: Store
    lines: Path


def environment(**more: str) -> dict[str, str]:
    """The environment of a child, without what the tests' own environment says about OpenTelemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **more}


def run(*arguments: str, stdin: str = "", timeout: float = 120, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command to its end, with a clean ``OTEL_*`` environment."""
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout, env=environment(**environ), check=False
    )


@contextlib.contextmanager
def started(arguments: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command, running; killed if it is still there at the end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen(arguments, text=True, env=environment(), **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)

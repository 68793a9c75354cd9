"""A fault of ours stays ours, wherever it is: see `faults`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What runs the caller's function, is what the caller holds, or is the boundary itself: a fault there has nobody to stop it.
#: These are short, and nothing of LiteLLM's is looked into in them.
BOUNDARY = {
    "callbacks.loops._before_cancelling", "callbacks.loops._first",
    "drivers._Taken.__enter__", "drivers._Taken.__exit__", "drivers._Taken.__init__", "drivers._settled",
    "drivers.asettle_owed", "drivers.settle_owed",
    "contexts.detach", "contexts.release", "guard.guarded.__enter__", "guard.guarded.__exit__", "guard.guarded.__init__",
    "invocation.Invocation.__enter__", "invocation.Invocation.__exit__",
    "streams.StreamProxy.__getattr__", "streams.StreamRecorder.saw",
    "streams._aclosing", "streams._anext", "streams._next", "streams._same",
    "transparent.Transparent.__class__",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fault_in_any_function() -> None:
    """Calls of all kinds return and raise what they do without us, with a fault in each function that they run."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.noharm.faults"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tried"] > 150
    assert {name: calls for name, calls in found["different"].items() if name not in BOUNDARY} == {}

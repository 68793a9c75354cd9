"""Python environments beside the tests' own, for programs whose requirements do not fit into it.

The LiteLLM Proxy and the frameworks pin versions of packages that the development environment has in others.
``make proxy-env`` and ``make frameworks-env`` make them; without one its tests skip, and say so.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def has(python: str, *modules: str) -> bool:
    """Whether the interpreter finds all ``modules``; it does not import them."""
    code = f"import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in {modules!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, timeout=60, check=False).returncode == 0


def python_with(environment: str, *modules: str) -> str:
    """An interpreter that has ``modules``: the running one, or that of ``.venv-{environment}``.

    Skips the test when there is none; fails it where ``OTEL_LLM_BRIDGE_ENVIRONMENTS`` names it (CI).
    """
    own = ROOT / f".venv-{environment}" / "bin" / "python"
    for python in (sys.executable, str(own)):
        if os.path.exists(python) and has(python, *modules):
            return python
    reason = f"no Python with {', '.join(modules)}; make {environment}-env"
    if environment in os.environ.get("OTEL_LLM_BRIDGE_ENVIRONMENTS", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)

"""Use the built wheel outside the checkout: install it alone, and do what the README says.

Run ``python tests/check_wheel.py DIST``; `make wheel` does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

_PROGRAM = """
import otel_llm_bridge, sys
otel_llm_bridge.instrument()
assert "litellm" not in sys.modules
import importlib.metadata as metadata
(entry,) = [e for e in metadata.entry_points(group="opentelemetry_instrumentor") if e.name == "litellm_bridge"]
assert entry.load() is otel_llm_bridge.LiteLLMInstrumentor
otel_llm_bridge.uninstrument()
print(otel_llm_bridge.__file__)
"""


def main(dist: Path) -> int:
    """Check the only wheel in ``dist``; 0 when all is well."""
    (wheel,) = dist.resolve().glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("otel_llm_bridge/py.typed", "otel_llm_bridge/viewer/page.html"):
        assert needed in names, f"{needed} is not in the wheel"
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)], check=True, cwd=folder)
        done = subprocess.run([python, "-c", _PROGRAM], check=True, cwd=folder, capture_output=True, text=True)
        assert folder in done.stdout, done.stdout
        tool = [Path(folder) / "bin" / "otel-llm-bridge", "run"]
        done = subprocess.run(
            [*tool, "--no-tree", "--", python, "-c", "import sys; sys.exit(7)"], check=False, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 7, done.stderr
    print(f"{wheel.name}: installs alone, instruments, runs a program")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))

"""What waits for a module runs right after its import, whenever it began to wait; and imports nothing before."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from otel_llm_bridge.importing import when_imported

_NAME = "waited_for"

#: It is half done while `tests` holds it.
_BODY = """
import tests.spine.test_importing as test
first = 1
test.control.halfway()
last = 2
"""

#: What the module's own code calls while it is being imported.
control = SimpleNamespace(halfway=lambda: None)


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A module that can be imported, and whose ``last`` is noted each time its import is told of."""
    (tmp_path / f"{_NAME}.py").write_text(_BODY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(control, "halfway", lambda: None)
    yield []
    sys.modules.pop(_NAME, None)


def _note(seen: list[Any]) -> None:
    seen.append(getattr(sys.modules[_NAME], "last", "half"))


def test_loaded_already(seen: list[Any]) -> None:
    """A module that is loaded is told of at once."""
    importlib.import_module(_NAME)
    when_imported(_NAME, lambda: _note(seen))
    assert seen == [2]


def test_loaded_later(seen: list[Any]) -> None:
    """All that wait are told once, in their order, when all of the module is there."""
    when_imported(_NAME, lambda: seen.append("first"))
    when_imported(_NAME, lambda: _note(seen))
    assert importlib.util.find_spec(_NAME) is not None  # who only asks whether it is there imports nothing
    assert seen == []
    importlib.import_module(_NAME)
    assert seen == ["first", 2]
    assert sys.modules[_NAME].__loader__ is sys.modules[_NAME].__spec__.loader  # type: ignore[union-attr]


def test_its_own_code_begins_to_wait(seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins to wait in the middle of the import, from the module's own code, is told at its end."""

    def wait() -> None:
        when_imported(_NAME, lambda: seen.append("first"))
        when_imported(_NAME, lambda: _note(seen))

    monkeypatch.setattr(control, "halfway", wait)
    importlib.import_module(_NAME)
    assert seen == ["first", 2]
    assert type(sys.modules[_NAME].__spec__) is importlib.machinery.ModuleSpec


def test_another_thread_imports_it(seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins to wait while another thread imports the module does not block, and is told at its end."""
    half, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        half.set()
        assert go_on.wait(10)

    monkeypatch.setattr(control, "halfway", hold)
    thread = threading.Thread(target=importlib.import_module, args=(_NAME,))
    thread.start()
    assert half.wait(10)
    when_imported(_NAME, lambda: _note(seen))
    assert seen == []
    go_on.set()
    thread.join(10)
    assert seen == [2]


def test_an_import_that_fails(seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails is not told of; the next one, which does not, is."""

    def fail() -> None:
        when_imported(_NAME, lambda: _note(seen))
        raise OSError

    monkeypatch.setattr(control, "halfway", fail)
    with pytest.raises(OSError):  # noqa: PT011 - the very one from above
        importlib.import_module(_NAME)
    assert seen == []
    monkeypatch.setattr(control, "halfway", lambda: None)
    importlib.import_module(_NAME)
    assert seen == [2]


_IN_THE_MIDDLE = """
import sys, threading
import otel_llm_bridge

asked = []
def see(event, arguments):
    # Somebody instruments in the middle of the import, in this thread or beside it.
    if event == "import" and arguments[0] == "litellm.main" and not asked:
        asked.append(sys.modules["litellm"].__spec__._initializing)
        if "thread" in sys.argv:
            thread = threading.Thread(target=otel_llm_bridge.instrument)
            thread.start()
            thread.join()
        else:
            otel_llm_bridge.instrument()

sys.addaudithook(see)
import litellm
from otel_llm_bridge.patching import is_patched
assert asked == [True]
assert is_patched(litellm.completion) and is_patched(litellm.main.acompletion)
"""


@pytest.mark.parametrize("where", ["thread", "here"])
def test_instrumented_in_the_middle_of_the_import_of_litellm(where: str) -> None:
    """To instrument while LiteLLM is being imported neither disturbs the import nor misses it."""
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", _IN_THE_MIDDLE, where], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""The script that builds the programs: once, whole or not at all, and plain about why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from .programs import build_stack, unavailable

COMMAND = build_stack.Program("made", (("cp", "{src}/collector/builder.yaml", "{out}/made"),), ("collector/builder.yaml",))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a program that takes no time to build."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build_stack, "_go", lambda *_: "go")
    monkeypatch.setitem(build_stack.PROGRAMS, "made", COMMAND)
    return tmp_path / "otel-llm-bridge"


def test_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is in the cache is not built again, and needs no Go."""
    first = build_stack.build("made")
    assert first.read_text()
    monkeypatch.setattr(build_stack, "_run", lambda *_: pytest.fail("built again"))
    monkeypatch.setattr(build_stack, "_go", lambda *_: pytest.fail("asked for Go"))
    assert build_stack.build("made") == first


def test_changed_pin_is_another_build(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder follows the commands and the contents of the files that they read."""
    before = build_stack.folder_of("made")
    manifest = tmp_path / "collector" / "builder.yaml"
    manifest.parent.mkdir()
    manifest.write_text("another")
    monkeypatch.setattr(build_stack, "HERE", tmp_path)
    assert build_stack.folder_of("made") != before


def test_failed_build_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails says what failed, and leaves no half of a program."""
    monkeypatch.setitem(build_stack.PROGRAMS, "made", build_stack.Program("made", (("cp", "no-such-file", "{out}/made"),)))
    with pytest.raises(build_stack.CannotBuild, match="no-such-file"):
        build_stack.build("made")
    assert [path.name for path in cache.iterdir()] == ["made.lock"]


def test_without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Go, and without a cache, the command says so and fails."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_stack.main(["compose"]) == 1
    assert "compose: no `go` on the PATH" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "outcome"), [("", pytest.skip.Exception), ("required", pytest.fail.Exception)])
def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, value: str, outcome: type[BaseException]) -> None:
    """A part of the stack that is missing skips its tests, and fails them where the stack is required."""
    monkeypatch.setenv("OTEL_LLM_BRIDGE_STACK", value)
    with pytest.raises(outcome, match="no such program"):
        unavailable("no such program")

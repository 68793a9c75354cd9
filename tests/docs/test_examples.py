"""Every example of the manual is run, or checked as far as it can be without docker and without the vendors."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import opentelemetry.sdk.environment_variables as standard
import pytest
import yaml

from otel_llm_bridge import cli
from otel_llm_bridge.commands import otel_env
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer.receiver import Receiver

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Pages whose programs have tests of their own, with more around them.
ELSEWHERE = {"callbacks.md": "tests/callbacks/test_recipes.py", "frameworks.md": "tests/frameworks"}
_FENCE = re.compile(r"^(#+) ([^\n]+)$|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


#: Seconds after which a program counts as hanging: on two cores beside four busy processes two of them took 220 together.
_HANGS = 600


class Example(NamedTuple):
    """One fenced block."""

    page: str
    title: str
    language: str
    text: str


def examples(*languages: str) -> list[Any]:
    """The blocks of those languages, as parameters."""
    found, count = [], 0
    for page in PAGES:
        title = page.name
        for match in _FENCE.finditer(page.read_text("utf-8")):
            if match[2]:
                title = match[2]
            elif match[3] in languages:
                count += 1
                example = Example(page.name, title, match[3], match[4])
                found.append(pytest.param(example, id=f"{page.stem}: {title} {count}"))
    return found


#: A command in the middle of a sentence.
_INLINE = re.compile(r"(?<!`)`((?:otel-llm-bridge|make|python) [^`\n…]+)`")
LANGUAGES = {"python", "console", "bash", "yaml", "dockerfile", "text"}


def test_languages() -> None:
    """Every block says what it is in a word that a test here knows, or is a picture and says nothing."""
    seen = {match[3] for page in PAGES for match in _FENCE.finditer(page.read_text("utf-8")) if match[3]}
    assert seen - LANGUAGES == set()


def test_pages_with_tests_of_their_own() -> None:
    """What is not run here is run there."""
    for page, where in ELSEWHERE.items():
        path = ROOT / where
        files = path.rglob("*.py") if path.is_dir() else [path]
        assert any(page.removesuffix(".md") in file.read_text("utf-8") for file in files), page


def _environment(provider: FakeProvider, receiver: Receiver) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OPENAI_API_BASE": f"{provider.url}/v1", "OPENAI_API_KEY": "sk-test", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }  # fmt: skip


@pytest.mark.parametrize("example", [row for row in examples("python") if row.values[0].page not in ELSEWHERE])
def test_python(example: Example, provider: FakeProvider, tmp_path: Path) -> None:
    """The program ends well and warns of nothing; one with tests in it is run by pytest."""
    program = tmp_path / "test_example.py"
    program.write_text(example.text, "utf-8")
    has_tests = "def test_" in example.text
    command = [sys.executable, *(("-m", "pytest", "-q", "-p", "no:cacheprovider") if has_tests else ("-W", "error::UserWarning:__main__")), str(program)]
    with Receiver() as receiver:
        done = subprocess.run(command, cwd=tmp_path, env=_environment(provider, receiver), capture_output=True, text=True, timeout=_HANGS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "internal fault" not in done.stderr
        calls_litellm = "litellm.completion(" in example.text and "tracer_provider" not in example.text and not has_tests
        if calls_litellm:
            spans = [span.name for trace in receiver.store.traces() for span in trace.spans]
            assert "chat gpt-4o-mini" in spans, done.stderr


def _commands() -> Iterator[Any]:
    for row in examples("console"):
        for line in row.values[0].text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield pytest.param(line[2:].partition("  #")[0], id=f"{row.id}: {line[2:50]}")
    for page in PAGES:
        for line in _INLINE.findall(_FENCE.sub("", page.read_text("utf-8"))):
            yield pytest.param(line, id=f"{page.stem}: {line[:50]}")


@pytest.mark.parametrize("line", list(_commands()))
def test_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line is one that is accepted: subcommands and options, targets of make, files, extras."""
    words = shlex.split(line)
    while "=" in words[0] and words[0].partition("=")[0].isupper():
        del words[0]
    check = _KINDS[words[0]]
    check(words[1:], monkeypatch)


def _our_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"otel_llm_bridge.commands.{words[0]}")
    seen: list[Any] = []
    monkeypatch.setattr(module, "main", lambda arguments: seen.append(arguments) or 0)
    assert cli.main(words) == 0
    assert seen


def _make(words: list[str], _: pytest.MonkeyPatch) -> None:
    targets = (ROOT / "Makefile").read_text("utf-8")
    for word in words:
        assert "=" in word or re.search(rf"^(?:[\w-]+ )*{re.escape(word)}(?: [\w-]+)*:", targets, re.MULTILINE), word


def _pip(words: list[str], _: pytest.MonkeyPatch) -> None:
    assert words[0] == "install"
    extras = (ROOT / "pyproject.toml").read_text("utf-8")
    for extra in re.findall(r"otel-llm-bridge\[(\w+)\]", " ".join(words)):
        assert re.search(rf"^{extra} = \[", extras, re.MULTILINE)


def _launcher(words: list[str], _: pytest.MonkeyPatch) -> None:
    # Options of the program are taken for the launcher's own, unless there is a "--".
    program = next(index for index, word in enumerate(words) if not word.startswith("-") or word == "--")
    own = words[program + 1 :] if words[program] != "--" else []
    assert not [word for word in own if word.startswith("--")]


def _python(words: list[str], _: pytest.MonkeyPatch) -> None:
    if words[0] == "-m":
        path = ROOT / words.pop(1).replace(".", "/")
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    else:
        file = ROOT / words[0]
    source = file.read_text("utf-8")
    assert [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in source] == []


def _anything(_words: list[str], _: pytest.MonkeyPatch) -> None:
    """Programs of others."""


_KINDS: dict[str, Any] = {
    "otel-llm-bridge": _our_command, "make": _make, "pip": _pip, "opentelemetry-instrument": _launcher, "python": _python,
    ".ci/run": lambda *_: None, "litellm": _anything, "docker": _anything,
}  # fmt: skip

_STANDARD = {value for name, value in vars(standard).items() if name.startswith("OTEL_")} | {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER",
    # The last one is of opentelemetry-util-genai.
    "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK", "OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH",
}  # fmt: skip


@pytest.mark.parametrize("example", examples("bash"))
def test_variables(example: Example) -> None:
    """The OpenTelemetry variables of a block exist, and the bridge accepts their values."""
    variables = dict(re.findall(r"^(?:export )?(OTEL_\w+)=(\S*)$", example.text, re.MULTILINE))
    assert {name for name in variables if not name.startswith("OTEL_LLM_BRIDGE_")} - _STANDARD == set()
    assert otel_env.problems(variables) == []


@pytest.mark.parametrize("example", examples("yaml"))
def test_yaml(example: Example) -> None:
    """The block is YAML."""
    assert yaml.safe_load(example.text)


def test_reference_is_fresh() -> None:
    """The tables of the manual are what the code says; if not: python docs/generate.py."""
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [path for path in PAGES if path.parent == ROOT], ids=lambda path: path.name)
def test_links(page: Path) -> None:
    """Relative links of pages outside the manual lead somewhere; Sphinx checks the others."""
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (ROOT / link).exists(), link

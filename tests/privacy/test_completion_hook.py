"""GenAI completion hooks by the name of their entry point: one of a user's own, and the upload hook of OpenTelemetry's GenAI utilities."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from tests.environments import python_with

pytestmark = pytest.mark.slow

SAID: Final = "Write to ada@example.org"
CALLS: Final = 4
#: Calls a chat, tells what went wrong, and ends as it is told to.
PROGRAM: Final = f"""
import os, signal, sys
import otel_llm_bridge, litellm
otel_llm_bridge.instrument()
tool = {{"type": "function", "function": {{"name": "find", "description": "finds", "parameters": {{"type": "object"}}}}}}
for _ in range({CALLS}):
    litellm.completion(
        model="openai/gpt-4o-mini", api_base=os.environ["PROVIDER"], api_key="sk-test-0123456789", max_retries=0, tools=[tool],
        messages=[{{"role": "system", "content": "Be brief."}}, {{"role": "user", "content": "{SAID}"}}],
    )
if sys.argv[1:] == ["SIGTERM"]:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""

#: What a user installs: a hook that writes down what it is given, and when it is closed.
HOOK: Final = """
import json, os

class Hook:
    def on_completion(self, *, inputs, outputs, system_instruction, tool_definitions=None, span=None, log_record=None):
        said = [[message.role, message.parts[0].content] for message in inputs]
        answered = [part.type for message in outputs for part in message.parts]
        self._write({"said": said, "answered": answered, "tools": len(tool_definitions), "span": span is not None, "record": log_record is not None})

    def shutdown(self, *, timeout_sec=10.0):
        self._write({"closed": timeout_sec > 0})

    def _write(self, what):
        with open(os.environ["WRITTEN"], "a") as file:
            file.write(json.dumps(what) + "\\n")

def broken():
    raise RuntimeError("cannot be made")
"""


def run(python: str, provider: FakeProvider, receiver: Receiver, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a child that exports to ``receiver``."""
    return subprocess.run(
        [python, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=170, check=False,
        env={
            **os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PROVIDER": provider.api_base, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_METRICS_EXPORTER": "none", **environment,
        },
    )  # fmt: skip


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """A package with two entry points, found as pip would leave it; the variables that a child finds it by."""
    (tmp_path / "archive.py").write_text(HOOK)
    info = tmp_path / "archive-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: archive\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[opentelemetry_genai_completion_hook]\narchive = archive:Hook\nbroken = archive:broken\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "WRITTEN": str(tmp_path / "written")}


def written(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the hook has written down."""
    return [json.loads(line) for line in Path(variables["WRITTEN"]).read_text().splitlines()]


@pytest.mark.parametrize(("mode", "on_event"), [("NO_CONTENT", False), ("SPAN_AND_EVENT", True)])
def test_a_hook_by_its_entry_point(mode: str, on_event: bool, provider: FakeProvider, installed: dict[str, str]) -> None:
    """It is given every conversation, redacted, with the span and, where there is one, the record of the event."""
    with Receiver() as receiver:
        done = run(
            sys.executable, provider, receiver, **installed, OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK="archive",
            OTEL_LLM_BRIDGE_REDACTOR="emails", OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=mode,
        )  # fmt: skip
        assert done.returncode == 0 and "otel_llm_bridge" not in done.stderr
        assert len(receiver.store.spans()) == CALLS
    *calls, closed = written(installed)
    assert closed == {"closed": True}
    assert len(calls) == CALLS
    for call in calls:
        assert (call["said"], call["answered"], call["tools"]) == ([["system", "Be brief."], ["user", "Write to [e-mail]"]], ["tool_call"], 1)
        assert (call["span"], call["record"]) == (True, on_event)


def test_a_hook_is_closed_on_sigterm(provider: FakeProvider, installed: dict[str, str]) -> None:
    """What a hook still has to do it can do when the process is told to end."""
    with Receiver() as receiver:
        done = run(sys.executable, provider, receiver, "SIGTERM", **installed, OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK="archive")
    assert done.returncode == -signal.SIGTERM
    assert written(installed)[-1] == {"closed": True}


@pytest.mark.parametrize(("name", "warning"), [("nobody", "there is no completion hook 'nobody'"), ("broken", "cannot be made (RuntimeError: cannot be made)")])
def test_a_hook_that_cannot_be_had(name: str, warning: str, provider: FakeProvider, installed: dict[str, str]) -> None:
    """Without its hook the program runs as before, after one warning; nothing is captured instead."""
    with Receiver() as receiver:
        done = run(sys.executable, provider, receiver, **installed, OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK=name)
        assert len(receiver.store.spans()) == CALLS
    assert done.returncode == 0
    assert done.stderr.count(warning) == 1


@pytest.mark.parametrize(("form", "end"), [("json", "exit"), ("jsonl", "SIGTERM")])
def test_upload(form: str, end: str, provider: FakeProvider, tmp_path: Path) -> None:
    """The upload hook of opentelemetry-util-genai: each conversation is a set of files that the span refers to, nothing of it is on the span."""
    python = python_with("neighbours", "opentelemetry.util.genai", "fsspec", "litellm", "otel_llm_bridge")
    folder = tmp_path / "uploads"
    folder.mkdir()
    with Receiver() as receiver:
        done = run(
            python, provider, receiver, end, OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK="upload", OTEL_LLM_BRIDGE_REDACTOR="emails",
            OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH=folder.as_uri(), OTEL_INSTRUMENTATION_GENAI_UPLOAD_FORMAT=form,
        )  # fmt: skip
        assert done.returncode == (0 if end == "exit" else -signal.SIGTERM), done.stderr
        spans = receiver.store.spans()
        exported = b"".join(request.body for request in receiver.requests)
    assert len(spans) == CALLS
    names = {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions"}
    for span in spans:
        references = {name.removesuffix("_ref"): value for name, value in span.attributes.items() if name.endswith("_ref")}
        # A system message among the messages stays there; instructions apart are those of the APIs that have them apart.
        assert references.keys() == names - {"gen_ai.system_instructions"}
        texts = {name: Path(urlparse(str(value)).path).read_text() for name, value in references.items()}
        read = {name: json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}
        assert [(message["role"], message["parts"][0]["content"]) for message in read["gen_ai.input.messages"]] == [
            ("system", "Be brief."), ("user", "Write to [e-mail]"),
        ]  # fmt: skip
        assert read["gen_ai.output.messages"][0]["finish_reason"] and read["gen_ai.output.messages"][0]["parts"]
        assert [tool["name"] for tool in read["gen_ai.tool.definitions"]] == ["find"]
        assert not names & span.attributes.keys()
    assert b"Write to" not in exported

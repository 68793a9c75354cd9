"""A secret on every path: nothing of it leaves the process by default, and keys leave it in no mode."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import terminal
from otel_llm_bridge.viewer.receiver import Receiver

from .canary_program import CANARY, KEY, PLAIN_KEY

#: How many paths the program has; it says of each how it came out.
PATHS: Final = 25


def run(provider: FakeProvider, endpoint: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a child that exports to ``endpoint``."""
    return subprocess.run(
        [sys.executable, "-m", "tests.privacy.canary_program"],
        capture_output=True, text=True, timeout=170, check=False,
        env={
            **os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PROVIDER": provider.url, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION": "none", **environment,
        },
    )  # fmt: skip


def exported(receiver: Receiver) -> bytes:
    """Every byte that came in, and how the viewer shows it."""
    shown = io.StringIO()
    terminal.show(receiver.store, shown)
    kept = repr([*receiver.store.spans(), *receiver.store.logs(), *receiver.store.metrics()])
    raw = b"".join(request.body + repr(request.headers).encode() for request in receiver.requests)
    return raw + shown.getvalue().encode() + kept.encode()


def check_run(done: subprocess.CompletedProcess[str]) -> None:
    """All paths were taken, and both ways out of a call among them."""
    lines = [line for line in done.stdout.splitlines() if ": " in line and line.rsplit(": ", 1)[1].isalnum()]
    assert done.returncode == 0 and len(lines) >= PATHS, (done.stdout[-2000:], done.stderr[-2000:])
    assert sum(line.endswith("answered") for line in lines) >= 15
    assert sum(line.endswith("Error") for line in lines) >= 4


@pytest.fixture(scope="module")
def by_default(provider: FakeProvider) -> tuple[subprocess.CompletedProcess[str], bytes]:
    """The program with the defaults: what it printed, and what was exported."""
    with Receiver() as receiver:
        done = run(provider, receiver.http_endpoint)
        return done, exported(receiver)


def test_nothing_by_default(by_default: tuple[subprocess.CompletedProcess[str], bytes]) -> None:
    """With the defaults the canary and the keys are in no exported byte, on none of the paths."""
    done, everything = by_default
    check_run(done)
    assert everything.count(b"gpt-4o-mini") >= PATHS, "the spans themselves are there"
    for secret in (CANARY, KEY, PLAIN_KEY):
        assert everything.count(secret.encode()) == 0


def test_nothing_is_printed(by_default: tuple[subprocess.CompletedProcess[str], bytes]) -> None:
    """The child's stdout and stderr say nothing of it either; LiteLLM's own log is off."""
    done, _ = by_default
    for secret in (CANARY, KEY, PLAIN_KEY):
        assert secret not in done.stdout + done.stderr


def test_nothing_in_the_spool(provider: FakeProvider, tmp_path: Path) -> None:
    """Spans that wait on disk for a receiver that is not there hold nothing of it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = run(
        provider, f"http://127.0.0.1:{port}", OTEL_LLM_BRIDGE_SPOOL_DIR=str(tmp_path / "spool"), OTEL_LLM_BRIDGE_EXIT_TIMEOUT="2"
    )  # fmt: skip
    check_run(done)
    files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert files.count(b"gpt-4o-mini") >= PATHS, "the spans are in the spool"
    for secret in (CANARY, KEY, PLAIN_KEY):
        assert files.count(secret.encode()) == 0


def test_keys_in_no_mode(provider: FakeProvider) -> None:
    """With all content on, the canary is on spans and on events; the keys are nowhere."""
    with Receiver() as receiver:
        done = run(provider, receiver.http_endpoint, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_AND_EVENT")
        check_run(done)
        everything = exported(receiver)
        spans, logs = receiver.store.spans(), receiver.store.logs()
    assert sum(CANARY in repr(span) for span in spans) >= 20
    assert sum(CANARY in repr(record) for record in logs) >= 20
    for key in (KEY, PLAIN_KEY):
        assert everything.count(key.encode()) == 0
        assert key not in done.stdout + done.stderr

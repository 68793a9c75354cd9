"""Real programs as child processes: free ports, waiting for a condition with a deadline, an end that is sure."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
#: Generous: it bounds a wait that a broken stack would make endless, and says nothing of speed.
DEADLINE: Final = 60.0

_T = TypeVar("_T")


def load(path: Path) -> Any:
    """A script of ``deploy/`` as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


build_stack: Final = load(ROOT / "deploy" / "build_stack.py")


def unavailable(reason: str) -> None:
    """Skip with ``reason``, or fail with it where the stack is required (CI)."""
    if os.environ.get("OTEL_LLM_BRIDGE_STACK", "").strip().lower() == "required":
        pytest.fail(f"the stack is required, but: {reason}")
    pytest.skip(reason)


def program(name: str) -> str:
    """The path of a program that `build_stack` builds, or of one of Debian's."""
    if name in build_stack.PROGRAMS:
        try:
            return str(build_stack.build(name))
        except build_stack.CannotBuild as reason:
            unavailable(f"{name} cannot be built: {reason}")
    if found := shutil.which(name):
        return found
    unavailable(f"no `{name}` on the PATH")
    raise AssertionError


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that the system hands out: nobody is given it by chance while a
    program of ours is being started again."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def get(url: str, **query: str | int) -> Any:
    """The JSON that ``url`` answers; None while it cannot be reached or answers with an error."""
    if query:
        url += "?" + urllib.parse.urlencode(query)
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            body = response.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def until(condition: Callable[[], _T], what: str, deadline: float = DEADLINE) -> _T:
    """What ``condition`` returns as soon as it is true; fails when the deadline passes."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        threading.Event().wait(0.05)  # between two looks
    return value


class Program:
    """A child process whose output goes to a file. A context manager: it is killed if it has not ended by itself.

    Args:
        command: what is run, in the repository's root.
        log: the file that its output is added to.
        environ: variables beside those of this process.
    """

    def __init__(self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.command, self.log, self.environ = list(command), log, dict(environ or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Program:
        """Start it, for the first time or again."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ, **self.environ}
            )
        return self

    def wait_until(self, condition: Callable[[], _T], what: str, deadline: float = DEADLINE) -> _T:
        """What ``condition`` returns as soon as it is true; fails when the process ends or the deadline passes."""
        def look() -> _T:
            assert self.process is not None
            code = self.process.poll()
            assert code is None, f"{self.command[0]} ended with {code} before {what}:\n{self.tail()}"
            return condition()

        try:
            return until(look, what, deadline)
        except AssertionError:
            print(self.tail())
            raise

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def tail(self, lines: int = 30) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Program:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)

"""Programs that the tests start, and what they tell about themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from otel_llm_bridge.viewer.receiver import Receiver
from otel_llm_bridge.viewer.signals import Signal

_NEVER = threading.Event()
#: Seconds beyond a budget that no test is to exceed: half a second as promised, and what a loaded machine takes to notice.
#: What it takes on a quiet one is printed by `exits`.
SLACK = 0.5 + 2.5
ROOT = Path(__file__).resolve().parents[2]

#: The beginning of each program: our pipeline, or the plain SDK as the control, behind the same few names.
#: ``span(i)`` makes one span and, once its ``end()`` has returned, writes its number down where it outlives
#: any crash: that file is what the receiver's spans are compared with.
PREAMBLE = '''
import json, os, signal, sys, threading, time
KIND = os.environ["KIND"]
if KIND == "bridge":
    from otel_llm_bridge.export import lifetime, pipeline
    from otel_llm_bridge.settings import Settings
    settings = Settings.resolve()
    lifetime.install(settings)
    line = pipeline.build(settings)
    provider = line.tracer_provider
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider and provider.get_tracer("otel_llm_bridge.tests")
ended = os.open(os.environ["ENDED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def span(number, **attributes):
    with tracer.start_as_current_span("work", attributes={"number": number, "pid": os.getpid(), **attributes}) as made:
        key = format(made.get_span_context().span_id, "016x")
    os.write(ended, (key + "\\n").encode())
def say(word):
    print(word, flush=True)
def figures():
    say(json.dumps(line.report().as_dict()))
'''


@dataclasses.dataclass
class Ended:
    """A program that is over."""

    status: int
    output: str
    errors: str
    #: Span ids whose ``end()`` returned.
    ended: list[str]
    #: Seconds from the moment that ``stopwatch`` was started (or from the start) to the end.
    seconds: float

    @property
    def figures(self) -> dict[str, Any]:
        """What the program's own ledger said last."""
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        figures: dict[str, Any] = json.loads(lines[-1])
        return figures


class Program:
    """A program in a subprocess. ``with Program(...) as program`` makes sure that it is not left behind."""

    def __init__(
        self,
        body: str,
        folder: Path,
        receiver: Receiver | None = None,
        kind: str = "bridge",
        environ: Mapping[str, str] | None = None,
        protocol: str = "http/protobuf",
        preamble: str = PREAMBLE,
        command: list[str] | None = None,
    ) -> None:
        self.ended_file = folder / f"ended-{time.monotonic_ns()}"
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
            "KIND": kind,
            "ENDED": str(self.ended_file),
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            **(endpoint_of(receiver, protocol) if receiver is not None else {}),
            **(environ or {}),
        }
        self._out, self._err = open(folder / "out", "w+"), open(folder / "err", "w+")
        script = folder / f"program_{time.monotonic_ns()}.py"
        script.write_text(preamble + textwrap.dedent(body))
        self.script = script
        self.process = subprocess.Popen(
            command or [sys.executable, str(script)], env=self.environ, stdout=self._out, stderr=self._err, cwd=folder
        )
        self._started = time.monotonic()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._out.close()
        self._err.close()

    def output(self) -> str:
        """What the program has written so far."""
        self._out.flush()
        return Path(self._out.name).read_text()

    def errors(self) -> str:
        """What it has written to stderr."""
        return Path(self._err.name).read_text()

    def wait_for(self, word: str, timeout: float = 30.0) -> Program:
        """Wait until the program has written ``word``."""
        until(lambda: word in self.output() or self.process.poll() is not None, timeout, f"{word!r}")
        if word not in self.output():
            raise AssertionError(f"ended with {self.process.returncode} before {word!r}: {self.errors()}")
        return self

    def send(self, number: int) -> Program:
        """Send a signal, and start the stopwatch."""
        self._started = time.monotonic()
        self.process.send_signal(number)
        return self

    def stopwatch(self) -> Program:
        """Measure from now on."""
        self._started = time.monotonic()
        return self

    def wait(self, timeout: float = 60.0) -> Ended:
        """Wait for its end."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            # Ends it with the stacks of all its threads on stderr.
            self.process.send_signal(signal.SIGABRT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            raise AssertionError(f"still running after {timeout} s: {self.output()}\n{self.errors()}") from None
        seconds = time.monotonic() - self._started
        lines = self.ended_file.read_text().split() if self.ended_file.exists() else []
        return Ended(status, self.output(), self.errors(), lines, seconds)


def run(body: str, folder: Path, receiver: Receiver | None = None, timeout: float = 60.0, **options: Any) -> Ended:
    """Run a program to its end."""
    with Program(body, folder, receiver, **options) as program:
        return program.wait(timeout)


def endpoint_of(receiver: Receiver, protocol: str) -> dict[str, str]:
    """The variables that point a program to ``receiver``."""
    url = receiver.grpc_endpoint if protocol == "grpc" else receiver.http_endpoint
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def received(receiver: Receiver) -> list[str]:
    """Span ids at the receiver, with duplicates."""
    return [span.span_id for span in receiver.store.spans()]


def missing(ended: list[str], receiver: Receiver) -> set[str]:
    """Ids of spans that ended and never arrived."""
    return set(ended) - set(received(receiver))


class SpanIds:
    """A listener of the receiver's that counts ids, however many: its store is bounded, which is right for a viewer."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()

    def __call__(self, kind: Signal, message: Any) -> None:
        self.counts.update(span.span_id for part in message.resource_spans for scope in part.scope_spans for span in scope.spans)

    @property
    def known(self) -> set[str]:
        """All ids, as the programs write them."""
        return {key.hex() for key in self.counts}

    @property
    def duplicates(self) -> int:
        """Spans that came again."""
        return self.counts.total() - len(self.counts)


def until(condition: Callable[[], object], timeout: float = 20.0, what: str = "the condition") -> None:
    """Wait for a condition outside this process, by looking again and again.

    Raises:
        AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout:g} s")
        # Between two looks, not instead of them: the loop ends with the condition.
        _NEVER.wait(0.005)

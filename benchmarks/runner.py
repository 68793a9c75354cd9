"""Runs all variants side by side: one process each, block by block in turn, so that all see the same machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from .scenarios import CALLEES
from .variants import VARIANTS, Variant

ROOT: Final = Path(__file__).resolve().parents[1]
ENVIRONMENTS: Final = ROOT / ".venv-bench"
_ANSWER: Final = 240.0

Say = Callable[[str], None]


class Failed(Exception):
    """A variant cannot be measured; the text says why."""


def environment(variant: Variant, say: Say) -> Path:
    """The Python of the variant's environment, which is made first where it is not there.

    Raises:
        Failed: pip cannot resolve it.
    """
    if not variant.packages:
        return Path(sys.executable)
    folder = ENVIRONMENTS / variant.environment
    python, stamp, refused = folder / "bin" / "python", folder / ".made", folder / ".refused"
    wanted = [f"litellm=={importlib.metadata.version('litellm')}", "opentelemetry-exporter-otlp-proto-http", *variant.packages]
    if refused.exists():  # pip looks for minutes before it gives up; delete the folder to try again
        raise Failed(refused.read_text(encoding="utf-8"))
    if not stamp.exists():
        say(f"making an environment for {variant.environment}")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        done = subprocess.run(pip, check=False, capture_output=True, text=True, timeout=900)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            refused.write_text(f"pip finds no version for {wanted[0]}: {last}"[:200], encoding="utf-8")
            raise Failed(refused.read_text(encoding="utf-8"))
        stamp.touch()
    return python


def _environ(port: int, slot: str) -> dict[str, str]:
    """Of a process that exports to the receiver at ``port``."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}/{slot}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        # A block ends more spans than the stock queue holds.
        "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
    }


class Worker:
    """The process of one variant.

    Raises:
        Failed: it cannot be started.
    """

    def __init__(self, name: str, callee: str, port: int, say: Say) -> None:
        variant = VARIANTS[name]
        self.name, self.callee, self.slot = name, callee, name.replace(" ", "-").replace(",", "").replace("+", "with")
        environ = {**_environ(port, self.slot), **variant.environ}
        # A file: nobody reads a pipe while the worker works, and a full one would stop it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [str(environment(variant, say)), "-m", "benchmarks.worker", name, callee],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environ, cwd=ROOT,
        )  # fmt: skip
        self._rest = b""

    def read(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            Failed: there is none, or it says that the block failed.
        """
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER)
            got = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not got:
                self.close()
                raise Failed(self._last_words() if ready else f"no answer in {_ANSWER:g} s; {self._last_words()}")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed("it has ended") from error
        return self.read()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """The receiver; gives its port."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def recorded(port: int, slot: str) -> dict[str, int]:
    """What the last batch of a variant says of one call: its largest span."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{slot}/v1/traces", timeout=10) as answer:
        request = ExportTraceServiceRequest.FromString(answer.read())
    spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    largest = max(spans, key=lambda span: len(span.attributes), default=None)
    return {} if largest is None else {"attributes": len(largest.attributes), "events": len(largest.events)}


def measure(callee: str, names: list[str], rounds: int, say: Say, scenarios: list[str] | None = None, scale: float = 1.0) -> dict[str, Any]:
    """All scenarios of one callee, for all variants.

    Args:
        callee: a name in `scenarios.CALLEES`.
        names: of the variants.
        rounds: blocks of each variant and scenario, after one that is not counted.
        say: is told how it goes on.
        scenarios: only these.

    Returns:
        ``samples[scenario][variant]``, a list of figures a call in seconds; ``failed[variant]``, why;
        ``recorded[variant]``.
    """
    failed: dict[str, str] = {}
    samples: dict[str, dict[str, list[dict[str, float]]]] = {}
    told: dict[str, dict[str, int]] = {}
    workers: list[Worker] = []
    with sink() as port:
        for name in names:
            try:
                if callee in VARIANTS[name].callees:
                    workers.append(Worker(name, callee, port, say))
            except Failed as error:
                failed[name] = str(error)
        try:
            for worker in list(workers):
                try:
                    worker.read()
                except Failed as error:
                    failed[worker.name] = str(error)
                    workers.remove(worker)
            for scenario in scenarios or CALLEES[callee]:
                say(f"{callee}: {scenario}")
                samples[scenario] = _scenario(callee, scenario, workers, rounds, failed)
                if scenario in ("mock, sync", "wrapper"):
                    for worker in workers:
                        told[worker.name] = recorded(port, worker.slot)
        finally:
            for worker in workers:
                worker.close()
    return {"samples": samples, "failed": failed, "recorded": told}


def _scenario(callee: str, scenario: str, workers: list[Worker], rounds: int, failed: dict[str, str]) -> dict[str, list[dict[str, float]]]:
    calls = CALLEES[callee][scenario].calls
    found: dict[str, list[dict[str, float]]] = {worker.name: [] for worker in workers}
    broken: set[str] = set()
    for number in range(rounds + 1):
        # Every other round backwards: nobody always comes after the same one.
        for worker in workers if number % 2 else reversed(workers):
            if worker.name in broken:
                continue
            try:
                answer = worker.ask(scenario=scenario)
            except Failed as error:
                broken.add(worker.name)
                failed.setdefault(f"{worker.name}: {scenario}", str(error))
                continue
            if number:  # the first block warms up
                found[worker.name].append({name: value / calls for name, value in answer.items()})
    return {name: values for name, values in found.items() if name not in broken}


def added(samples: dict[str, list[dict[str, float]]], name: str, figure: str = "cpu") -> float | None:
    """What a variant adds to a call without instrumentation, in µs: the median over the rounds."""
    if not samples.get(name) or not samples.get("none"):
        return None
    return statistics.median(added_in_rounds(samples, name, figure))


def added_in_rounds(samples: dict[str, list[dict[str, float]]], name: str, figure: str = "cpu") -> list[float]:
    """The same for each round."""
    return [1e6 * (mine[figure] - none[figure]) for mine, none in zip(samples[name], samples["none"], strict=True)]


def resident(names: list[str], calls: int, say: Say) -> dict[str, float]:
    """What resident memory grows by over ``calls`` mock calls, in MB, after a warm-up of a tenth of them."""
    grown: dict[str, float] = {}
    with sink() as port:
        for name in names:
            say(f"memory: {name}")
            try:
                worker = Worker(name, "litellm", port, say)
                worker.read()
                block = CALLEES["litellm"]["mock, sync"].calls
                for number in range(calls // block + calls // block // 10):
                    if number == calls // block // 10:
                        before = worker.ask(resident=True)["resident"]
                    worker.ask(scenario="mock, sync")
                grown[name] = (worker.ask(resident=True)["resident"] - before) / 1e6
            except Failed:
                continue
            finally:
                worker.close()
    return grown


def latency(processes: int, rounds: int, say: Say) -> dict[str, dict[str, float]]:
    """What a mock call takes longer by hand and with the bridge, as a part of one without anything (`latency`): medians of the processes'."""
    say("latency")
    command = [sys.executable, "-m", "benchmarks.latency", str(rounds)]
    with sink() as port:
        found = [
            json.loads(subprocess.run(command, cwd=ROOT, env=_environ(port, "latency"), check=True, capture_output=True, timeout=600).stdout)
            for _ in range(processes)
        ]
    return {name: {figure: statistics.median(one[name][figure] for one in found) for figure in told} for name, told in found[0].items()}


_IMPORT: Final = """
import time
{before}
began = time.process_time()
import otel_llm_bridge
otel_llm_bridge.instrument()
print((time.process_time() - began) * 1000)
"""
_API: Final = "import opentelemetry.trace, opentelemetry.context"
#: What the program has imported before -> how it did that.
_BEFORE: Final = {
    "with the SDK loaded": f"{_API}, opentelemetry.sdk.trace.export, opentelemetry.sdk.metrics.export, opentelemetry.sdk._logs.export",
    "with the API loaded": _API,
    "in a bare Python": "",
}


def imports(times: int) -> dict[str, float]:
    """CPU of ``import otel_llm_bridge; instrument()`` in milliseconds, in new processes; the median of each kind."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has been compiled

    def once(before: str) -> float:
        code = _IMPORT.format(before=before)
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=60)
        return float(done.stdout)

    rounds = [{kind: once(before) for kind, before in _BEFORE.items()} for _ in range(times + 1)]
    return {kind: statistics.median(found[kind] for found in rounds[1:]) for kind in _BEFORE}  # the first one compiles

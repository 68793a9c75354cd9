"""Processes that share a spool are ended at random while the receiver misbehaves at random.

The test runs a small round. ``python -m tests.export.chaos --processes 160 --seeds 5`` is the whole one.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import signal
import tempfile
import time
from pathlib import Path

from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver
from otel_llm_bridge.viewer.store import Store

from .support import Program, SpanIds, run, until

_BODY = """
import random
random.seed(SEED)
def child():
    [span(i) for i in range(200)]
    random.choice([lambda: os._exit(0), lambda: os.kill(os.getpid(), 9), lambda: sys.exit(0)])()
say("ready")
for i in range(SPANS):
    span(i, text="x" * random.choice([10, 100, 2000]))
    if random.random() < 0.0002 and os.fork() == 0:
        child()
{"return": lambda: None, "_exit": lambda: os._exit(0), "wait": lambda: signal.pause()}[END]()
"""

_FAULTS = (
    Fault.none, Fault.none, Fault.refuse(503), Fault.hang, Fault.reset, Fault.slow(0.05),
    Fault.too_many_requests(retry_after=0.5), Fault.refuse(401), Fault.refuse(404),
)  # fmt: skip
# Not SIGINT: a KeyboardInterrupt that is raised inside a finalizer is swallowed by Python, ours or not.
_SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGHUP)


#: Seconds that a program may take to its end before it is taken for stuck; a busy machine starves it for minutes.
_PATIENCE = 300.0


@dataclasses.dataclass(frozen=True)
class Result:
    """What one round came to."""

    processes: int
    ended: int
    lost: int
    duplicates: int


def chaos(folder: Path, seed: int, processes: int, spans: int, at_once: int = 3) -> Result:
    """One round: ``processes`` programs of up to ``spans`` spans, ``at_once`` at a time."""
    dice = random.Random(seed)
    environ = {
        "OTEL_LLM_BRIDGE_SPOOL_DIR": str(folder / "spool"),
        "OTEL_LLM_BRIDGE_SPOOL_MAX_BYTES": str(8 << 30),
        "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    ended: list[str] = []
    arrived = SpanIds()
    with Receiver(Store(max_traces=10), grpc_port=None, keep_bytes=1, listeners=(arrived,)) as receiver:
        running: list[tuple[Program, float, int | None]] = []
        started = 0
        while started < processes or running:
            receiver.fault = dice.choice(_FAULTS)
            while started < processes and len(running) < at_once:
                started += 1
                place = folder / f"p{started}"
                place.mkdir()
                end = dice.choice(["return", "_exit", "wait", "wait"])
                head = f"SEED, SPANS, END = {dice.random()}, {dice.randint(spans // 4, spans)}, {end!r}\n"
                program = Program(head + _BODY, place, receiver, environ=environ)
                number = dice.choice(_SIGNALS) if end == "wait" else None
                running.append((program, time.monotonic() + dice.uniform(0.3, 3.0), number))
            _step(running, ended)
        receiver.fault = Fault.none
        # The last programs may have left children; a spool that is empty and unlocked is the end.
        spool = folder / "spool" / "traces"
        for _ in range(20):
            run("", folder, receiver, environ={**environ, "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "20"})
            if not list(spool.glob("*.seg")):
                break
    return Result(started, len(ended), len(set(ended) - arrived.known), arrived.duplicates)


def _step(running: list[tuple[Program, float, int | None]], ended: list[str]) -> None:
    """Send the signals that are due, and take in who is over."""
    until(lambda: any(time.monotonic() > due or program.process.poll() is not None for program, due, _ in running), _PATIENCE)
    for entry in list(running):
        program, due, number = entry
        if program.process.poll() is None and time.monotonic() > due:
            if number is not None and "ready" in program.output():
                program.send(number)
                program.wait(_PATIENCE)
            elif number is None:
                program.wait(_PATIENCE)
        if program.process.poll() is not None:
            ended += program.wait(_PATIENCE).ended
            program.__exit__()
            running.remove(entry)


def main() -> None:
    """Run whole rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=160)
    parser.add_argument("--spans", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    # Under nohup it is ignored, which the programs would inherit.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            print(seed, chaos(Path(folder), seed, arguments.processes, arguments.spans), flush=True)


if __name__ == "__main__":
    main()

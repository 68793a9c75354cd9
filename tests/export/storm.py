"""Programs that make spans as fast as they can are ended by SIGTERM at a random moment, with a spool.

The test runs a few. ``python -m tests.export.storm --runs 60`` prints the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import signal
import tempfile
from pathlib import Path

from otel_llm_bridge.viewer.receiver import Receiver
from otel_llm_bridge.viewer.store import Store

from .support import Program, SpanIds, run

_BODY = "say('ready')\nnumber = 0\nwhile True:\n    number += 1\n    span(number)\n    number == LATEST and say('set')\n"
#: The signal comes after so many spans at most.
_LATEST = 2000


@dataclasses.dataclass(frozen=True)
class Result:
    """What a storm came to.

    Attributes:
        ended: spans that ended.
        lost: of these, how many had not arrived after one more start.
        otherwise: programs whose exit status does not say SIGTERM.
        seconds: from the signal to the end of the process, sorted.
    """

    ended: int
    lost: int
    otherwise: int
    seconds: list[float]

    def quantile(self, part: float) -> float:
        """Seconds that this part of the programs did not exceed."""
        return self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * part))]


def storm(folder: Path, seed: int, runs: int) -> Result:
    """``runs`` programs, one after the other, on one spool."""
    dice = random.Random(seed)
    environ = {"OTEL_LLM_BRIDGE_SPOOL_DIR": str(folder / "spool")}
    arrived = SpanIds()
    ended: list[str] = []
    seconds: list[float] = []
    otherwise = 0
    with Receiver(Store(max_traces=10), grpc_port=None, keep_bytes=1, listeners=(arrived,)) as receiver:
        for _ in range(runs):
            head = f"LATEST = {dice.randint(1, _LATEST)}\n"
            with Program(head + _BODY, folder, receiver, environ=environ) as program:
                over = program.wait_for("set").send(signal.SIGTERM).wait()
            ended += over.ended
            seconds.append(over.seconds)
            otherwise += over.status != -signal.SIGTERM
        run("", folder, receiver, environ={**environ, "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "30"})
    return Result(len(ended), len(set(ended) - arrived.known), otherwise, sorted(seconds))


def main() -> None:
    """Run one storm and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = storm(Path(folder), arguments.seed, arguments.runs)
    print(f"{arguments.runs} programs, {result.ended} spans, {result.lost} lost, {result.otherwise} with another exit status")
    print("end after " + ", ".join(f"p{round(part * 100)} {result.quantile(part):.3f} s" for part in (0.5, 0.95, 1)))


if __name__ == "__main__":
    main()

"""Programs are killed at a random moment of their delivery: how many spans does the receiver get twice?

The test runs a few. ``python -m tests.export.kills --kills 100`` prints the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import signal
import tempfile
from pathlib import Path

from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver
from otel_llm_bridge.viewer.store import Store

from .support import Program, SpanIds, run

#: As the SDK's variable has it by default.
BATCH = 512
#: The kill comes when so many requests have come in, at most.
_LATEST = 8
_BODY = "number = 0\nwhile True:\n    number += 1\n    span(number)\n"


@dataclasses.dataclass(frozen=True)
class Result:
    """What the kills came to.

    Attributes:
        ended: spans that ended.
        lost: of these, how many had not arrived after one later process.
        twice: for each kill, how many spans came once more.
    """

    ended: int
    lost: int
    twice: list[int]


def kills(folder: Path, seed: int, count: int) -> Result:
    """``count`` programs, each on a spool of its own that one later process replays."""
    dice = random.Random(seed)
    ended = lost = 0
    twice: list[int] = []
    for number in range(count):
        arrived = SpanIds()
        environ = {"OTEL_LLM_BRIDGE_SPOOL_DIR": str(folder / f"spool{number}")}
        with Receiver(Store(max_traces=10), grpc_port=None, keep_bytes=1, listeners=(arrived,)) as receiver:
            # It takes in what it was sent even when the client is gone: that is what comes twice.
            receiver.fault = Fault.slow(dice.uniform(0, 0.4))
            with Program(_BODY, folder, receiver, environ=environ) as program:
                receiver.wait_for_requests(dice.randint(1, _LATEST), 60)
                over = program.send(signal.SIGKILL).wait()
            receiver.fault = Fault.none
            run("", folder, receiver, environ={**environ, "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "60"})
        ended += len(over.ended)
        lost += len(set(over.ended) - arrived.known)
        twice.append(arrived.duplicates)
    return Result(ended, lost, twice)


def main() -> None:
    """Kill and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = kills(Path(folder), arguments.seed, arguments.kills)
    print(f"{arguments.kills} kills, {result.ended} spans, {result.lost} lost, twice {sum(result.twice)}, at most {max(result.twice)} a kill")


if __name__ == "__main__":
    main()

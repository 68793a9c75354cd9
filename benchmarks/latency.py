"""What a mock call of LiteLLM takes longer: one process makes them without anything, by hand and with the bridge in turn.

``python -m benchmarks.latency ROUNDS``; prints a line of JSON. Processes of their own, as the other figures have them, differ by
more than what is measured here.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

from .hand import Hand
from .scenarios import LITELLM
from .variants import stock
from .worker import own_stdout, wait_for_threads

_SCENARIO: Final = LITELLM["mock, sync"]
#: Before each block: what it switches on is made at its first call.
_WARM: Final = 3


def _block(one: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock, the median of a block's calls, and of CPU in the caller's thread, their mean."""
    for _ in range(_WARM):
        one()
    walls: list[float] = []
    thread = time.thread_time()
    for _ in range(_SCENARIO.calls):
        began = time.perf_counter()
        one()
        walls.append(time.perf_counter() - began)
    thread = time.thread_time() - thread
    wait_for_threads()
    return statistics.median(walls), thread / _SCENARIO.calls


def main() -> None:
    """Measure, and print what is added, as a part of the call without anything: ``{variant: {"wall": …, "thread": …}}``."""
    answers = own_stdout()
    import litellm

    import otel_llm_bridge

    litellm.suppress_debug_info = True
    tracers, meters = stock()  # not the global ones: the bridge is to make its own pipeline
    hand = Hand(tracer=tracers.get_tracer("by hand"), meter=meters.get_meter("by hand"))

    def one() -> None:
        litellm.completion(**_SCENARIO.arguments())

    def none() -> tuple[float, float]:
        return _block(one)

    def by_hand() -> tuple[float, float]:
        return _block(lambda: hand.sync(one, _SCENARIO.messages))

    def ours() -> tuple[float, float]:
        otel_llm_bridge.instrument()
        try:
            return _block(one)
        finally:
            otel_llm_bridge.uninstrument()

    blocks = {"none": none, "by hand": by_hand, "ours": ours}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in blocks}
    for number in range(int(sys.argv[1]) + 1):
        for name in blocks if number % 2 else reversed(blocks):
            found[name].append(blocks[name]())
    added = {
        name: {
            figure: statistics.median(mine[place] / bare[place] - 1 for mine, bare in zip(found[name][1:], found["none"][1:], strict=True))
            for place, figure in enumerate(("wall", "thread"))
        }
        for name in ("by hand", "ours")
    }
    answers.write(json.dumps(added) + "\n")
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

"""The process of one variant: runs the blocks that it is told to run, and says what they took.

``python -m benchmarks.worker VARIANT CALLEE``; requests and answers are lines of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

from . import trivial
from .scenarios import CALLEES, MODEL, Scenario
from .variants import VARIANTS, On

Block = Callable[[], float]


def _one_sync(function: Callable[..., Any], scenario: Scenario) -> Callable[[], None]:
    def one() -> None:
        answer = function(**scenario.arguments())
        if scenario.chunks:
            for _ in answer:
                pass

    return one


def wait_for_threads() -> None:
    """LiteLLM runs its callbacks in threads: they are over when as many empty tasks are."""
    from litellm.litellm_core_utils.thread_pool_executor import executor

    for done in [executor.submit(lambda: None) for _ in range(4)]:
        done.result()


def _sync(scenario: Scenario, on: On) -> Block:
    import litellm

    one = _one_sync(litellm.completion, scenario)

    def block() -> float:
        for _ in range(scenario.calls):
            if on.sync is None:
                one()
            else:
                on.sync(one, scenario.messages)
        thread = time.thread_time()
        wait_for_threads()
        return thread

    return block


_loop: Final = asyncio.new_event_loop()


def _async_of(make: Callable[[], Callable[..., Any]]) -> Callable[[Scenario, On], Block]:
    def prepare(scenario: Scenario, on: On) -> Block:
        from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

        function = make()

        async def one() -> None:
            await function(**scenario.arguments())

        async def whole() -> None:
            if on.awaited is None:
                await one()
            else:
                await on.awaited(one, scenario.messages)

        async def calls() -> float:
            for _ in range(scenario.calls // scenario.together):
                if scenario.together == 1:
                    await whole()
                else:
                    await asyncio.gather(*(whole() for _ in range(scenario.together)))
            thread = time.thread_time()
            await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), 30)
            return thread

        return lambda: _loop.run_until_complete(calls())

    return prepare


def _acompletion() -> Callable[..., Any]:
    import litellm

    return litellm.acompletion


def _router() -> Callable[..., Any]:
    import litellm

    model = {"model_name": MODEL, "litellm_params": {"model": MODEL, "api_key": "sk-1"}, "model_info": {"id": "fast-1"}}
    return litellm.Router(model_list=[model], num_retries=0).acompletion


ENTRIES: Final[dict[str, Callable[[Scenario, On], Block]]] = {
    "sync": _sync,
    "async": _async_of(_acompletion),
    "router": _async_of(_router),
}


def _measure(block: Block, on: On) -> dict[str, float]:
    wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
    thread_end = block()
    wall_end = time.perf_counter()
    on.flush()
    # process_time is of all threads of the process.
    return {"cpu": time.process_time() - cpu, "thread": thread_end - thread, "wall": wall_end - wall}


def _resident() -> int:
    """Bytes."""
    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def own_stdout() -> TextIO:
    """LiteLLM prints to stdout: the answers have a descriptor of their own."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return answers


def main() -> None:
    """Answer until the end of the input."""
    answers = own_stdout()
    name, callee = sys.argv[1:]
    import litellm

    litellm.suppress_debug_info = True
    if callee == "trivial":
        trivial.replace()
    on = VARIANTS[name].switch_on()
    blocks: dict[str, Block] = {}
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "resident" in request:
                answer: dict[str, Any] = {"resident": _resident()}
            else:
                scenario = CALLEES[callee][request["scenario"]]
                block = blocks.get(request["scenario"])
                if block is None:
                    block = blocks[request["scenario"]] = ENTRIES[scenario.entry](scenario, on)
                answer = _measure(block, on)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        answers.write(json.dumps(answer) + "\n")
    on.flush()
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

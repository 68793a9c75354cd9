"""What a call leaves behind when it is over: nothing that waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from otel_llm_bridge import streams
from otel_llm_bridge.invocation import Invocation

from ..conftest import MESSAGES, Bridge, eventually

CALLS = 5
_ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "mock_response": "Hi there, how do you do?"}
_OF_GROUP = {**_ASKED, "model": "group"}


async def _read(call: Awaitable[Any]) -> None:
    async for _ in await call:
        pass


# Kind of call -> what makes one, with a Router at hand. Not among them: calls that fail, and streams of the Router. LiteLLM
# itself keeps these in cycles, with the bridge and without.
_SYNC: dict[str, Callable[[litellm.Router], Any]] = {
    "completion": lambda router: litellm.completion(**_ASKED),
    "stream": lambda router: list(litellm.completion(**_ASKED, stream=True)),
    "stream that is left": lambda router: next(litellm.completion(**_ASKED, stream=True)),
    "Router": lambda router: router.completion(**_OF_GROUP),
    "repeated by LiteLLM": lambda router: litellm.completion(**_ASKED, num_retries=1),
    "embedding": lambda router: litellm.embedding(model="text-embedding-3-small", input="x", mock_response=[0.1]),
}
_ASYNC: dict[str, Callable[[litellm.Router], Awaitable[Any]]] = {
    "acompletion": lambda router: litellm.acompletion(**_ASKED),
    "async stream": lambda router: _read(litellm.acompletion(**_ASKED, stream=True)),
    "Router, async": lambda router: router.acompletion(**_OF_GROUP),
}


async def _awaited(call: Callable[[litellm.Router], Awaitable[Any]], router: litellm.Router) -> None:
    """All calls in one loop, until LiteLLM's worker is done with them: it has the Context of the call that it was started by."""
    for _ in range(CALLS):
        await call(router)
    await GLOBAL_LOGGING_WORKER.flush()
    await eventually(lambda: len(asyncio.all_tasks()) <= 2)  # this one, and the worker
    await GLOBAL_LOGGING_WORKER.stop()


def _alive(since: int) -> int:
    return sum(isinstance(one, Invocation) and one.started_ns >= since for one in gc.get_objects())


@pytest.mark.parametrize("kind", [*_SYNC, *_ASYNC])
def test_no_record_waits_for_the_collector(kind: str, bridge: Bridge) -> None:
    """With the garbage collector off, the records of calls that are over are gone all the same.

    Each holds its span and all that was known of the call. In a cycle they would wait for the collector's oldest generation,
    which comes once in thousands of calls: megabytes that are nobody's.
    """
    router = litellm.Router(model_list=[{"model_name": "group", "litellm_params": {"model": "gpt-4o-mini", "api_key": "sk-1"}}])
    began = time.time_ns()
    gc.disable()
    try:
        if kind in _ASYNC:
            asyncio.run(_awaited(_ASYNC[kind], router))
        else:
            for _ in range(CALLS):
                _SYNC[kind](router)
        # LiteLLM's threads finish their part of a call when it has long returned.
        deadline = time.monotonic() + 10
        while (left := _alive(began)) and time.monotonic() < deadline:
            streams.settle_left_streams(1)
    finally:
        gc.enable()
    assert len(bridge.inference()) == CALLS
    assert left == 0

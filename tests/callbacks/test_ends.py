"""Real calls of LiteLLM on loops of every make, however these end: our callbacks and LiteLLM's own, each once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import litellm
import pytest

from otel_llm_bridge import callbacks
from otel_llm_bridge.demo.provider import FakeProvider

from .switch import switched_on
from .test_loops import ENDS, Main
from .test_rescue import Calls, Own, clean_lists, wait_for_threads

__all__ = ["clean_lists"]  # a fixture, for every test here


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inline", "tracked", "background"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_each_end(end: Callable[[Main], None], mode: str, the_dispatcher: Any, provider: FakeProvider) -> None:
    """Calls, streams, failures and a cancelled call, on several loops after each other."""
    own, ours = Own(0.1), Own(0.1)
    calls = Calls(provider)

    async def main() -> None:
        await asyncio.gather(calls.plain(), calls.stream(), calls.failed(), calls.cancelled())

    with switched_on():
        litellm.callbacks = [own]
        callbacks.register(ours, mode=mode)
        for _ in range(3):
            end(main)
            if mode != "background":
                assert len(ours.seen) % 4 == 0, "all of this loop's, when it is closed"
        wait_for_threads()
        assert callbacks.drain(10).complete
    for one in (ours, own):
        assert Counter(one.points) == {"success": 6, "failure": 6}
        assert len({kwargs["litellm_call_id"] for _, kwargs, _ in one.seen}) == 12

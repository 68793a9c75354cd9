"""Calls LiteLLM at a steady rate, as a user's program would: plain, streamed, embedded, retried, fallen back and failed.

    opentelemetry-instrument -- python load.py sdk      a Router in this process, a made-up provider beside it
    opentelemetry-instrument -- python load.py proxy --url http://127.0.0.1:4000      the same calls through the Proxy

It knows nothing of observability, and ends when it is interrupted or terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

# LiteLLM reads this while it is imported; without it, it asks the network for prices.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import yaml

from otel_llm_bridge.demo.provider import FakeProvider

#: Calls under way at once; a slow target makes the rate fall instead of the memory grow.
_AT_ONCE: Final = 50
_QUESTIONS: Final = ("What is a trace?", "What is a span?", "At what heat does water boil?", "What is seven times eight?")

Completion = Callable[..., Awaitable[Any]]


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the calls go: the same two functions of a Router, or of LiteLLM with a proxy behind it."""

    completion: Completion
    embedding: Completion


async def chat(target: Target, group: str) -> None:
    """One answer, whole."""
    await target.completion(model=group, messages=[{"role": "user", "content": random.choice(_QUESTIONS)}])


async def stream(target: Target, group: str) -> None:
    """One answer, in chunks; one reader in five leaves early."""
    patience = 4 if random.random() < 0.2 else 10_000
    chunks = await target.completion(model=group, messages=[{"role": "user", "content": "Count."}], stream=True)
    async with contextlib.aclosing(chunks):
        async for _ in chunks:
            if (patience := patience - 1) == 0:
                break


async def embed(target: Target, group: str) -> None:
    """Two vectors."""
    await target.embedding(model=group, input=["A trace is a tree of spans.", "A span is a named interval."])


#: Share of the calls, what is done, the model group of `deploy/proxy/config.yaml` that it is done with.
MIX: Final[tuple[tuple[float, Callable[[Target, str], Awaitable[None]], str], ...]] = (
    (40, chat, "assistant"),
    (25, stream, "assistant"),
    (10, embed, "embedder"),
    (12, chat, "flaky"),
    (10, chat, "fragile"),
    (3, chat, "locked"),
)


def sdk_target(config: dict[str, Any], provider: str) -> Target:
    """A Router of this process whose deployments are those of the Proxy's configuration, at ``provider``."""
    models = [
        {**model, "litellm_params": {**model["litellm_params"], "api_base": model["litellm_params"]["api_base"].replace("http://127.0.0.1:8080", provider)}}
        for model in config["model_list"]
    ]  # fmt: skip
    router = litellm.Router(model_list=models, **config["router_settings"])
    return Target(router.acompletion, router.aembedding)


def proxy_target(url: str) -> Target:
    """LiteLLM's own client of a LiteLLM Proxy."""

    def through(function: Completion) -> Completion:
        return lambda *, model, **rest: function(model=f"litellm_proxy/{model}", api_base=url, api_key="none-is-needed", max_retries=0, **rest)

    return Target(through(litellm.acompletion), through(litellm.aembedding))


async def run(target: Target, rate: float, calls: int | None) -> tuple[int, int]:
    """Start ``rate`` calls a second, as independent users do, until terminated or ``calls`` are done.

    Returns:
        How many calls succeeded, and how many raised.
    """
    stopped, places, running = asyncio.Event(), asyncio.Semaphore(_AT_ONCE), set[asyncio.Task[None]]()
    counts = {True: 0, False: 0}
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    async def one(what: Callable[[Target, str], Awaitable[None]], group: str) -> None:
        try:
            await what(target, group)
            counts[True] += 1
        except Exception:  # a user's program would handle it; here it is part of the mix
            counts[False] += 1
        finally:
            places.release()

    started = 0
    while not stopped.is_set() and (calls is None or started < calls):
        await places.acquire()
        _, what, group = random.choices(MIX, weights=[share for share, *_ in MIX])[0]
        task = asyncio.create_task(one(what, group))
        running.add(task)
        task.add_done_callback(running.discard)
        started += 1
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stopped.wait(), random.expovariate(rate))
    await asyncio.gather(*running)
    return counts[True], counts[False]


def main(argv: Sequence[str] | None = None) -> int:
    """Generate load until it is told to stop; prints how the calls went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=("sdk", "proxy"))
    parser.add_argument("--rate", type=float, default=2.0, help="calls a second (default: %(default)s)")
    parser.add_argument("--calls", type=int, help="stop after so many calls; without end unless given")
    parser.add_argument("--url", default="http://127.0.0.1:4000", help="the Proxy (default: %(default)s)")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.yaml"), help="the Proxy's configuration, for the target sdk")
    options = parser.parse_args(argv)
    litellm.suppress_debug_info = True
    with contextlib.ExitStack() as stack:
        if options.target == "sdk":
            provider = stack.enter_context(FakeProvider())
            target = sdk_target(yaml.safe_load(options.config.read_text()), provider.url)
        else:
            target = proxy_target(options.url)
        good, bad = asyncio.run(run(target, options.rate, options.calls))
    print(f"{good} calls succeeded, {bad} failed", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

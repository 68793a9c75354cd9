"""What a child process runs: every way on which a text of the caller's or of the provider's might leave it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any, Final

CANARY: Final = "canary-7f3a91-in-the-mine"
#: One key of a known shape and one that only the call itself can tell.
KEY: Final = "sk-canarykey-0123456789abcdef"
PLAIN_KEY: Final = "plaincanarysecretvalue"

BASE: Final = os.environ.get("PROVIDER", "")
SAID: Final = [{"role": "user", "content": f"Do you know {CANARY}? My key is {KEY} or {PLAIN_KEY}."}]
_TOOL: Final = {"type": "function", "function": {"name": "find", "description": CANARY, "parameters": {"type": "object"}}}
_TOOL_HISTORY: Final = [
    *SAID,
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": f'{{"what": "{CANARY}"}}'}}]},
    {"role": "tool", "tool_call_id": "c1", "content": f"found {CANARY}"},
]  # fmt: skip


def to(behaviour: str = "echo", version: str = "/v1") -> dict[str, Any]:
    """Where a call goes, and how the provider behaves."""
    return {"api_base": f"{BASE}/as/{behaviour}{version}", "api_key": PLAIN_KEY, "max_retries": 0}


def chat(behaviour: str = "echo", **more: Any) -> dict[str, Any]:
    """The arguments of a chat call."""
    return {"model": "openai/gpt-4o-mini", "messages": SAID, **to(behaviour), **more}


class OwnError(Exception):
    """Raised by a caller's own code in the middle of a stream."""


def _router() -> Any:
    import litellm

    deployments = {"first": "error-echo", "second": "echo"}
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/gpt-4o-mini", **to(behaviour)}}
        for name, behaviour in deployments.items()
    ]
    return litellm.Router(models, num_retries=0, fallbacks=[{"first": ["second"]}])


async def _stream(behaviour: str, leave_after: int = 10_000, error: bool = False) -> None:
    import litellm

    number = 0
    async for _ in await litellm.acompletion(**chat(behaviour, stream=True)):
        number += 1
        if number >= leave_after:
            if error:
                raise OwnError(CANARY)
            return


async def _cancelled() -> None:
    import litellm

    task = asyncio.ensure_future(litellm.acompletion(**chat("hold")))
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def paths() -> dict[str, Callable[[], Any]]:
    """Name of each path -> the call."""
    import litellm

    audio = (f"{CANARY}.mp3", b"\xff\xfb\x90\x00" + bytes(413), "audio/mpeg")
    anthropic = {"model": "anthropic/claude-sonnet-4-5", "max_tokens": 64, **to("echo", "")}
    return {
        "prompt and answer": lambda: litellm.completion(**chat()),
        "system text": lambda: litellm.completion(**chat(messages=[{"role": "system", "content": CANARY}, *SAID])),
        "tool arguments and results": lambda: litellm.completion(**chat(messages=_TOOL_HISTORY, tools=[_TOOL])),
        "tool call of the model": lambda: litellm.completion(**chat("echo+tool", tools=[_TOOL])),
        "name of a file": lambda: litellm.transcription(model="openai/whisper-1", file=audio, prompt=CANARY, **to()),
        "stream, read to its end": lambda: list(litellm.completion(**chat(stream=True))),
        "async stream": lambda: asyncio.run(_stream("echo")),
        "stream, left early": lambda: asyncio.run(_stream("echo", leave_after=2)),
        "stream, the caller raises": lambda: asyncio.run(_stream("echo", leave_after=2, error=True)),
        "stream, broken off": lambda: asyncio.run(_stream("echo+stream-error-3")),
        "error body of the provider": lambda: litellm.completion(**chat("error-echo")),
        "error body, async": lambda: asyncio.run(litellm.acompletion(**chat("error-echo"))),
        "answer that is no JSON": lambda: litellm.completion(**chat("echo+bad-json")),
        "time-out": lambda: litellm.completion(**chat("echo+slow-5000ms", timeout=0.3)),
        "cancelled": lambda: asyncio.run(_cancelled()),
        "metadata, user and headers": lambda: litellm.completion(
            **chat(user=CANARY, metadata={"note": CANARY, "tags": [CANARY]}, extra_headers={"x-note": CANARY})
        ),
        "fallback of a Router": lambda: asyncio.run(_router().acompletion(model="first", messages=SAID)),
        "failure of a Router": lambda: asyncio.run(_router().acompletion(model="first", messages=SAID, fallbacks=[])),
        "repeated by LiteLLM": lambda: litellm.completion(**chat("error-echo", num_retries=1)),
        "embedding": lambda: litellm.embedding(model="openai/text-embedding-3-small", input=[CANARY], **to()),
        "responses": lambda: litellm.responses(model="openai/gpt-4o-mini", input=CANARY, instructions=CANARY, **to()),
        "messages": lambda: asyncio.run(litellm.anthropic.messages.acreate(messages=SAID, system=CANARY, **anthropic)),
        "text completion": lambda: litellm.text_completion(model="text-completion-openai/gpt-3.5-turbo-instruct", prompt=CANARY, **to()),
        "rerank": lambda: litellm.rerank(model="cohere/rerank-v3.5", query=CANARY, documents=[CANARY], **to("echo", "")),
        "moderation": lambda: litellm.moderation(model="omni-moderation-latest", input=CANARY, **to()),
    }  # fmt: skip


def main() -> None:
    """All paths, whatever comes of them. LiteLLM's own log, which quotes providers' errors, is off."""
    import logging

    import litellm  # noqa: F401  # it sets the levels of its loggers

    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if os.environ.get("BRIDGE", "on") == "on":
        import otel_llm_bridge

        otel_llm_bridge.instrument(strict=True, handle_signals=False)
    for name, call in paths().items():
        try:
            call()
        except Exception as error:
            print(f"{name}: {type(error).__name__}", flush=True)
        else:
            print(f"{name}: answered", flush=True)


if __name__ == "__main__":
    main()

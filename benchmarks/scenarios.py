"""What is called: the table of scenarios."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

MODEL: Final = "gpt-4o-mini"
SHORT: Final = [{"role": "user", "content": "Say hello to the world, please."}]
LONG: Final = [{"role": "user", "content": "All work and no play makes Jack a dull boy. " * 2328}]  # 100 kB
MANY: Final = [
    {"role": ("user", "assistant")[number % 2], "content": f"Turn {number}: what was said here, and a little more."}
    for number in range(200)
]


class Scenario(NamedTuple):
    """One row.

    Attributes:
        meaning: for the reader of the table.
        calls: of one block; the figure of a block is divided by it.
        entry: a name in `worker.ENTRIES`.
        messages: the prompt.
        chunks: of the stream; 0 is no stream.
        together: how many calls run at the same time.
    """

    meaning: str
    calls: int
    entry: str = "sync"
    messages: list[dict[str, Any]] = SHORT
    chunks: int = 0
    together: int = 1

    def arguments(self) -> dict[str, Any]:
        """Of one call, made anew: nobody may profit from what the last call left in them."""
        # LiteLLM makes a chunk of each three letters of a mock response, and refuses a model that repeats itself.
        text = "".join(f"{number % 1000:03d}" for number in range(self.chunks))
        said: dict[str, Any] = {"mock_response": text, "stream": True} if self.chunks else {"mock_response": "Hello, world."}
        return {"model": MODEL, "messages": self.messages, "temperature": 0.2, "max_tokens": 200, **said}


#: LiteLLM's functions replaced by trivial ones: what an instrumentation costs, without LiteLLM's milliseconds.
TRIVIAL: Final = {
    "wrapper": Scenario("one call of a trivial function", 400),
    "wrapper, async": Scenario("the same, async", 400, "async"),
    "100 kB prompt": Scenario("a prompt of one message of 100 kB", 100, messages=LONG),
    "200 messages": Scenario("a prompt of 200 messages", 100, messages=MANY),
    "100 chunks": Scenario("a stream of 100 chunks", 50, chunks=100),
    "1000 chunks": Scenario("a stream of 1,000 chunks", 10, chunks=1000),
}

#: The real LiteLLM, with its own mock responses.
LITELLM: Final = {
    "mock, sync": Scenario("completion", 40),
    "mock, async": Scenario("acompletion", 40, "async"),
    "64 at once": Scenario("64 acompletions at the same time", 64, "async", together=64),
    "stream of 100": Scenario("a stream of 100 chunks, read to its end", 4, chunks=100),
    "stream of 1000": Scenario("a stream of 1,000 chunks, read to its end", 1, chunks=1000),
    "Router": Scenario("Router.acompletion", 30, "router"),
    "100 kB": Scenario("a prompt of one message of 100 kB", 20, messages=LONG),
    "200 turns": Scenario("a prompt of 200 messages", 20, messages=MANY),
}

CALLEES: Final = {"trivial": TRIVIAL, "litellm": LITELLM}

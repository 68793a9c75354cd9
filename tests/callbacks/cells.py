"""One cell of the matrix: a program with callbacks, a call, and an end. Run in a fork of a process that has LiteLLM.

Importing LiteLLM takes seconds; so one process imports it, and each cell is a fork of it that then lives and
ends like any program. Cells come in as lines of JSON, and results go out as lines of JSON.
"""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import multiprocessing
import signal
import sys
import time
from typing import Any

import litellm
import litellm.router
from litellm.integrations.custom_logger import CustomLogger

from otel_llm_bridge import callbacks
from otel_llm_bridge.export import lifetime
from tests.callbacks.switch import switch_on

MESSAGES = [{"role": "user", "content": "Is there anybody?"}]
HELD: list[Any] = []
BEHAVIOUR = {"raise": "error-500", "cancel": "timeout"}


class Cell:
    """The cell's parameters, and what it does with them."""

    def __init__(self, cell: dict[str, Any]) -> None:
        self.cell = cell
        self.delay: float = cell["delay"]
        self.output: str = cell["output"]
        self.called = False

    def write(self, who: str, point: str, kwargs: Any) -> None:
        """One line: this callback has run to its end."""
        line = json.dumps([who, point, kwargs.get("litellm_call_id"), os.getpid()]) + "\n"
        with open(self.output, "a") as file:  # one small write: lines of several processes do not mix
            file.write(line)

    def register(self) -> None:
        """A callback of ours, and one of LiteLLM's own."""
        cell, write, delay = self.cell, self.write, self.delay

        def early(model: Any, messages: Any, kwargs: Any) -> None:
            write("ours", "pre_call", kwargs)
            self.called = True

        async def early_async(model: Any, messages: Any, kwargs: Any) -> None:
            early(model, messages, kwargs)

        def late(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            time.sleep(delay)
            write("ours", "failure" if kwargs.get("exception") else "success", kwargs)

        async def late_async(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            await asyncio.sleep(delay)
            write("ours", "failure" if kwargs.get("exception") else "success", kwargs)

        class Ours:
            log_pre_api_call = staticmethod(early)
            log_success_event = log_failure_event = staticmethod(late)

        class OursAsync:
            async_log_pre_api_call = staticmethod(early_async)
            async_log_success_event = async_log_failure_event = staticmethod(late_async)

        class Own(CustomLogger):
            async def async_log_success_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
                await asyncio.sleep(delay)
                write("own", "success", kwargs)

            async def async_log_failure_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
                await asyncio.sleep(delay)
                write("own", "failure", kwargs)

        callbacks.register((OursAsync if cell["kind"] == "async" else Ours)(), mode=cell["mode"])
        litellm.callbacks = [Own()]

    # The calls.

    def arguments(self) -> dict[str, Any]:
        """Of the call, with the provider's behaviour that the end needs."""
        behaviour = BEHAVIOUR.get(self.cell["end"])
        url = self.cell["url"]
        return {
            "messages": MESSAGES,
            "api_base": f"{url}/as/{behaviour}/v1" if behaviour else f"{url}/v1",
            "api_key": "sk-test",
            "max_retries": 0,
        }

    def router(self) -> litellm.router.Router:
        """A Router over one deployment."""
        arguments = self.arguments()
        arguments.pop("messages")
        return litellm.Router([{"model_name": "group", "litellm_params": {"model": "openai/gpt-4o-mini", **arguments}}], num_retries=0)

    def call(self) -> None:
        """A call of the cell's kind, in sync code."""
        what = self.cell["call"]
        if what == "router":
            self.router().completion(model="group", messages=MESSAGES)
            return
        result = litellm.completion(model="openai/gpt-4o-mini", stream=what == "stream", **self.arguments())
        if what == "stream":
            for _chunk in result:
                pass

    async def acall(self) -> None:
        """A call of the cell's kind, in async code."""
        what = self.cell["call"]
        if what == "arouter":
            await self.router().acompletion(model="group", messages=MESSAGES)
            return
        more = {"mock_response": "hello"} if what == "amock" else {}  # no connection: a thousand at once
        result = await litellm.acompletion(model="openai/gpt-4o-mini", stream=what in ("astream", "aheld"), **self.arguments(), **more)
        if what == "aheld":
            HELD.append(result)
            await result.__anext__()
        if what == "astream":
            async for _chunk in result:
                pass

    def any_call(self) -> None:
        """A call of the cell's kind, in a loop of its own if it needs one."""
        if self.cell["call"].startswith("a"):
            asyncio.run(self.acall())
        else:
            self.call()

    # The ends.

    def end(self) -> None:
        """After the call."""
        end = self.cell["end"]
        if end == "exit":
            sys.exit(3)
        if end == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)  # until the signal ends the process
        if end == "crash":
            raise RuntimeError("unhandled, on purpose")

    def run(self) -> None:
        """The whole cell."""
        try:
            if self.cell["end"] in ("fork", "multiprocessing") or not self.cell["call"].startswith("a"):
                self.any_call()
                self.after()
            else:
                asyncio.run(self.amain())
        except litellm.exceptions.InternalServerError:
            pass

    def after(self) -> None:
        """What follows the call in sync code, or its loop."""
        if self.cell["end"] == "fork":
            if os.fork() == 0:
                self.any_call()
                sys.exit(0)
            os.wait()
        elif self.cell["end"] == "multiprocessing":
            child = multiprocessing.get_context("fork").Process(target=self.any_call)
            child.start()
            child.join()
        else:
            self.end()

    async def amain(self) -> None:
        """In async code."""
        if self.cell["end"] == "cancel":
            task = asyncio.create_task(self.acall())
            while self.cell.get("bridge", True) and not self.called and not task.done():  # until the request is about to go out
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            return
        await asyncio.gather(*[self.acall() for _ in range(self.cell.get("count", 1))])
        if self.cell["end"] == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(30)  # until the signal ends the process
        self.end()


def warm_up(url: str) -> None:
    """Import what LiteLLM imports in its first calls: it costs a second, which each cell would pay.

    A call here would leave threads behind that its forks do not have, so a scout makes the calls.
    """
    read, write = os.pipe()
    scout = os.fork()
    if scout == 0:
        for call in ("sync", "router", "stream"):
            Cell({"call": call, "end": "return", "url": url, "delay": 0, "output": os.devnull}).call()
        for call in ("async", "arouter", "astream"):
            asyncio.run(Cell({"call": call, "end": "return", "url": url, "delay": 0, "output": os.devnull}).acall())
        os.write(write, "\n".join(sys.modules).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        names = file.read().decode().split("\n")
    os.waitpid(scout, 0)
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the forks copy all of it when they collect


def serve() -> Cell | None:
    """Fork a child for each cell that comes in. Returns in the child, with its cell; ``None`` in the parent."""
    children: dict[int, dict[str, Any]] = {}
    pending: list[dict[str, Any]] = [json.loads(line) for line in iter(sys.stdin.readline, "\n")]
    warm_up(pending[0]["url"])
    while pending or children:
        while pending and len(children) < 8:
            cell = pending.pop(0)
            pid = os.fork()
            if pid == 0:
                return Cell(cell)
            children[pid] = {"cell": cell, "begun": time.monotonic()}
        pid, status = os.wait()
        child = children.pop(pid)
        result = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - child["begun"]}
        with open(sys.argv[1], "a") as file:
            file.write(json.dumps({**child["cell"], **result}) + "\n")
    return None


if __name__ == "__main__":
    cell = serve()
    if cell is not None:
        logging.disable(logging.ERROR)
        if not os.environ.get("CELLS_VERBOSE"):
            sys.stderr = open(os.devnull, "w")
        if cell.cell.get("bridge", True):
            switch_on(exit_timeout=cell.cell.get("exit_timeout", 10))

            def tell(_deadline: Any) -> None:
                with open(cell.output, "a") as file:
                    file.write(json.dumps(["stats", callbacks.stats(), None, os.getpid()]) + "\n")

            lifetime.at_end(lifetime.Stage.REPORT, "cell", tell)
        cell.register()
        cell.run()

"""LiteLLM's own integrations by name: real ones, that send to a real endpoint on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils import logging_callback_manager

from otel_llm_bridge import callbacks
from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import integrations

from ..conftest import THREADS_AT_EXIT
from .switch import switched_on

MODES = ("inline", "tracked", "background")
MESSAGES = [{"role": "user", "content": "Is there anybody?"}]


class Sink:
    """An endpoint, and what it has been sent: the path and the body of each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink.requests.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def entries(self, path: str = "/audit") -> list[Any]:
        """The entries of all batches that were sent to ``path``."""
        return [entry for at, batch in self.requests if at == path for entry in batch]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """One for the test."""
    sink = Sink()
    threading.Thread(target=sink.server.serve_forever, daemon=True).start()
    yield sink
    sink.server.shutdown()
    sink.server.server_close()


@pytest.fixture(autouse=True)
def driven(the_dispatcher: Any, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The bridge's part in callbacks is on; no integration has been made yet."""
    settings = {
        name: {"callback_type": "generic_api", "endpoint": f"{sink.url}/{name}", "headers": {"x-from": name}} for name in ("audit", "billing")
    }
    monkeypatch.setattr(litellm, "callback_settings", settings)
    monkeypatch.setenv("HELICONE_API_BASE", sink.url)
    monkeypatch.setenv("HELICONE_API_KEY", "sk-helicone")
    integrations._known.clear()
    logging_callback_manager._generic_api_logger_cache.clear()
    with switched_on():
        yield


def _arguments(provider: FakeProvider, behaviour: str = "ok", **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_base": provider.at(behaviour, "/v1"), "api_key": "sk-test",
        "max_retries": 0, **more,
    }  # fmt: skip


def _call_each_way(provider: FakeProvider) -> None:
    """A call, a stream and a failure; sync, and async in three loops of their own."""
    litellm.completion(**_arguments(provider))
    list(litellm.completion(**_arguments(provider, stream=True)))
    with pytest.raises(litellm.InternalServerError):
        litellm.completion(**_arguments(provider, "error-500"))

    async def stream() -> None:
        async for _chunk in await litellm.acompletion(**_arguments(provider, stream=True)):
            pass

    asyncio.run(litellm.acompletion(**_arguments(provider)))
    asyncio.run(stream())
    with pytest.raises(litellm.InternalServerError):
        asyncio.run(litellm.acompletion(**_arguments(provider, "error-500")))


@pytest.mark.parametrize("mode", MODES)
def test_by_name(mode: str, provider: FakeProvider, sink: Sink) -> None:
    """An integration that collects events has sent each call once when a drain is over, whichever loops have come and gone."""
    failed = callbacks.stats()["failed"]
    callbacks.register("audit", mode=mode)
    assert integrations.integration("audit")._logger is None, "it is not made before it is to be called"
    _call_each_way(provider)
    report = callbacks.drain(10)
    assert (report.complete, callbacks.stats()["failed"]) == (True, failed)
    entries = sink.entries()
    assert Counter(entry["status"] for entry in entries) == {"success": 4, "failure": 2}
    assert len({entry["litellm_call_id"] if "litellm_call_id" in entry else entry["id"] for entry in entries}) == 6
    assert all(entry["response_cost"] > 0 for entry in entries if entry["status"] == "success" and not entry["stream"])


def test_two_endpoints(provider: FakeProvider, sink: Sink) -> None:
    """Names of ``litellm.callback_settings`` are two integrations, each with its endpoint."""
    callbacks.register("audit")
    callbacks.register("billing", on="success")
    litellm.completion(**_arguments(provider))
    with pytest.raises(litellm.InternalServerError):
        litellm.completion(**_arguments(provider, "error-500"))
    assert callbacks.drain(10).complete
    assert [entry["status"] for entry in sink.entries()] == ["success", "failure"]
    assert [entry["status"] for entry in sink.entries("/billing")] == ["success"]


@pytest.mark.parametrize("mode", MODES)
def test_without_a_class(mode: str, provider: FakeProvider, sink: Sink) -> None:
    """An integration that is only a branch in LiteLLM's handlers is told of each success once.

    No streams: LiteLLM's code for this one fails with their usage.
    """
    before = callbacks.stats()["completed"]
    callbacks.register("helicone", mode=mode)
    litellm.completion(**_arguments(provider))
    asyncio.run(litellm.acompletion(**_arguments(provider)))
    assert callbacks.drain(10).complete
    assert callbacks.stats()["completed"] == before + 2
    texts = [body["providerResponse"]["json"]["choices"][0]["message"]["content"] for _path, body in sink.requests]
    assert len(texts) == 2
    assert all(texts)


def test_no_such_name(provider: FakeProvider, caplog: pytest.LogCaptureFixture) -> None:
    """A name that LiteLLM does not know, or whose package is missing, is counted and named; the call is not affected."""
    failed = callbacks.stats()["failed"]
    callbacks.register("no-such-integration")
    callbacks.register("sentry" if "sentry_sdk" not in sys.modules else "wandb")
    with caplog.at_level(logging.WARNING):
        litellm.completion(**_arguments(provider))
    assert callbacks.stats()["failed"] == failed + 2
    assert "callback no-such-integration failed with LookupError" in caplog.text


PROGRAM = """
import asyncio, os, sys
import litellm
import otel_llm_bridge
from opentelemetry.sdk.trace import TracerProvider
from otel_llm_bridge import callbacks

otel_llm_bridge.instrument(tracer_provider=TracerProvider(shutdown_on_exit=False), strict=True)
arguments = dict(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}], api_base=sys.argv[1], api_key="sk-test")
how = sys.argv[2]
litellm.callback_settings = {"audit": {"callback_type": "generic_api", "endpoint": sys.argv[3], "headers": {}}}

async def own():
    from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger

    litellm.callbacks = [GenericAPILogger(endpoint=sys.argv[3], headers={"x": "y"})]
    await litellm.acompletion(**arguments)

if how.startswith("own"):
    asyncio.run(own())
    asyncio.run(litellm.acompletion(**arguments))  # its own loop has gone
    litellm.completion(**arguments)
else:
    callbacks.register("audit", mode="background")
    asyncio.run(litellm.acompletion(**arguments))
if how.endswith("fork"):
    litellm.completion(**arguments)  # the parent holds it when it forks
    if os.fork() == 0:
        litellm.completion(**arguments)
        sys.exit()
    os.wait()
"""


def _errors_of(source: str, provider: FakeProvider, how: str, sink: Sink, host: str = "localhost") -> str:
    # Looking up the address of a name takes a thread pool, which Python stops before the very end.
    environ = {"PYTHONPATH": str(Path(__file__).parents[2]), "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "30"}  # for a busy machine, too
    program = subprocess.run(
        [sys.executable, "-c", source, provider.at("ok", "/v1"), how, f"{sink.url}/audit".replace("127.0.0.1", host)],
        env={**os.environ, **environ}, timeout=120, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert program.returncode == 0, program.stderr
    return program.stderr


@pytest.mark.parametrize(
    ("how", "expected"),
    [("exit", 1), ("fork", 3), pytest.param("own", 3, marks=THREADS_AT_EXIT), pytest.param("own, fork", 5, marks=THREADS_AT_EXIT)],
)
def test_sent_at_the_end(how: str, expected: int, provider: FakeProvider, sink: Sink) -> None:
    """What is collected when the process or a child of it ends is sent, once; also of one that LiteLLM has in its own list."""
    errors = _errors_of(PROGRAM, provider, how, sink)
    assert [entry["status"] for entry in sink.entries()] == ["success"] * expected, errors
    assert len({entry["id"] for entry in sink.entries()}) == expected


LATE = """
import asyncio, sys, time
import litellm
import otel_llm_bridge
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger
from opentelemetry.sdk.trace import TracerProvider

otel_llm_bridge.instrument(tracer_provider=TracerProvider(shutdown_on_exit=False), strict=True)
arguments = dict(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}], api_base=sys.argv[1], api_key="sk-test")

class Own(GenericAPILogger):
    async def async_log_success_event(self, *args, **kwargs):
        await asyncio.sleep(0.5)
        await super().async_log_success_event(*args, **kwargs)

async def own():
    litellm.callbacks = [Own(endpoint=sys.argv[3], headers={"x": "y"})]

asyncio.run(own())
litellm.success_callback = [lambda *told: time.sleep(0.5)]  # in a thread of LiteLLM's
if sys.argv[2] == "call":
    litellm.completion(**arguments)
else:
    stream = litellm.completion(**arguments, stream=True)
    next(stream), next(stream), next(stream)
"""


@THREADS_AT_EXIT
@pytest.mark.parametrize(("what", "host"), [("call", "localhost"), ("stream", "127.0.0.1")])
def test_collected_during_the_end(what: str, host: str, provider: FakeProvider, sink: Sink) -> None:
    """What is collected only when the process is ending is sent, too: handlers take their time, a stream was still open."""
    errors = _errors_of(LATE, provider, what, sink, host)
    assert [entry["status"] for entry in sink.entries()] == ["success"], errors

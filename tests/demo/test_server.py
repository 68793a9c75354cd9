"""The fake provider as a server: what it is told to do, how much it holds, how it starts and ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.demo.provider_behaviours import ERRORS, VOCABULARY, Behaviour, parse

CHAT = "/v1/chat/completions"


def post(provider: FakeProvider, path: str = CHAT, model: str = "gpt-4o-mini", **body: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of an answer."""
    data = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], **body}).encode()
    request = urllib.request.Request(provider.url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ok", Behaviour()),
        ("echo+tool", Behaviour(echo=True, tool=True)),
        ("slow-200ms+stream-20ms+words-7", Behaviour(delay=0.2, pause=0.02, words=7)),
        ("stream-broken-3", Behaviour(cut="reset", cut_after=3)),
        ("stream-stall-0", Behaviour(cut="stall", cut_after=0)),
        ("error-429", Behaviour(error=ERRORS["error-429"])),
        ("gpt-4o-mini", None),
        ("ok+gpt-4o-mini", None),
        ("", None),
    ],
)
def test_behaviours_are_read(text: str, expected: Behaviour | None) -> None:
    """Words of the table stand for what they say, joined ones for all of it, and any other word for nothing."""
    assert parse(text) == expected


@pytest.mark.parametrize("word", VOCABULARY)
def test_every_word_of_the_vocabulary_is_one(word: str) -> None:
    """What the help of the command line names is what the provider understands."""
    assert parse(word.replace("N", "2")) is not None


@pytest.mark.parametrize("word", ERRORS)
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1beta/models/m:generateContent", "/v2/rerank"])
def test_errors_are_real(path: str, word: str, provider: FakeProvider) -> None:
    """Each error has its status and its text in the form of every API, and its headers."""
    status, body, headers = post(provider, f"/as/{word}{path}")
    assert status == ERRORS[word].status
    assert ERRORS[word].message in json.dumps(body)
    assert headers["x-request-id"]
    assert headers.items() >= dict(ERRORS[word].headers).items()


@pytest.mark.parametrize(("prefix", "model"), [("/as/error-503,error-500,ok", "gpt-4o-mini"), ("", "error-503,error-500,ok")])
def test_a_list_is_taken_in_turns(prefix: str, model: str, provider: FakeProvider) -> None:
    """Behaviours in a list follow each other, the last one stays, and a reset starts anew."""
    assert [post(provider, prefix + CHAT, model)[0] for _ in range(4)] == [503, 500, 200, 200]
    provider.reset()
    assert post(provider, prefix + CHAT, model)[0] == 503


def test_a_script_is_played_once(provider: FakeProvider) -> None:
    """A script gives its behaviours in order, then says that it is over; an unknown word is refused."""
    provider.script("two", ["error-500", "ok"])
    assert [post(provider, model="script:two")[0] for _ in range(3)] == [500, 200, 418]
    assert [request.behaviour for request in provider.requests][:2] == ["error-500", "ok"]
    with pytest.raises(ValueError, match="no such behaviour: nonsense"):
        provider.script("two", ["nonsense"])


@pytest.mark.parametrize(("path", "status"), [("/as/nonsense" + CHAT, 418), ("/nowhere", 404)])
def test_a_wrong_path_is_told(path: str, status: int, provider: FakeProvider) -> None:
    """A misspelt behaviour and an unknown endpoint are errors that say so."""
    answered, body, _ = post(provider, path)
    assert answered == status
    assert "nonsense" in body["error"]["message"] or "/nowhere" in body["error"]["message"]


def test_requests_are_written_down(provider: FakeProvider) -> None:
    """Method, path without the behaviour, headers, body, model and prompt of a request are there for the test."""
    post(provider, "/as/slow-1ms" + CHAT + "?api-version=1")
    (request,) = provider.requests
    assert (request.method, request.path, request.query, request.model, request.behaviour) == ("POST", CHAT, "api-version=1", "gpt-4o-mini", "slow-1ms")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == request.json
    assert request.prompt == "Hello"


async def test_hold_waits_for_the_test(provider: FakeProvider) -> None:
    """Requests that are held are answered when the test says so, all of them."""
    calls = [asyncio.ensure_future(asyncio.to_thread(post, provider, CHAT, "hold")) for _ in range(3)]
    assert await asyncio.to_thread(provider.wait_until, lambda p: len(p.requests) == 3)
    assert not any(call.done() for call in calls)
    provider.release()
    assert [status for status, _, _ in await asyncio.gather(*calls)] == [200] * 3


async def test_many_connections_at_once(provider: FakeProvider) -> None:
    """Two hundred connections are open together, and a thousand requests on them are answered quickly."""
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}).encode()

    def request(path: str) -> bytes:
        return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
        writer.write(request(path))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length
        await reader.readexactly(int(length[1]))
        return head.split()[1]

    async def client() -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        statuses = [await ask(reader, writer, "/as/hold" + CHAT)] + [await ask(reader, writer, CHAT) for _ in range(4)]
        writer.close()
        return statuses

    start = time.monotonic()
    clients = [asyncio.ensure_future(client()) for _ in range(200)]
    assert await asyncio.to_thread(provider.wait_until, lambda p: len(p.requests) == 200, 30)
    provider.release()
    assert await asyncio.gather(*clients) == [[b"200"] * 5] * 200
    assert len(provider.requests) == 1000
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("behaviour", ["stream-10ms+words-2000", "stream-stall-3"])
def test_a_stream_that_is_left_is_seen(behaviour: str, provider: FakeProvider) -> None:
    """The provider notices that the reader of a stream has gone, be it between two chunks or in a silence."""
    body = json.dumps({"model": behaviour, "messages": [{"role": "user", "content": "Hello"}], "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", provider.port), timeout=20) as client:
        client.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.recv(20).startswith(b"HTTP/1.1 200")
        assert provider.closed_early == []
    assert provider.wait_until(lambda p: len(p.closed_early) == 1)
    assert provider.closed_early == provider.requests


def test_a_closed_provider_is_gone() -> None:
    """Closing ends the waiting requests and frees the port, with nothing left of its thread."""
    with FakeProvider() as provider, socket.create_connection(("127.0.0.1", provider.port)) as client:
        client.sendall(f"GET /as/timeout{CHAT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert provider.wait_until(lambda p: len(p.requests) == 1)
        provider.close()
        client.settimeout(10)
        assert client.recv(1) == b""
    with FakeProvider(provider.port) as again:
        assert post(again)[0] == 200


def test_the_command_runs_it_alone() -> None:
    """The command prints its base URL, serves there and ends on Ctrl-C; a second one on that port says so and ends with 2."""
    command = [sys.executable, "-m", "otel_llm_bridge.demo.provider", "--port"]
    with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().split()[0]
            with urllib.request.urlopen(url + "/models", timeout=20) as answer:
                assert json.load(answer)["object"] == "list"
            port = url.split(":")[2].split("/")[0]
            second = subprocess.run([*command, port], capture_output=True, text=True, timeout=60)
            assert (second.returncode, second.stderr.count("\n")) == (2, 1)
            assert port in second.stderr
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()


@pytest.mark.parametrize("given", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_demo_program_makes_its_calls(given: bool, provider: FakeProvider) -> None:
    """The program runs every step against a provider that is there or its own, and ends well."""
    pytest.importorskip("mcp", reason="LiteLLM's tool calls and responses need it")
    arguments = ["--provider", provider.url] if given else []
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    run = subprocess.run(
        [sys.executable, "-m", "otel_llm_bridge.demo.program", *arguments], capture_output=True, text=True, timeout=120, env=environment
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [int(line.split(".")[0]) for line in lines] == list(range(1, 14))
    assert "caught AuthenticationError" in run.stdout
    if given:
        behaviours = [request.behaviour for request in provider.requests]
        assert len(behaviours) == 20
        assert [behaviours.count(word) for word in ("error-401", "error-500", "error-503", "timeout")] == [1, 1, 1, 1]
        assert {request.behaviour for request in provider.closed_early} == {"timeout", "stream-20ms+words-500"}

"""A provider of language models on loopback that speaks OpenAI's, Anthropic's, Google's and Cohere's API and invents the rest.

It serves the demo and every test. What it does with a request is chosen by the model's name or by the path
(`provider_behaviours`)::

    with FakeProvider() as provider:
        litellm.completion(model="openai/error-429", api_base=provider.api_base, api_key="k", messages=...)
        litellm.completion(model="openai/gpt-4o-mini", api_base=provider.at("error-503,ok"), api_key="k", messages=...)

``python -m otel_llm_bridge.demo.provider --port 8080`` runs it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import re
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import unquote

from .provider_behaviours import ERRORS, SILENCE, VOCABULARY, Behaviour, parse
from .provider_http import ClientLeft, Connection, HttpRequest
from .provider_reply import Call, compose, json_answer, prompt_of
from .provider_routes import OPENAI, Dialect, route_of

_UNKNOWN: Final = dataclasses.replace(ERRORS["error-400"], status=418)
_AS: Final = re.compile(r"^/as/([^/]+)(/.*)$")
_MODEL_IN_PATH: Final = re.compile(r"/(?:models|deployments)/(.+?)(?=/|:\w+$)")
#: The client is given so long to read what was sent before its connection is reset; its reader forgets it otherwise.
_SEEN: Final = 0.05


@dataclasses.dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    number: int
    method: str
    #: Without the query, and without ``/as/{behaviour}``.
    path: str
    query: str
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes
    #: The parsed JSON, or the fields of a form; empty when it is neither.
    json: dict[str, Any]
    model: str
    #: What was chosen for it, as text.
    behaviour: str
    #: Seconds on the monotonic clock.
    at: float

    @property
    def prompt(self) -> str:
        """Everything that the caller said."""
        return prompt_of(self.json)


class FakeProvider:
    """The server, in a thread of its own; a context manager. Everything public may be used from any thread.

    Args:
        port: the port on 127.0.0.1; a free one unless given.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self._changed = threading.Condition()
        self._requests: list[Received] = []
        self._closed_early: list[Received] = []
        self._scripts: dict[str, deque[str]] = {}
        self._turns: dict[str, int] = {}
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._stop, self._released = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fake-provider", daemon=True)

    # What a test uses.

    @property
    def url(self) -> str:
        """The root, as Anthropic's and Cohere's clients want it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_base(self) -> str:
        """The base as OpenAI's client wants it."""
        return f"{self.url}/v1"

    def at(self, behaviour: str, version: str = "/v1") -> str:
        """The base of a deployment that behaves so, whatever model it is asked for."""
        return f"{self.url}/as/{behaviour}{version}"

    @property
    def requests(self) -> list[Received]:
        """Every request since the last `reset`, in order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def closed_early(self) -> list[Received]:
        """The requests whose client left before it had the whole answer."""
        with self._changed:
            return list(self._closed_early)

    def script(self, name: str, behaviours: Iterable[str]) -> None:
        """Queue ``behaviours`` for ``script:name``, one for each request; a request beyond them is an error 418.

        Raises:
            ValueError: one of them is no behaviour.
        """
        queue = deque(behaviours)
        if unknown := [text for text in queue if parse(text) is None]:
            raise ValueError(f"no such behaviour: {', '.join(unknown)}; known: {', '.join(VOCABULARY)}")
        with self._changed:
            self._scripts[name] = queue

    def release(self) -> None:
        """Answer the requests that ``hold`` keeps waiting, now and until the next `reset`."""
        self._loop.call_soon_threadsafe(self._released.set)

    def reset(self) -> None:
        """Forget the requests, scripts and turns."""
        with self._changed:
            for memory in (self._requests, self._closed_early, self._scripts, self._turns):
                memory.clear()
        self._loop.call_soon_threadsafe(self._released.clear)

    def wait_until(self, condition: Callable[[FakeProvider], bool], timeout: float = 10.0) -> bool:
        """Wait until ``condition`` of this provider holds, at most ``timeout`` seconds; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    def start(self) -> FakeProvider:
        """Serve from now on."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving; whoever still waits for an answer loses the connection."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
        self._socket.close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.close()

    # The server.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        def connected() -> asyncio.Protocol:
            return asyncio.StreamReaderProtocol(Connection(self._loop), self._serve, loop=self._loop)

        server = await self._loop.create_server(connected, sock=self._socket, backlog=1024)
        await self._stop.wait()
        server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=5) if rest else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, Connection)
        reader.writer = writer
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while request := await reader.next_request():
                received, known = self._receive(request)
                try:
                    await self._answer(reader, received, known)
                except (ClientLeft, ConnectionError):
                    with self._changed:
                        self._closed_early.append(received)
                        self._changed.notify_all()
                    return
                if writer.is_closing() or request.headers.get("connection", "").lower() == "close":
                    return

    def _receive(self, request: HttpRequest) -> tuple[Received, Behaviour | None]:
        """Write the request down, and choose the behaviour; None if there is none of that name."""
        prefixed = _AS.match(request.path)
        path = prefixed[2] if prefixed else request.path
        fields = request.fields()
        in_path = _MODEL_IN_PATH.search(path)
        model = unquote(in_path[1]) if in_path else str(fields.get("model") or "")
        asked = unquote(prefixed[1]) if prefixed else model
        with self._changed:
            text = self._next(asked)
            behaviour = parse(text)
            if behaviour is None and not prefixed and text == asked:
                text, behaviour = "ok", Behaviour()
            self._count += 1
            received = Received(
                self._count, request.method, path, request.query, request.headers, request.body, fields, model, text, time.monotonic()
            )
            self._requests.append(received)
            self._changed.notify_all()
        return received, behaviour

    def _next(self, asked: str) -> str:
        """One behaviour of those that ``asked`` stands for: it may be a script or a list."""
        if asked.startswith("script:"):
            queue = self._scripts.get(asked.removeprefix("script:"))
            return queue.popleft() if queue else "nothing left of " + asked
        if "," not in asked:
            return asked
        turns = asked.split(",")
        turn = self._turns[asked] = self._turns.get(asked, -1) + 1
        return turns[min(turn, len(turns) - 1)]

    async def _answer(self, connection: Connection, received: Received, behaviour: Behaviour | None) -> None:
        route = route_of(received.path)
        dialect = route.dialect if route else OPENAI
        headers = {"x-request-id": f"req_{received.number:06d}", "request-id": f"req_{received.number:06d}"}
        headers |= {"openai-processing-ms": "5", "x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "999"}
        error = behaviour.error if behaviour else dataclasses.replace(_UNKNOWN, message=f"no such behaviour: {received.behaviour}")
        if route is None:
            error = dataclasses.replace(ERRORS["error-404"], message=f"Unknown path {received.path}", code=None)
        behaviour = behaviour or Behaviour()
        await connection.pause(behaviour.delay)
        if behaviour.hold:
            await connection.until(self._released)
        if behaviour.cut_after == 0 and behaviour.cut in ("reset", "close"):
            return connection.cut(reset=behaviour.cut == "reset")
        if error or route is None:
            assert error
            message = f"{error.message} Prompt: {received.prompt}" if behaviour.echo else error.message
            body = json_answer(dialect.error(error, message, received.number))
            return await connection.send(error.status, body.content_type, body.body, {**headers, **error.headers})
        call = Call(received.number, received.model, received.json, behaviour, compose(received.json, behaviour))
        answer = route.answer(call)
        if answer.chunks is None:
            body_bytes = answer.body[: len(answer.body) // 2] if behaviour.bad_json else answer.body
            return await connection.send(200, answer.content_type, body_bytes, headers)
        await connection.send_chunks(answer.content_type, self._paced(connection, answer.chunks, behaviour, dialect, received.number), headers)

    async def _paced(
        self, connection: Connection, chunks: Sequence[bytes], behaviour: Behaviour, dialect: Dialect, number: int
    ) -> AsyncIterator[bytes]:
        """The chunks at their pace, up to the point where the behaviour cuts the stream off."""
        for index, chunk in enumerate(chunks):
            if index == behaviour.cut_after:
                match behaviour.cut:
                    case "error":
                        yield dialect.event(ERRORS["error-500"], ERRORS["error-500"].message, number)
                        return
                    case "stall":
                        await connection.pause(SILENCE)
                await connection.pause(_SEEN)
                connection.cut(reset=behaviour.cut == "reset")
                return
            if index:
                await connection.pause(behaviour.pause)
            yield chunk[: len(chunk) // 2] + b"\n\n" if behaviour.bad_json else chunk


def main(argv: Sequence[str] | None = None) -> int:
    """Run the provider alone until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m otel_llm_bridge.demo.provider", description="A fake provider of language models on 127.0.0.1.", epilog="behaviours: " + ", ".join(VOCABULARY))
    parser.add_argument("--port", type=int, default=8080, help="port on 127.0.0.1; 0 is a free one (default: %(default)s)")
    port = parser.parse_args(argv).port
    try:
        provider = FakeProvider(port)
    except (OSError, OverflowError) as error:
        parser.exit(2, f"port {port} cannot be used: {error}\n")
    with provider:
        print(f"{provider.api_base} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""As much of HTTP/1.1 as a fake provider needs, on asyncio's streams: keep-alive, chunked answers, and noticing that the client left."""

from __future__ import annotations

import asyncio
import dataclasses
import email
import http
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

_LIMIT: Final = 1024 * 1024


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


@dataclasses.dataclass(frozen=True)
class HttpRequest:
    """One request; the names of its headers are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """What the body says: a JSON object, or the fields of a form that are not files."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            form = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.body)
            return {
                str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True)).decode(errors="replace")
                for part in form.walk()
                if not part.is_multipart() and part.get_filename() is None
            }
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Connection(asyncio.StreamReader):
    """One client's connection. As a reader it is told of the client's end at once, even while it only writes."""

    writer: asyncio.StreamWriter

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LIMIT, loop=loop)
        self._gone = asyncio.Event()

    def feed_eof(self) -> None:
        """Called by asyncio when the client has closed its side."""
        super().feed_eof()
        self._gone.set()

    def set_exception(self, exc: Exception) -> None:
        """Called by asyncio when the connection broke."""
        super().set_exception(exc)
        self._gone.set()

    async def next_request(self) -> HttpRequest | None:
        """The next request, or None when the client is done or does not speak HTTP."""
        try:
            head = await self.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if headers.get("transfer-encoding", "").lower() == "chunked":
                body = b"".join([chunk async for chunk in self._chunks()])
            else:
                body = await self.readexactly(int(headers.get("content-length", 0)))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return None
        path, _, query = target.partition("?")
        return HttpRequest(method, path, query, headers, body)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await self.readexactly(size)
            await self.readexactly(2)
        await self.readuntil(b"\r\n")

    async def pause(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            ClientLeft: the client did not.
        """
        if seconds and not self._gone.is_set():
            try:
                await asyncio.wait_for(self._gone.wait(), seconds)
            except asyncio.TimeoutError:
                return
        if self._gone.is_set():
            raise ClientLeft

    async def until(self, event: asyncio.Event) -> None:
        """Wait for ``event``.

        Raises:
            ClientLeft: the client did not.
        """
        waits = [asyncio.ensure_future(waiting.wait()) for waiting in (event, self._gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise ClientLeft

    def cut(self, reset: bool) -> None:
        """End the connection without another byte; the client sees "connection reset by peer" if ``reset``."""
        if reset:
            # Closing a socket that lingers for zero seconds is what makes the kernel send RST.
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer."""
        self.writer.write(_head(status, {"content-type": content_type, "content-length": str(len(body)), **headers}) + body)
        await self.writer.drain()

    async def send_chunks(self, content_type: str, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        """A streamed answer, each chunk as soon as it is there.

        Raises:
            ClientLeft, ConnectionError: the client left in the middle.
        """
        self.writer.write(_head(200, {"content-type": content_type, "transfer-encoding": "chunked", "cache-control": "no-cache", **headers}))
        async for chunk in chunks:
            self.writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await self.writer.drain()
        if not self.writer.is_closing():
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    reason = http.HTTPStatus(status).phrase
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")

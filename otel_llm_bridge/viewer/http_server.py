"""OTLP over HTTP/1.1 on loopback, with the standard library: framing, checks, faults; what is done with a request is the receiver's."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import socketserver
import struct
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from google.protobuf.message import DecodeError, Message

from . import otlp_json
from .faults import Fault
from .intake import Intake, success
from .signals import BY_PATH, Signal

#: The child of `otel-llm-bridge run` posts its own figures here, to be compared with what arrived.
REPORT_PATH: Final = "/otel-llm-bridge/report"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_MB: Final = 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: int, text: str) -> Reply:
        """A plain sentence."""
        return cls(status, text.encode() + b"\n")

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Reply:
        """A JSON document."""
        return cls(status, json.dumps(value, ensure_ascii=False).encode(), JSON)


class Refusal(Exception):
    """A request that is answered with an error; carries the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reply = Reply.text(status, text)


#: (path, query) -> the answer to a GET request, or None when there is nothing at that path.
OnGet = Callable[[str, Mapping[str, list[str]]], "Reply | None"]


class HttpServer(socketserver.ThreadingTCPServer):
    """Listens on a loopback address until `stop`.

    Args:
        address: host and port; port 0 takes a free one.
        intake: what is done with an export request.
        report: what is done with a report of the instrumented process.
        pages: what GET requests are answered with.
        max_bytes: size of a body, packed and unpacked.

    Raises:
        OSError: the port is taken.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        intake: Intake,
        report: Callable[[Mapping[str, Any]], None],
        pages: OnGet | None = None,
        max_bytes: int = 20 * _MB,
    ) -> None:
        self.intake, self.report, self.pages, self.max_bytes = intake, report, pages, max_bytes
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="otlp-http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's fault; the base class would print a traceback."""

    def stop(self) -> None:
        """Stop listening and close what is open: a kept-alive connection must not outlive its receiver."""
        self.shutdown()
        self.server_close()
        self._thread.join(5)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True
    server: HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: stderr belongs to the program that is watched."""

    def version_string(self) -> str:
        return "otel-llm-bridge"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, handle: Callable[[], Reply | None]) -> None:
        try:
            self._check_host()
            reply = handle()
        except Refusal as refusal:
            reply = refusal.reply
            # What is left of the body would be read as the next request.
            self.close_connection = True
        if reply is not None:
            self._send(reply)

    def _check_host(self) -> None:
        """A page of the web that had its name resolved to 127.0.0.1 sends its own name here (DNS rebinding)."""
        host = urlsplit("//" + self.headers.get("Host", "")).hostname or ""
        with contextlib.suppress(ValueError):
            if host == "localhost" or ipaddress.ip_address(host).is_loopback:
                return
        raise Refusal(403, "This server answers to a loopback host name only.")

    def _get(self) -> Reply:
        url = urlsplit(self.path)
        if self.server.pages is not None:
            reply = self.server.pages(url.path, parse_qs(url.query))
            if reply is not None:
                return reply
        if url.path in BY_PATH:
            return Reply(405, b"Use POST.\n", headers={"Allow": "POST"})
        return Reply.text(404, "There is nothing here.")

    def _post(self) -> Reply | None:
        path = urlsplit(self.path).path
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if path == REPORT_PATH:
            self.server.report(self._report(kind))
            return Reply.json({})
        signal = BY_PATH.get(path)
        if signal is None:
            raise Refusal(404, "OTLP goes to " + ", ".join(BY_PATH))
        # Without this check a page of the web could write here: these two types need a preflight, which nobody answers.
        if kind not in (PROTOBUF, JSON):
            raise Refusal(415, f"The content type must be {PROTOBUF} or {JSON}.")
        body = self._body()
        fault = self.server.intake(
            signal, dict(self.headers.items()), body, lambda: _parse(signal, kind, body), lambda: False
        )
        return self._export_reply(signal, kind, fault)

    def _report(self, kind: str) -> Mapping[str, Any]:
        if kind != JSON:
            raise Refusal(415, f"The content type must be {JSON}.")
        try:
            report = json.loads(self._body())
        except (ValueError, RecursionError):
            raise Refusal(400, "The report is not JSON.") from None
        if not isinstance(report, dict):
            raise Refusal(400, "The report is not an object.")
        return report

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise Refusal(411, "A Content-Length is needed.")
        if int(length) > self.server.max_bytes:
            raise Refusal(413, f"The body is larger than {self.server.max_bytes} bytes.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refusal(400, "The body ended early.")
        encoding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding == "identity":
            return body
        if encoding not in ("gzip", "deflate"):
            raise Refusal(415, "The content encoding must be gzip, deflate or identity.")
        unpack = zlib.decompressobj(wbits=47)
        try:
            plain = unpack.decompress(body, self.server.max_bytes)
        except zlib.error:
            raise Refusal(400, "The body is not what its encoding says.") from None
        if unpack.unconsumed_tail or not unpack.eof:
            raise Refusal(413 if unpack.unconsumed_tail else 400, "The unpacked body is too large or cut short.")
        return plain

    def _export_reply(self, signal: Signal, kind: str, fault: Fault) -> Reply | None:
        if fault.drop:
            # Linger 0 turns the close into a reset, as a dying Collector sends it.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return None
        if fault.hold:
            # Whoever was held until the receiver stopped gets no answer at all.
            self.close_connection = True
            return None
        if fault.status is not None:
            headers = {"Retry-After": f"{fault.retry_after:g}"} if fault.retry_after is not None else {}
            if fault.location:
                headers["Location"] = fault.location + signal.path
            return Reply(fault.status, b"", kind, headers)
        message = success(signal, fault)
        return Reply(200, otlp_json.dump(message).encode() if kind == JSON else message.SerializeToString(), kind)

    def _send(self, reply: Reply) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            self.send_response(reply.status)
            headers = {
                "Content-Type": reply.content_type,
                "Content-Length": str(len(reply.body)),
                "X-Content-Type-Options": "nosniff",
                **({"Connection": "close"} if self.close_connection else {}),
                **reply.headers,
            }
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)


def _parse(signal: Signal, kind: str, body: bytes) -> Message:
    message: Message = signal.request()
    try:
        if kind == JSON:
            otlp_json.parse(body, message)
        else:
            message.ParseFromString(body)
    except (DecodeError, otlp_json.InvalidOtlp) as error:
        raise Refusal(400, f"The body is not a {signal.name} request: {error}") from None
    return message

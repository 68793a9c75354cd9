"""A receiver that takes every OTLP request, parses nothing, and keeps the last body of each path.

A process of its own, so that its work is nobody's cost. ``GET path`` gives the last body back.
"""

from __future__ import annotations

import socketserver
from typing import Final

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n"
_last: Final[dict[bytes, bytes]] = {}


class Handler(socketserver.StreamRequestHandler):
    """Answers requests of one connection, as long as it is open."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Read, remember, answer."""
        while line := self.rfile.readline():
            method, path, _ = line.split(b" ", 2)
            length = 0
            while line not in (b"\r\n", b""):
                line = self.rfile.readline()
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = self.rfile.read(length)
            if method == b"GET":
                body = _last.get(path, b"")
            else:
                _last[path] = body
                body = b""
            self.wfile.write(_HEAD % len(body) + body)
            self.wfile.flush()


class Server(socketserver.ThreadingTCPServer):
    """One thread a connection."""

    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()

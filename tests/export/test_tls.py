"""TLS: the certificate files of the standard variables, for both protocols, with and without a client's certificate."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from otel_llm_bridge.export.otlp_env import GRPC, HTTP, Endpoint
from otel_llm_bridge.export.transport import Verdict, connect

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program to make certificates")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for loopback that serves as authority, server and client."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@contextmanager
def _https(folder: Path, mutual: bool, bodies: list[bytes]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "cert.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/v1/traces"
    server.shutdown()
    server.server_close()


class _Generic(grpc.GenericRpcHandler):
    def __init__(self, bodies: list[bytes]) -> None:
        self._bodies = bodies

    def service(self, _: Any) -> Any:
        def take(body: bytes, context: Any) -> bytes:
            self._bodies.append(body)
            return b""

        return grpc.unary_unary_rpc_method_handler(take)


@contextmanager
def _grpcs(folder: Path, mutual: bool, bodies: list[bytes]) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[_Generic(bodies)])
    pair = ((folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pair[1] if mutual else None, require_client_auth=mutual)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"https://127.0.0.1:{port}"
    server.stop(0).wait(10)


_SERVERS = {HTTP: _https, GRPC: _grpcs}


@pytest.mark.parametrize("protocol", _SERVERS)
@pytest.mark.parametrize(
    ("mutual", "trusts", "identifies", "arrives"),
    [(False, True, False, True), (False, False, False, False), (True, True, True, True), (True, True, False, False)],
    ids=["trusted", "unknown authority", "mutual", "no client certificate"],
)
def test_certificates_are_used_and_checked(
    protocol: str, mutual: bool, trusts: bool, identifies: bool, arrives: bool, certificates: Path
) -> None:
    """A request arrives exactly when both sides can prove who they are; otherwise it is kept for later."""
    bodies: list[bytes] = []
    with _SERVERS[protocol](certificates, mutual, bodies) as url:
        endpoint = Endpoint(
            protocol, url,
            ca_file=str(certificates / "cert.pem") if trusts else "",
            key_file=str(certificates / "key.pem") if identifies else "",
            certificate_file=str(certificates / "cert.pem") if identifies else "",
        )  # fmt: skip
        transport = connect(endpoint, "traces")
        outcome = transport.send(b"bytes", 10.0)
        transport.close()
    assert outcome.verdict is (Verdict.DELIVERED if arrives else Verdict.RETRY), outcome
    assert bodies == ([b"bytes"] if arrives else [])

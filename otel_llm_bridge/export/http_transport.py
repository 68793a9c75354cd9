"""OTLP over HTTP, with the standard library: a connection that is kept, TLS, proxies, ``Retry-After``."""

from __future__ import annotations

# Looking up a host imports this codec: not in the worker, where a fork would leave its import lock held.
import encodings.idna  # noqa: F401
import gzip
import http.client
import math
import ssl
import time
import urllib.request
from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from .otlp_env import Endpoint
from .transport import Outcome, Transport, Verdict, delivered

#: Everything that is neither success nor named here is sent again: 3xx, 401 and 404 are wrong settings that
#: somebody puts right, and the rest says that it is temporary.
_HTTP_VERDICTS: Final = {400: Verdict.REJECTED, 413: Verdict.TOO_LARGE, 415: Verdict.REJECTED, 422: Verdict.REJECTED}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class HttpTransport(Transport):
    """OTLP over HTTP with a connection that is kept open."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._parts = urlsplit(endpoint.url)
        self._connection: http.client.HTTPConnection | None = None
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": "otel-llm-bridge-otlp",
            **({"content-encoding": "gzip"} if endpoint.gzip else {}),
            **dict(endpoint.headers),
        }
        path = self._parts.path or "/"
        self._path = f"{path}?{self._parts.query}" if self._parts.query else path
        self._proxy = _proxy_for(self._parts)
        if self._proxy is not None and self._parts.scheme == "http":
            # A proxy is asked for the whole URL; only TLS goes through a tunnel.
            self._path = endpoint.url
            self._headers.update(_proxy_authorization(self._proxy))

    def send(self, body: bytes, timeout: float) -> Outcome:
        if self._endpoint.gzip:
            body = gzip.compress(body, 1)
        reused = self._connection is not None
        try:
            return self._send(body, timeout)
        except (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest) as error:
            self.close()
            if not reused:
                return Outcome(Verdict.RETRY, detail=type(error).__name__)
        except Exception as error:  # whatever the network does, it is an outcome
            self.close()
            return Outcome(Verdict.RETRY, detail=type(error).__name__)
        # The receiver had closed the idle connection: that says nothing about this request.
        try:
            return self._send(body, timeout)
        except Exception as error:
            self.close()
            return Outcome(Verdict.RETRY, detail=type(error).__name__)

    def _send(self, body: bytes, timeout: float) -> Outcome:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open(timeout)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request("POST", self._path, body, self._headers)
        response = connection.getresponse()
        answer = response.read(4 * 1024 * 1024)
        if response.will_close:
            self.close()
        status = response.status
        if 200 <= status < 300:
            return delivered(answer, str(status))
        verdict = _HTTP_VERDICTS.get(status, Verdict.RETRY)
        return Outcome(verdict, retry_after=retry_after(response.getheader("retry-after")), detail=str(status))

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "localhost", self._parts.port
        secure, via = self._parts.scheme == "https", self._proxy
        at, at_port = (via.hostname or "", via.port or 80) if via else (host, port)
        if secure:
            context = ssl.create_default_context(cafile=self._endpoint.ca_file or None)
            if self._endpoint.certificate_file:
                context.load_cert_chain(self._endpoint.certificate_file, self._endpoint.key_file or None)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(at, at_port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(at, at_port, timeout=timeout)
        if via and secure:
            connection.set_tunnel(host, port or 443, headers=_proxy_authorization(via))
        return connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        # Closing the descriptor says nothing to the receiver as long as the parent holds its own.
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None and not isinstance(connection.sock, ssl.SSLSocket):
            connection.close()


def _proxy_for(parts: SplitResult) -> SplitResult | None:
    """The proxy of the environment; none for this machine itself."""
    host = parts.hostname or "localhost"
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + b64encode(secret.encode()).decode()}


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds in a ``Retry-After`` header: a number, or a date; ``None`` when it is neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None

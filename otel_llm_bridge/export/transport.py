"""One OTLP request: bytes out, what became of them back.

The stock exporters keep to themselves what a ledger needs (partial success, ``Retry-After``, the status),
retry inside a call that cannot be bounded, and follow redirects without sending the body again. So requests
are sent here, over `http.client` and `grpc`, and every retry is decided in one place (`delivery`).
"""

from __future__ import annotations

import dataclasses

# Looking up a host imports this codec: not in the worker, where a fork would leave its import lock held.
import encodings.idna  # noqa: F401
import enum
import gzip
import http.client
import math
import ssl
import time
import urllib.request
from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from .otlp_env import GRPC, Endpoint


class Verdict(enum.Enum):
    """What is to be done with a request that was sent."""

    DELIVERED = "delivered"
    #: Not taken now: send it again later.
    RETRY = "retry"
    #: The receiver will never take these bytes.
    REJECTED = "rejected"
    #: Too large for the receiver: send less at once.
    TOO_LARGE = "too_large"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The answer to one request.

    Attributes:
        verdict: what is to be done.
        rejected: items that a receiver refused although it took the request (partial success).
        retry_after: seconds that the receiver asked us to wait.
        detail: a short word for logs and metrics: a status or the name of an error.
    """

    verdict: Verdict
    rejected: int = 0
    retry_after: float | None = None
    detail: str = ""


class Transport(Protocol):
    """Sends requests of one signal; used from one thread at a time."""

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Send one serialised request. Never raises; takes ``timeout`` seconds at most, roughly."""

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""

    def forget(self) -> None:
        """In a forked child: drop the parent's connection without a word on the wire."""


def connect(endpoint: Endpoint, signal: str) -> Transport:
    """The transport for ``endpoint``."""
    return GrpcTransport(endpoint, signal) if endpoint.protocol == GRPC else HttpTransport(endpoint)


def _delivered(body: bytes, detail: str) -> Outcome:
    """Success, whole or partial. The three signals answer with the same fields."""
    rejected = 0
    if body:
        try:
            rejected = ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans
        except Exception:  # a success with a body of another kind is still a success
            rejected = 0
    return Outcome(Verdict.DELIVERED, rejected=max(0, rejected), detail=detail)


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
            return _delivered(answer, str(status))
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


#: Codes that say that these bytes will never be taken. All others are sent again.
_GRPC_REJECTED: Final = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "DATA_LOSS"})

_SERVICES: Final = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}


class GrpcTransport(Transport):
    """OTLP over gRPC. The bytes are sent as they are: no message object is built again."""

    def __init__(self, endpoint: Endpoint, signal: str) -> None:
        # Here and not where it is used: a fork during an import in the worker would leave the module's lock
        # held for ever in the child.
        import grpc._channel  # what a first channel would import
        from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

        self._grpc, self._details, self._statuses = grpc, error_details_pb2, status_pb2
        self._endpoint = endpoint
        self._service = _SERVICES[signal]
        self._channel: Any = None
        self._call: Any = None
        self._abandoned: list[Any] = []

    def send(self, body: bytes, timeout: float) -> Outcome:
        try:
            if self._call is None:
                self._open()
            return _delivered(self._call(body, timeout=timeout, metadata=self._endpoint.headers), "OK")
        except self._grpc.RpcError as error:
            return self._refused(error)
        except Exception as error:  # whatever the network does, it is an outcome
            self.close()
            return Outcome(Verdict.RETRY, detail=type(error).__name__)

    def _open(self) -> None:
        grpc, parts = self._grpc, urlsplit(self._endpoint.url)
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        compression = grpc.Compression.Gzip if self._endpoint.gzip else grpc.Compression.NoCompression
        if self._endpoint.insecure:
            self._channel = grpc.insecure_channel(parts.netloc, options=options, compression=compression)
        else:
            credentials = grpc.ssl_channel_credentials(
                *(_read_file(path) for path in (self._endpoint.ca_file, self._endpoint.key_file, self._endpoint.certificate_file))
            )
            self._channel = grpc.secure_channel(parts.netloc, credentials, options=options, compression=compression)
        self._call = self._channel.unary_unary(self._service)

    def _refused(self, error: Any) -> Outcome:
        code = error.code().name
        details = error.details() or ""
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in details:
            return Outcome(Verdict.TOO_LARGE, detail=code)
        if code in _GRPC_REJECTED:
            return Outcome(Verdict.REJECTED, detail=code)
        if code == "UNAVAILABLE":
            # A fresh channel tries at once; the old one waits out its own back-off.
            self.close()
        return Outcome(Verdict.RETRY, retry_after=self._retry_after(error), detail=code)

    def _retry_after(self, error: Any) -> float | None:
        """``RetryInfo``: inside the status details, as the OTLP specification says, or as a trailer of its own."""
        info = self._details.RetryInfo()
        for key, value in error.trailing_metadata() or ():
            if key == "google.rpc.retryinfo-bin":
                info.ParseFromString(value)
                return _seconds(info)
            if key == "grpc-status-details-bin":
                for detail in self._statuses.Status.FromString(value).details:
                    if detail.Is(info.DESCRIPTOR):
                        detail.Unpack(info)
                        return _seconds(info)
        return None

    def close(self) -> None:
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()

    def forget(self) -> None:
        # A channel must not be closed, nor collected, in a process that has not its threads.
        if self._channel is not None:
            self._abandoned.append((self._channel, self._call))
        self._channel = self._call = None


def _read_file(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


def _seconds(info: Any) -> float:
    return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)

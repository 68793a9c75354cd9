"""OTLP over gRPC."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from .otlp_env import Endpoint
from .transport import Outcome, Transport, Verdict, delivered

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
            return delivered(self._call(body, timeout=timeout, metadata=self._endpoint.headers), "OK")
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

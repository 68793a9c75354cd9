"""One OTLP request: bytes out, what became of them back.

The stock exporters keep to themselves what a ledger needs (partial success, ``Retry-After``, the status),
retry inside a call that cannot be bounded, and follow redirects without sending the body again. So requests
are sent here, over `http.client` and `grpc`, and every retry is decided in one place (`delivery`).
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Protocol

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
    if endpoint.protocol == GRPC:
        from .grpc_transport import GrpcTransport

        return GrpcTransport(endpoint, signal)
    from .http_transport import HttpTransport

    return HttpTransport(endpoint)


def delivered(body: bytes, detail: str) -> Outcome:
    """Success, whole or partial. The three signals answer with the same fields."""
    rejected = 0
    if body:
        try:
            rejected = ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans
        except Exception:  # a success with a body of another kind is still a success
            rejected = 0
    return Outcome(Verdict.DELIVERED, rejected=max(0, rejected), detail=detail)

"""How the receiver misbehaves when a test, or a curious user, asks for it: one record, one constructor a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import grpc


@dataclass(frozen=True)
class Fault:
    """What the receiver does with the next requests. A field that is not set changes nothing."""

    name: str
    #: HTTP status of a refusal; the gRPC status follows from `GRPC_STATUS`.
    status: int | None = None
    #: Seconds, sent as ``Retry-After`` over HTTP and as ``RetryInfo`` over gRPC.
    retry_after: float | None = None
    #: Seconds before the request is taken in and answered.
    delay: float = 0.0
    #: Hold the request unanswered until the fault is changed or the receiver stops.
    hold: bool = False
    #: Close the connection instead of answering.
    drop: bool = False
    #: Whether what was sent is stored.
    accept: bool = True
    #: Items that the partial success of the answer counts as refused.
    rejected: int = 0
    location: str = ""

    none: ClassVar[Fault]
    hang: ClassVar[Fault]
    reset: ClassVar[Fault]
    lost_answer: ClassVar[Fault]
    unauthorised: ClassVar[Fault]

    @classmethod
    def refuse(cls, status: int = 503, retry_after: float | None = None) -> Fault:
        """Answer with an error status and store nothing."""
        return cls("refuse", status=status, retry_after=retry_after, accept=False)

    @classmethod
    def too_many_requests(cls, retry_after: float | None = None) -> Fault:
        """429 over HTTP, RESOURCE_EXHAUSTED over gRPC."""
        return cls("too_many_requests", status=429, retry_after=retry_after, accept=False)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """Take in and answer after ``seconds``, whether or not the client still waits."""
        return cls("slow", delay=seconds)

    @classmethod
    def partial_success(cls, rejected: int) -> Fault:
        """Answer 200 or OK and say that ``rejected`` items were refused; nothing is stored."""
        return cls("partial_success", rejected=rejected, accept=False)

    @classmethod
    def redirect_307(cls, location: str) -> Fault:
        """Send the client elsewhere. gRPC knows no redirect: UNIMPLEMENTED there."""
        return cls("redirect_307", status=307, location=location, accept=False)


Fault.none = Fault("none")
Fault.hang = Fault("hang", hold=True, accept=False)
Fault.reset = Fault("reset", drop=True, accept=False)
#: Stored, but the client never hears of it: what makes delivery "at least once".
Fault.lost_answer = Fault("lost_answer", drop=True)
Fault.unauthorised = Fault("unauthorised", status=401, accept=False)

#: HTTP status -> gRPC status, as the OTLP specification pairs them; others are INTERNAL.
GRPC_STATUS: Final = {
    307: grpc.StatusCode.UNIMPLEMENTED,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

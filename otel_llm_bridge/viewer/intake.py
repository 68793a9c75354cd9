"""What both servers of the receiver do alike: hand an export request over, and answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import Message

from .faults import Fault
from .signals import Signal

#: (signal, headers, body, parse, gone) -> the fault that holds for this request, after it was taken in.
#: ``gone`` tells whether the client has given up, where the transport can know.
Intake = Callable[[Signal, Mapping[str, str], bytes, Callable[[], Message], Callable[[], bool]], Fault]


def success(signal: Signal, fault: Fault) -> Message:
    """The answer to a request that was taken in, with the partial success that the fault asks for."""
    message: Message = signal.response()
    if fault.rejected:
        partial = message.partial_success  # type: ignore[attr-defined]
        setattr(partial, signal.rejected_field, fault.rejected)
        partial.error_message = "refused on request"
    return message

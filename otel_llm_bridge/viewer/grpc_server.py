"""OTLP over gRPC on loopback: one generic method handler for each row of the signal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from .faults import GRPC_STATUS, Fault
from .intake import Intake, success
from .signals import SIGNALS, Signal

_WORKERS: Final = 32


class GrpcServer:
    """Listens on a loopback address until `stop`.

    Args:
        address: ``host:port``; port 0 takes a free one.
        intake: what is done with an export request.
        max_bytes: size of one message; the same default as the Collector's (4 MiB).
        on_cancel: called when a client goes away before its answer.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, address: str, intake: Intake, max_bytes: int, on_cancel: Callable[[], None]) -> None:
        self._intake, self._on_cancel = intake, on_cancel
        self._server = grpc.server(
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="otlp-grpc"),
            # Without so_reuseport=0 a second receiver would silently share the port and take half of the spans.
            options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", max_bytes)),
        )
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(signal.service, {"Export": self._method(signal)})
                for signal in SIGNALS
            )
        )
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError:
            self.port = 0
        if not self.port:
            self._server.stop(None)
            raise OSError(f"cannot listen on {address}")
        self._server.start()

    def stop(self) -> None:
        """Stop listening; calls that are held get no answer."""
        self._server.stop(None).wait(5)

    def _method(self, signal: Signal) -> Any:
        def export(body: bytes, context: grpc.ServicerContext) -> Message:
            context.add_callback(self._on_cancel)
            metadata: Mapping[str, str] = {
                key: value if isinstance(value, str) else value.hex() for key, value in context.invocation_metadata()
            }
            fault = self._intake(signal, metadata, body, lambda: _parse(signal, body, context), lambda: not context.is_active())
            if fault.status is not None:
                _refuse(context, fault)
            if fault.drop or fault.hold:
                # grpcio lets a servicer not cut the connection; to the client this is the same status.
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset on request")
            return success(signal, fault)

        # No deserializer: the raw bytes are kept for whoever wants to search them.
        return grpc.unary_unary_rpc_method_handler(export, response_serializer=lambda reply: reply.SerializeToString())


def _parse(signal: Signal, body: bytes, context: grpc.ServicerContext) -> Message:
    message: Message = signal.request()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a {signal.name} request: {error}")
    return message


def _refuse(context: grpc.ServicerContext, fault: Fault) -> NoReturn:
    code = GRPC_STATUS.get(fault.status or 500, grpc.StatusCode.INTERNAL)
    if fault.retry_after is not None:
        status = Status(code=code.value[0], message="refused on request")
        delay = Duration()
        delay.FromMilliseconds(round(fault.retry_after * 1000))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "refused on request")

"""An OTLP receiver inside the process: HTTP and gRPC on loopback, into a `Store`, with faults on request."""

from __future__ import annotations

import ipaddress
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from google.protobuf.message import Message

from .faults import Fault
from .grpc_server import GrpcServer
from .http_server import REPORT_PATH, HttpServer, OnGet
from .intake import Intake
from .signals import Signal
from .store import Store

_MB: Final = 1024 * 1024
#: What a kept request costs beside its body: its headers and the record, in bytes.
_REQUEST_OVERHEAD: Final = 2048
#: Called with each request that was stored, in the order of arrival, one at a time.
Listener = Callable[[Signal, Message], None]


@dataclass(frozen=True)
class Request:
    """One export request as it came in; ``body`` is unpacked."""

    protocol: str
    signal: str
    headers: Mapping[str, str]
    body: bytes
    #: Name of the fault that it met; ``none`` when it was stored and answered.
    fault: str


class Receiver:
    """Takes OTLP over HTTP and gRPC on a loopback address. Use it as a context manager.

    Args:
        store: where records go; a new one unless given.
        http_port: port for OTLP/HTTP, 0 for a free one.
        grpc_port: port for OTLP/gRPC, 0 for a free one, None for no gRPC.
        host: a loopback address.
        pages: what GET requests over HTTP are answered with.
        listeners: called with each stored request.
        keep_bytes: how much of the raw requests `requests` keeps, the newest first.
        max_http_bytes: size of an HTTP body (the Collector's default).
        max_grpc_bytes: size of a gRPC message (the Collector's default).

    Raises:
        ValueError: the host is not a loopback address.
        OSError: a port is taken; the message names it.
    """

    def __init__(
        self,
        store: Store | None = None,
        http_port: int = 0,
        grpc_port: int | None = 0,
        host: str = "127.0.0.1",
        pages: OnGet | None = None,
        listeners: tuple[Listener, ...] = (),
        keep_bytes: int = 256 * _MB,
        max_http_bytes: int = 20 * _MB,
        max_grpc_bytes: int = 4 * _MB,
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(f"{host!r} is not a loopback address; the receiver listens on loopback only")
        self.store = store if store is not None else Store()
        self._ports, self._host, self._pages, self._listeners = (http_port, grpc_port), host, pages, listeners
        self._keep_bytes, self._kept = keep_bytes, 0
        self._max_http_bytes, self._max_grpc_bytes = max_http_bytes, max_grpc_bytes
        self._changed = threading.Condition()
        self._listening = threading.Lock()
        self._requests: deque[Request] = deque()
        self._request_count = 0
        self._reports: list[Mapping[str, Any]] = []
        self._fault: Fault = Fault.none
        self._fault_times: int | None = None
        self._stopped = False
        self._http: HttpServer | None = None
        self._grpc: GrpcServer | None = None

    def start(self) -> Receiver:
        """Listen. Called by ``with``."""
        http_port, grpc_port = self._ports
        try:
            self._http = HttpServer(
                (self._host, http_port), self._intake_of("http"), self._take_report, self._pages, self._max_http_bytes
            )
        except OSError as error:
            raise OSError(f"port {http_port} (OTLP/HTTP) is not free: {error.strerror or error}") from None
        if grpc_port is not None:
            try:
                self._grpc = GrpcServer(
                    f"{self._bracketed}:{grpc_port}", self._intake_of("grpc"), self._max_grpc_bytes, self._wake
                )
            except OSError:
                self._http.stop()
                raise OSError(f"port {grpc_port} (OTLP/gRPC) is not free") from None
        return self

    def stop(self) -> None:
        """Close both servers and every open connection. Twice is once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for server in (self._http, self._grpc):
            if server is not None:
                server.stop()
        self._http = self._grpc = None

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def http_endpoint(self) -> str:
        """Base URL of OTLP/HTTP, for ``OTEL_EXPORTER_OTLP_ENDPOINT``.

        Raises:
            RuntimeError: the receiver is not running.
        """
        if self._http is None:
            raise RuntimeError("the receiver is not running")
        return f"http://{self._bracketed}:{self._http.port}"

    @property
    def grpc_endpoint(self) -> str:
        """URL of OTLP/gRPC, for ``OTEL_EXPORTER_OTLP_ENDPOINT``.

        Raises:
            RuntimeError: the receiver is not running, or without gRPC.
        """
        if self._grpc is None:
            raise RuntimeError("the receiver is not running, or has no gRPC")
        return f"http://{self._bracketed}:{self._grpc.port}"

    @property
    def report_url(self) -> str:
        """Where an instrumented process posts its own figures (see `otel_llm_bridge.export.report`)."""
        return self.http_endpoint + REPORT_PATH

    @property
    def fault(self) -> Fault:
        """What the receiver does with the next requests; setting it holds until it is set again."""
        with self._changed:
            return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._set_fault(fault, None)

    def fail_next(self, times: int, fault: Fault) -> None:
        """Apply ``fault`` to the next ``times`` requests, then none."""
        self._set_fault(fault, times)

    @property
    def requests(self) -> list[Request]:
        """The requests that came in, also those that met a fault; bounded by ``keep_bytes``."""
        with self._changed:
            return list(self._requests)

    @property
    def reports(self) -> list[Mapping[str, Any]]:
        """The reports that instrumented processes have posted."""
        with self._changed:
            return list(self._reports)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> Receiver:
        """Wait until ``count`` requests have come in, answered or not.

        Raises:
            TimeoutError: they did not come in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._request_count >= count, timeout):
                raise TimeoutError(f"{self._request_count} of {count} requests within {timeout:g} s")
        return self

    @property
    def _bracketed(self) -> str:
        return f"[{self._host}]" if ":" in self._host else self._host

    def _set_fault(self, fault: Fault, times: int | None) -> None:
        with self._changed:
            self._fault, self._fault_times = fault, times
            self._changed.notify_all()

    def _intake_of(self, protocol: str) -> Intake:
        def intake(
            signal: Signal,
            headers: Mapping[str, str],
            body: bytes,
            parse: Callable[[], Message],
            gone: Callable[[], bool],
        ) -> Fault:
            fault = self._meet(protocol, signal.name, headers, body)
            self._obey(fault, gone)
            if fault.accept:
                message = parse()
                self.store.add(signal.name, message)
                with self._listening:
                    for listener in self._listeners:
                        listener(signal, message)
            return fault

        return intake

    def _meet(self, protocol: str, signal: str, headers: Mapping[str, str], body: bytes) -> Fault:
        """Note the request, and take the fault that holds for it."""
        with self._changed:
            fault = self._fault
            if self._fault_times is not None:
                self._fault_times -= 1
                if self._fault_times <= 0:
                    self._fault, self._fault_times = Fault.none, None
            self._requests.append(Request(protocol, signal, headers, body, fault.name))
            self._request_count += 1
            self._kept += len(body) + _REQUEST_OVERHEAD
            while self._kept > self._keep_bytes and self._requests:
                self._kept -= len(self._requests.popleft().body) + _REQUEST_OVERHEAD
            self._changed.notify_all()
        return fault

    def _obey(self, fault: Fault, gone: Callable[[], bool]) -> None:
        """The waiting part of a fault; the end of the receiver ends it, for a held request the client's end too."""
        with self._changed:
            if fault.delay:
                self._changed.wait_for(lambda: self._stopped, fault.delay)
            if fault.hold:
                self._changed.wait_for(lambda: self._stopped or self._fault is not fault or gone())

    def _take_report(self, report: Mapping[str, Any]) -> None:
        with self._changed:
            self._reports.append(report)
            del self._reports[:-10_000]
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

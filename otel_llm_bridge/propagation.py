"""``traceparent`` on the request to the provider: for the hosts that the user names, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.context import Context

_propagator: Final = TraceContextTextMapPropagator()


class Traceparent:
    """Which hosts are sent the header.

    Args:
        hosts: names of hosts, ``.example.com`` for all below it, ``*`` for every host.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self.wanted = bool(self._hosts)

    def is_for(self, host: str | None) -> bool:
        """Whether ``host`` is one of them."""
        if "*" in self._hosts:
            return True
        host = (host or "").lower()
        return bool(host) and any(host == name or (name[0] == "." and host.endswith(name)) for name in self._hosts)

    def headers(self, given: Any, context: Context) -> dict[str, Any] | None:
        """``given``, which stays as it is, with the headers of ``context`` added; ``None`` when it has them."""
        headers = dict(given) if isinstance(given, Mapping) else {}
        if any(str(name).lower() == "traceparent" for name in headers):
            return None
        _propagator.inject(headers, context)
        return headers

"""What is delivered: one encoded span or log record, and the requests that are made of them.

An OTLP request is the concatenation of its parts, so the same bytes go to the disk and into the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from .wire import field, head, key_value, pack_fixed64


class Context(NamedTuple):
    """Resource and scope of an item: the parts of ``ResourceSpans`` and ``ScopeSpans`` beside the spans."""

    resource: bytes
    scope: bytes


class Item(NamedTuple):
    """One encoded span or log record."""

    context: Context
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a request or in a segment, at most: with tags, lengths and a resource of its own."""
        return len(self.body) + len(self.context.resource) + len(self.context.scope) + 64


def write(source: Any) -> None:
    """Have the rest of what is to be encoded written, where it may be handed over before (`call_span.CallSpan.write`)."""
    rest = getattr(source, "write", None)
    if rest is not None:
        rest()


def request(items: Iterable[Item]) -> bytes:
    """One OTLP request: items grouped by resource, then by scope. The same shape serves spans and logs.

    The bytes of an item are copied once: a batch of prompts is megabytes.
    """
    resources: dict[bytes, dict[bytes, list[bytes]]] = {}
    last: Context | None = None
    bodies: list[bytes] = []
    for item in items:
        if item.context is not last:
            last = item.context
            bodies = resources.setdefault(last.resource, {}).setdefault(last.scope, [])
        bodies += head(b"\x12", len(item.body)), item.body
    parts: list[bytes] = []
    for resource, scopes in resources.items():
        within = [resource]
        for scope, bodies in scopes.items():
            within += head(b"\x12", len(scope) + sum(map(len, bodies))), scope, *bodies
        parts += head(b"\x0a", sum(map(len, within))), *within
    return b"".join(parts)


def interrupted(body: bytes, end_ns: int, attribute: str, value: str) -> bytes:
    """The bytes of a started span, ended by a crash at ``end_ns``.

    Of a field that comes twice the last one counts, and messages are merged: so it is enough to append.
    """
    status = field(b"\x12", b"the process ended during this call") + b"\x18\x02"
    return body + b"\x41" + pack_fixed64(end_ns) + field(b"\x7a", status) + field(b"\x4a", key_value(attribute, value))

"""Spans as OTLP bytes, written straight to the wire format.

The SDK builds a protobuf message for each span and serialises that: four times the time. Here a span becomes
bytes once, when it ends or when it is sent. A test compares every field with the SDK's own encoder.

Source of the field numbers: opentelemetry-proto, ``trace/v1/trace.proto`` and ``common/v1/common.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..guard import report
from ..lazy import keep
from ..semconv import litellm as names
from ..shortening import cut, fit, shorten
from .items import Context, Item, write
from .wire import SMALL, any_value, field, head, key_value, pack_double, pack_fixed64, utf8, value_head, varint

_pack_time = struct.Struct("<BQBQ").pack
_pack_flags = struct.Struct("<HI").pack

# SpanKind of the API → of the protocol; flags of trace.proto.
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
#: Field 16, fixed32.
_FLAGS_TAG: Final = 0x85 | 0x01 << 8

#: Around a value: what was cut to the limit before, as content is, is not cut again.
_TAG_AND_LENGTH: Final = 6
#: The shortest limit of a value, in bytes.
_LEAST: Final = 256
_MAX_CACHED: Final = 4096
_CACHED_LENGTH: Final = 64


class BareSpan:
    """A span without attributes, events and links. They are counted as dropped."""

    attributes: Mapping[str, Any] = {}
    events = links = ()
    # The encoder looks behind the SDK's view of its attributes.
    _attributes = None

    def __init__(self, span: Any) -> None:
        self._span = span
        self.name = str(span.name)
        self.dropped_attributes = span.dropped_attributes + len(span.attributes or ())
        self.dropped_events = span.dropped_events + len(span.events)
        self.dropped_links = span.dropped_links + len(span.links)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)


class Encoder:
    """Encodes spans, with values of at most ``attribute_bytes`` bytes.

    Args:
        attribute_bytes: a longer value is shortened, and the span says which ones were.
        span_bytes: a span that is larger in all is encoded again with shorter values, and in the end without any.
    """

    def __init__(self, attribute_bytes: int = 256 * 1024, span_bytes: int = 3_500_000) -> None:
        self._limit = attribute_bytes
        self._span_bytes = span_bytes
        self._contexts: dict[tuple[int, int], tuple[object, object, Context]] = {}
        self._known: dict[tuple[bytes, str, Any], bytes] = {}
        self._before_numbers: dict[tuple[bytes, str, int], bytes] = {}
        self._events: dict[str, tuple[bytes, bytes]] = {}

    def encode(self, span: Any) -> Item:
        """The bytes of an SDK span.

        One that has a value which cannot be encoded, or that cannot be made small enough, keeps what says where it
        belongs and how it ended; its attributes, events and links are counted as dropped (the ``dropped_*_count`` of OTLP).
        """
        write(span)
        try:
            body = self._fitting(span)
        except Exception as error:  # a value of the program's own
            report("encoding", error)
            body = None
        return Item(self.context(span), self._body(self._bare(span), _LEAST) if body is None else body)

    def _fitting(self, span: Any) -> bytes | None:
        limit = self._limit
        body = self._body(span, limit)
        while len(body) > self._span_bytes:
            if limit <= _LEAST:
                return None
            limit = max(_LEAST, limit // 4)
            body = self._body(span, limit)
        return body

    def _bare(self, span: Any) -> Any:
        return BareSpan(span)

    def context(self, span: Any) -> Context:
        """Resource and scope of ``span``, encoded once for each pair."""
        return self._context(span.resource, span.instrumentation_scope)

    def _context(self, resource: Any, scope: Any) -> Context:
        key = (id(resource), id(scope))
        known = self._contexts.get(key)
        if known is not None:
            return known[2]
        context = Context(self._resource(resource), self._scope(scope))
        # The objects are kept, so that their identities are not given to others.
        keep(self._contexts, key, (resource, scope, context), _MAX_CACHED)
        return context

    def _resource(self, resource: Any) -> bytes:
        message = b"".join(self._attributes(b"\x0a", resource.attributes, self._limit, []))
        url = resource.schema_url
        return field(b"\x0a", message) + (field(b"\x1a", url.encode()) if url else b"")

    def _scope(self, scope: Any) -> bytes:
        if scope is None:
            return field(b"\x0a", b"")
        message = field(b"\x0a", scope.name.encode())
        if scope.version:
            message += field(b"\x12", scope.version.encode())
        message += b"".join(self._attributes(b"\x1a", scope.attributes, self._limit, []))
        return field(b"\x0a", message) + (field(b"\x1a", scope.schema_url.encode()) if scope.schema_url else b"")

    def _body(self, span: Any, limit: int) -> bytes:
        context, parent, name = span.context, span.parent, span.name
        shortened: list[tuple[str, int]] = []
        parts = [b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big")]
        if context.trace_state:
            parts.append(field(b"\x1a", _state(context.trace_state)))
        if parent is not None:
            parts.append(b"\x22\x08" + parent.span_id.to_bytes(8, "big"))
        parts.append(self._known.get((b"\x2a", "", name)) or self._name(name, limit))
        parts.append(b"\x30" + SMALL[span.kind._value_ + 1])
        parts.append(_pack_time(0x39, span.start_time or 0, 0x41, span.end_time or 0))
        # Behind the SDK's read-only view: reading through it costs a call for each attribute.
        parts += self._attributes(b"\x4a", getattr(span, "_attributes", None) or span.attributes, limit, shortened)
        if span.dropped_attributes:
            parts.append(b"\x50" + varint(span.dropped_attributes))
        for event in span.events:
            if event.attributes or event.dropped_attributes:
                parts.append(field(b"\x5a", self._event(event, limit, shortened)))
            else:
                before, after = self._bare_event(event.name)
                parts.append(before + pack_fixed64(event.timestamp) + after)
        if span.dropped_events:
            parts.append(b"\x60" + varint(span.dropped_events))
        for link in span.links:
            parts.append(field(b"\x6a", self._link(link, limit, shortened)))
        if span.dropped_links:
            parts.append(b"\x70" + varint(span.dropped_links))
        status = span.status
        message = field(b"\x12", utf8(shorten(status.description, limit))) if status.description else b""
        code = status.status_code._value_
        parts.append(field(b"\x7a", message + b"\x18" + SMALL[code]) if code or message else b"\x7a\x00")
        parts.append(_pack_flags(_FLAGS_TAG, _HAS_IS_REMOTE | (_IS_REMOTE if parent is not None and parent.is_remote else 0)))
        parts += self._told(b"\x4a", shortened, limit)
        return b"".join(parts)

    def _name(self, name: str, limit: int) -> bytes:
        """A span's name. Those of usual length are few, or come again."""
        encoded = field(b"\x2a", utf8(cut(name, limit)))
        if len(name) <= _CACHED_LENGTH:
            keep(self._known, (b"\x2a", "", name), encoded, _MAX_CACHED)
        return encoded

    def _told(self, tag: bytes, shortened: list[tuple[str, int]], limit: int) -> list[bytes]:
        """Attributes that name what was shortened."""
        if not shortened:
            return []
        told = {names.TRUNCATED_ATTRIBUTES: [key for key, _ in shortened], names.TRUNCATED_BYTES: [size for _, size in shortened]}
        return self._attributes(tag, told, limit, [])

    def _bare_event(self, name: str) -> tuple[bytes, bytes]:
        """What is around the time of an event that has nothing but a name: there are few, and they come with each call."""
        known = self._events.get(name)
        if known is None:
            after = field(b"\x12", utf8(name))
            before = head(b"\x5a", 9 + len(after)) + b"\x09"
            known = keep(self._events, name, (before, after), _MAX_CACHED)
        return known

    def _event(self, event: Any, limit: int, shortened: list[tuple[str, int]]) -> bytes:
        parts = [b"\x09", pack_fixed64(event.timestamp), field(b"\x12", utf8(event.name))]
        parts += self._attributes(b"\x1a", event.attributes, limit, shortened)
        if event.dropped_attributes:
            parts.append(b"\x20" + varint(event.dropped_attributes))
        return b"".join(parts)

    def _link(self, link: Any, limit: int, shortened: list[tuple[str, int]]) -> bytes:
        to = link.context
        parts = [b"\x0a\x10" + to.trace_id.to_bytes(16, "big") + b"\x12\x08" + to.span_id.to_bytes(8, "big")]
        parts += self._attributes(b"\x22", link.attributes, limit, shortened)
        if link.dropped_attributes:
            parts.append(b"\x28" + varint(link.dropped_attributes))
        parts.append(b"\x35" + (_HAS_IS_REMOTE | (_IS_REMOTE if to.is_remote else 0)).to_bytes(4, "little"))
        return b"".join(parts)

    def _attributes(
        self, tag: bytes, attributes: Mapping[str, Any] | None, limit: int, shortened: list[tuple[str, int]]
    ) -> list[bytes]:
        parts: list[bytes] = []
        if not attributes:
            return parts
        known, before = self._known, self._before_numbers
        for key, value in getattr(attributes, "_dict", attributes).items():
            kind = value.__class__
            text = value[0] if kind is tuple and len(value) == 1 else value
            if text.__class__ is str and len(text) <= _CACHED_LENGTH:
                # Most values come again and again: model, provider, operation, the one finish reason.
                part = known.get((tag, key, value))
                if part is None:
                    part = keep(known, (tag, key, value), field(tag, key_value(key, value)), _MAX_CACHED)
                parts.append(part)
                continue
            if kind is float:
                number = pack_double(value)
            elif kind is int and 0 <= value < 0x4000:
                number = SMALL[value] if value < 0x80 else bytes((value & 0x7F | 0x80, value >> 7))
            elif kind is str and len(value) <= limit and len(encoded := utf8(value)) <= limit:
                # Apart from what is before it: a long one is copied when the parts are joined, and not before.
                parts += value_head(tag, key, head(b"\x0a", len(encoded)), len(encoded)), encoded
                continue
            else:
                parts.append(field(tag, field(b"\x0a", utf8(key)) + field(b"\x12", self._any(key, value, limit, shortened))))
                continue
            parts.append((before.get((tag, key, len(number))) or self._before_number(tag, key, len(number))) + number)
        return parts

    def _before_number(self, tag: bytes, key: str, size: int) -> bytes:
        """What is before the bytes of a number, the same for each of that size: one or two are an int, eight a double."""
        return keep(self._before_numbers, (tag, key, size), value_head(tag, key, b"\x21" if size == 8 else b"\x18", size), _MAX_CACHED)

    def _any(self, key: str, value: Any, limit: int, shortened: list[tuple[str, int]]) -> bytes:
        """An ``AnyValue`` that fits."""
        encoded = any_value(value)
        if len(encoded) > limit + _TAG_AND_LENGTH:
            shortened.append((key, len(encoded)))
            encoded = any_value(_shorten_value(value, limit))
        return encoded


def _state(state: Mapping[str, str]) -> bytes:
    return ",".join(f"{key}={value}" for key, value in state.items()).encode()


def _shorten_value(value: Any, limit: int) -> Any:
    """A value that fits: text is shortened, sequences keep their beginning, the rest becomes text."""
    if isinstance(value, str):
        # Room for the tag and the length around it.
        return shorten(value, limit - 8)
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and any(isinstance(item, (Mapping, list, tuple)) for item in value)):
        # Only log records have such values.
        return fit(value, limit, len(any_value(value)), lambda smaller: len(any_value(smaller)) <= limit)
    if isinstance(value, Sequence):
        kept: list[Any] = []
        room = limit - 64
        for whole in value:
            item = cut(whole, max(64, limit // 4)) if isinstance(whole, str) else whole
            room -= len(any_value(item)) + 4
            if room < 0:
                break
            kept.append(item)
        # Arrays of attributes have one type: a note can only be added to text.
        return [*kept, f"…[{len(value) - len(kept)} more]"] if all(isinstance(item, str) for item in value) else kept
    return cut(str(value), limit)

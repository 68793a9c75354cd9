"""Protobuf's wire format, as far as OTLP needs it: numbers, fields, and values of attributes.

Source: the protobuf encoding, and ``AnyValue`` of opentelemetry-proto, ``common/v1/common.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

pack_fixed64: Final = struct.Struct("<Q").pack
pack_double: Final = struct.Struct("<d").pack


def varint(value: int) -> bytes:
    """A base-128 varint; negative numbers in two's complement of 64 bits."""
    if value < 0:
        value += 1 << 64
    if value < 0x80:
        return SMALL[value]
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


#: Varints of one byte.
SMALL: Final = [bytes((value,)) for value in range(0x80)]


def head(tag: bytes, size: int) -> bytes:
    """What comes before the ``size`` bytes of a length-delimited field."""
    return tag + (SMALL[size] if size < 0x80 else varint(size))


def field(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field."""
    return head(tag, len(payload)) + payload


def utf8(value: str) -> bytes:
    """UTF-8; what cannot be said in it becomes a question mark."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def any_value(value: Any) -> bytes:
    """An ``AnyValue``."""
    if value is None:
        return b""
    if isinstance(value, str):
        return field(b"\x0a", utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(max(-(1 << 63), min(value, (1 << 63) - 1)))
    if isinstance(value, float):
        return b"\x21" + pack_double(value)
    if isinstance(value, bytes):
        return field(b"\x3a", value)
    if isinstance(value, Mapping):
        return field(b"\x32", b"".join(field(b"\x0a", key_value(str(key), item)) for key, item in value.items()))
    if isinstance(value, Sequence):
        return field(b"\x2a", b"".join(field(b"\x0a", any_value(item)) for item in value))
    return field(b"\x0a", utf8(str(value)))


def value_head(tag: bytes, key: str, kind: bytes, size: int) -> bytes:
    """What comes before the ``size`` bytes of a value, in a ``KeyValue`` under ``tag``; with ``kind`` its ``AnyValue`` begins."""
    pair = field(b"\x0a", utf8(key)) + head(b"\x12", len(kind) + size) + kind
    return head(tag, len(pair) + size) + pair


def key_value(key: str, value: Any) -> bytes:
    """A ``KeyValue``."""
    return field(b"\x0a", utf8(key)) + field(b"\x12", any_value(value))

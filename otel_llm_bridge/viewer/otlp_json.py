"""OTLP's JSON encoding: lowerCamelCase, ids in hexadecimal, enums as numbers, 64-bit integers as strings.

Protobuf's own JSON differs from it in exactly two points, ids and enums. One line of a Collector's file
exporter is one export request in this form.

Source: OTLP specification 1.x, "JSON Protobuf Encoding"; Collector contrib, ``fileexporter``.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


class InvalidOtlp(ValueError):
    """The text is not OTLP JSON; the message says where."""


def parse(text: bytes | str, message: Message) -> None:
    """Fill ``message`` from OTLP JSON; unknown fields are ignored, as the specification wants.

    Raises:
        InvalidOtlp: it is not JSON, or not of the message's shape.
    """
    try:
        fill(json.loads(text), message)
    except (ValueError, RecursionError) as error:
        raise InvalidOtlp(str(error)[:300]) from None


def fill(plain: Any, message: Message) -> None:
    """As `parse`, from JSON that is decoded already."""
    try:
        json_format.ParseDict(_ids(plain, _hex_to_base64), message, ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError) as error:
        raise InvalidOtlp(str(error)[:300]) from None


def dump(message: Message) -> str:
    """``message`` as one line of OTLP JSON."""
    plain = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_ids(plain, _base64_to_hex), ensure_ascii=False, separators=(",", ":"))


def _ids(node: Any, convert: Any) -> Any:
    """``node`` with each id converted. An attribute's key is a value in OTLP, so no attribute looks like an id."""
    if isinstance(node, dict):
        return {
            key: convert(value) if key in _IDS and isinstance(value, str) else _ids(value, convert)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_ids(item, convert) for item in node]
    return node


def _hex_to_base64(text: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except ValueError:
        raise InvalidOtlp("an id is not hexadecimal") from None


def _base64_to_hex(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error:  # pragma: no cover - protobuf writes it itself
        raise InvalidOtlp("an id is not base64") from None

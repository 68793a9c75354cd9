"""A batch for somebody else's exporter, in slices that a receiver takes: a gRPC server refuses what is over 4 MiB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

#: What is allowed for a span besides its texts, and for each attribute besides its text: keys, numbers, ids, lengths. In bytes.
_SPAN: Final = 512
_ATTRIBUTE: Final = 64


def slices(spans: Sequence[ReadableSpan], most_bytes: float) -> list[Sequence[ReadableSpan]]:
    """``spans`` in slices whose requests have at most ``most_bytes``; the batch itself where it is small.

    A span that is larger by itself has a slice of its own, after the others: exporters try again for long what is refused.
    The size is an estimate from above, for less than a tenth of what it costs to encode the spans.
    """
    if len(spans) < 2:
        return [spans]
    sizes = [_size(span) for span in spans]
    if sum(sizes) <= most_bytes:
        return [spans]
    made: list[list[ReadableSpan]] = []
    too_large: list[list[ReadableSpan]] = []
    room = 0.0
    for span, size in zip(spans, sizes, strict=True):
        if size > most_bytes:
            too_large.append([span])
            continue
        room -= size
        if room < 0:
            made.append([])
            room = most_bytes - size
        made[-1].append(span)
    return [*made, *too_large]


def _size(span: ReadableSpan) -> int:
    size = _SPAN + _length(span.name) + _length(span.status.description)
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        size += _ATTRIBUTE
        if attributes:
            size += _ATTRIBUTE * len(attributes) + sum(map(_length, attributes.values()))
    return size


def _length(value: Any) -> int:
    if value.__class__ is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return sum(map(_length, value)) + _ATTRIBUTE * len(value) if value.__class__ is tuple else 0

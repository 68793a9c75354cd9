"""Records of a segment (`segment`): marker, length, CRC-32 of the rest, kind, time, payload.

A record counts only when its checksum does; what follows one that does not is found by its marker.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

#: Kinds of records: resource and scope under a number, an ended item, a span that has started.
CONTEXT, ITEM, STARTED = 1, 2, 3

_MARK: Final = b"\xf5OLB"
_HEAD: Final = struct.Struct("<4sIIBQ")
#: Bytes of a record beside its payload.
HEAD_SIZE: Final = _HEAD.size
_pack_checked: Final = struct.Struct("<BQ").pack


class Record(NamedTuple):
    """One record, and where the next one begins.

    Attributes:
        kind: `CONTEXT`, `ITEM` or `STARTED`.
        time_ns: when it was written, in nanoseconds of the wall clock.
        payload: what was written.
        end: offset of the byte behind it.
    """

    kind: int
    time_ns: int
    payload: bytes
    end: int


def put(data: mmap.mmap, begin: int, kind: int, payload: bytes) -> None:
    """Write a record at ``begin``, where there is room for it."""
    now = time.time_ns()
    check = crc32(payload, crc32(_pack_checked(kind, now)))
    _HEAD.pack_into(data, begin, _MARK, len(payload), check, kind, now)
    begin += HEAD_SIZE
    data[begin : begin + len(payload)] = payload


def scan(data: mmap.mmap, offset: int, end: int) -> Iterator[Record | None]:
    """Records from ``offset`` to ``end``; ``None`` in the place of one whose bytes do not match."""
    while offset + HEAD_SIZE <= end:
        mark, length, check, kind, now = _HEAD.unpack_from(data, offset)
        after = offset + HEAD_SIZE + length
        if mark == _MARK and after <= end:
            payload = data[offset + HEAD_SIZE : after]
            if crc32(payload, crc32(_pack_checked(kind, now))) == check:
                yield Record(kind, now, payload, after)
                offset = after
                continue
        yield None
        # The length cannot be trusted: look for the next record that begins like one.
        offset = data.find(_MARK, offset + 1, end)
        if offset < 0:
            return

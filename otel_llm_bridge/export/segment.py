"""One file of the spool: a header, then records, in a memory map that is allocated in full beforehand.

Why a map: a record is in the page cache, and so survives the death of the process, as soon as the bytes are
copied; that takes a microsecond and no system call (the measurement is in ``docs/delivery.md``). Why allocated:
writing to a hole of a sparse file on a full disk raises SIGBUS.

Header: magic, version, pid, time of creation, commit offset, acknowledgement offset, time of the last sign of
life, "continued". Bytes behind the commit offset do not count. The owner holds an exclusive ``flock``; a file that
nobody has locked is an orphan.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from .items import Context, Item
from .record import CONTEXT, HEAD_SIZE, ITEM, Record, put, scan

SUFFIX: Final = ".seg"
#: A file that is not a segment yet.
NEW_SUFFIX: Final = ".seg.new"
_MAGIC: Final = b"OLBSPOOL"
_VERSION: Final = 1
_HEADER_SIZE: Final = 64
_HEADER: Final = struct.Struct("<8sIIQ")
_COMMIT_AT, _ACK_AT, _ALIVE_AT, _CONTINUED_AT = 24, 32, 40, 48
_U64: Final = struct.Struct("<Q")
_U32: Final = struct.Struct("<I")
_TWO_U32: Final = struct.Struct("<II")

#: A span's bytes begin with its trace id and its span id, always in this many bytes (see `encoding`).
KEY_SIZE: Final = 28


class Taken(NamedTuple):
    """What `Segment.read` found: items, how many more were too old, and where the rest begins."""

    items: list[Item]
    expired: int
    end: int


class Segment:
    """An open segment. Use `create` or `adopt`."""

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self._descriptor = descriptor
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        self._map = mmap.mmap(descriptor, size, flags=flags)
        self.end = _HEADER_SIZE
        self._numbers: dict[Context, int] = {}
        #: Items written here, and how many of them are settled.
        self.written = 0
        self.settled = 0
        self.corrupt = 0
        self.contexts: dict[int, Context] = {}
        #: Up to where items are on their way or settled.
        self.taken = _HEADER_SIZE
        self.dead = False
        self._synced = 0

    # -- opening and closing -----------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str, size: int) -> Segment:
        """A new, locked, fully allocated segment.

        Raises:
            OSError: no room, no permission, no folder.
        """
        hidden = path.removesuffix(SUFFIX) + NEW_SUFFIX
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Locked before it has its name, so that nobody takes it for an orphan.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _allocate(descriptor, size)
            segment = cls(path, descriptor, size)
            now = time.time_ns()
            _HEADER.pack_into(segment._map, 0, _MAGIC, _VERSION, os.getpid(), now)
            for offset, value in ((_COMMIT_AT, _HEADER_SIZE), (_ACK_AT, _HEADER_SIZE), (_ALIVE_AT, now), (_CONTINUED_AT, 0)):
                _U64.pack_into(segment._map, offset, value)
            os.rename(hidden, path)
        except BaseException:
            os.close(descriptor)
            os.unlink(hidden)
            raise
        return segment

    @classmethod
    def adopt(cls, path: str) -> Segment | None:
        """Take over an orphan; ``None`` when it has an owner, or is gone.

        Raises:
            ValueError: the file is not a segment.
            OSError: it cannot be read.
        """
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(descriptor)
            if status.st_nlink == 0:
                # Somebody else replayed it between our two calls.
                os.close(descriptor)
                return None
            if status.st_size < _HEADER_SIZE:
                raise ValueError("too short")
            segment = cls(path, descriptor, status.st_size)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        magic, version, _, _ = _HEADER.unpack_from(segment._map, 0)
        if magic != _MAGIC or version != _VERSION:
            segment.close()
            raise ValueError("not a segment of this version")
        segment.end = min(_U64.unpack_from(segment._map, _COMMIT_AT)[0], segment.size)
        segment.taken = max(_HEADER_SIZE, segment.ack)
        return segment

    def close(self, unlink: bool = False) -> None:
        """Let go of the file; ``unlink`` deletes it first, while the lock is still held."""
        self.dead = True
        if self._descriptor < 0:
            return
        if unlink:
            self.unlink()
        self._map.close()
        os.close(self._descriptor)
        self._descriptor = -1

    def unlink(self) -> None:
        """Delete the file; what is mapped stays readable."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def sync(self) -> None:
        """Write to the disk itself what is new since the last time: survives a power cut."""
        if self.dead:
            return
        page, end = mmap.PAGESIZE, self.end
        begin = self._synced // page * page
        self._map.flush(begin, end - begin)
        self._map.flush(0, page)
        self._synced = end

    # -- header ------------------------------------------------------------------------------------------

    @property
    def created_ns(self) -> int:
        """When it was created, in nanoseconds of the wall clock."""
        return int(_HEADER.unpack_from(self._map, 0)[3])

    @property
    def pid(self) -> int:
        """The process that wrote it."""
        return int(_HEADER.unpack_from(self._map, 0)[2])

    @property
    def ack(self) -> int:
        """Up to where every item is settled."""
        return int(_U64.unpack_from(self._map, _ACK_AT)[0])

    @ack.setter
    def ack(self, offset: int) -> None:
        if not self.dead:
            _U64.pack_into(self._map, _ACK_AT, offset)

    @property
    def alive_ns(self) -> int:
        """The last sign of life of its writer, in nanoseconds of the wall clock."""
        return int(_U64.unpack_from(self._map, _ALIVE_AT)[0])

    def beat(self) -> None:
        """A sign of life."""
        _U64.pack_into(self._map, _ALIVE_AT, time.time_ns())

    @property
    def continued(self) -> bool:
        """Whether a later segment of the same process repeats the spans that are still open here."""
        return bool(self._map[_CONTINUED_AT])

    def set_continued(self) -> None:
        """The next segment holds the open spans."""
        self._map[_CONTINUED_AT] = 1

    # -- writing -----------------------------------------------------------------------------------------

    def append(self, kind: int, context: Context, body: bytes) -> bool:
        """Write one item; ``False`` when there is no room."""
        number = self._numbers.get(context)
        if number is None:
            number = len(self._numbers) + 1
            payload = _TWO_U32.pack(number, len(context.resource)) + context.resource + context.scope
            if not self._write(CONTEXT, payload):
                return False
            self._numbers[context] = number
            self.contexts[number] = context
        if not self._write(kind, _U32.pack(number) + body):
            return False
        self.written += kind == ITEM
        return True

    def _write(self, kind: int, payload: bytes) -> bool:
        begin = self.end
        end = begin + HEAD_SIZE + len(payload)
        if end > self.size or self.dead:
            return False
        # Taken first: whoever interrupts this thread writes behind us.
        self.end = end
        put(self._map, begin, kind, payload)
        _U64.pack_into(self._map, _COMMIT_AT, self.end)
        return True

    # -- reading -----------------------------------------------------------------------------------------

    def records(self, offset: int = _HEADER_SIZE) -> Iterator[Record]:
        """Records from ``offset`` on. One whose bytes do not match is counted in `corrupt` and skipped."""
        end = int(_U64.unpack_from(self._map, _COMMIT_AT)[0])
        for record in scan(self._map, offset, min(end, self.size)):
            if record is None:
                self.corrupt += 1
            else:
                yield record

    def read(self, most: int, most_bytes: int, oldest_ns: int) -> Taken:
        """The next ended items that nobody has taken, at most so many and so large together, none older than ``oldest_ns``."""
        items: list[Item] = []
        size, end, expired = 0, self.taken, 0
        for record in self.records(self.taken):
            if record.kind == CONTEXT:
                self.read_context(record.payload)
            elif record.kind == ITEM:
                context, body = self.item(record.payload)
                if context is None:
                    self.corrupt += 1
                elif record.time_ns < oldest_ns:
                    expired += 1
                else:
                    size += (item := Item(context, body)).size
                    if items and (size > most_bytes or len(items) >= most):
                        break
                    items.append(item)
            end = record.end
        return Taken(items, expired, end)

    def read_context(self, payload: bytes) -> None:
        """Note a record of the kind `CONTEXT`."""
        number, length = _TWO_U32.unpack_from(payload)
        self.contexts[number] = Context(payload[8 : 8 + length], payload[8 + length :])

    def item(self, payload: bytes) -> tuple[Context | None, bytes]:
        """Context and bytes of a record of the kind `ITEM` or `STARTED`."""
        return self.contexts.get(_U32.unpack_from(payload)[0]), payload[4:]

    @property
    def drained(self) -> bool:
        """Whether nothing waits here."""
        return self.ack >= self.end


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = b"\0" * (1 << 20)
    written = 0
    while written < size:
        written += os.write(descriptor, block[: size - written])
    if written != size:
        raise OSError(errno.ENOSPC, "no space for a segment")

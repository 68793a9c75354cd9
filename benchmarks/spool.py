"""Ways to put one record on disk before ``end()`` returns, while another thread keeps the interpreter busy.

Run ``python benchmarks/spool.py``. All ways write the same 450 bytes, interleaved round by round; none of them
syncs. The busy thread is what a program that does something looks like: whoever gives up the interpreter lock for
a system call waits up to a switch interval (5 ms) to get it back.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zlib import crc32

from otel_llm_bridge.export.items import Context
from otel_llm_bridge.export.record import ITEM
from otel_llm_bridge.export.segment import Segment

_RECORD: Final = os.urandom(450)
_CONTEXT: Final = Context(b"\x0a\x00", b"\x0a\x00")
_COUNT: Final = 10_000
_ROUNDS: Final = 5

Append = Callable[[], object]


@contextmanager
def mapped(folder: Path) -> Iterator[Append]:
    """What the spool does: a record into an allocated memory map, with checksum and commit offset."""
    segment = Segment.create(str(folder / "a.seg"), 8 << 20)
    yield lambda: segment.append(ITEM, _CONTEXT, _RECORD)
    segment.close()


@contextmanager
def written(folder: Path) -> Iterator[Append]:
    """``write(2)`` to a file that is open for appending."""
    descriptor = os.open(folder / "b", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield lambda: os.write(descriptor, struct.pack("<II", len(_RECORD), crc32(_RECORD)) + _RECORD)
    os.close(descriptor)


@contextmanager
def sqlite(folder: Path) -> Iterator[Append]:
    """One transaction a record, in WAL mode, without syncing."""
    connection = sqlite3.connect(folder / "c.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE spans (body BLOB)")
    yield lambda: connection.execute("INSERT INTO spans VALUES (?)", (_RECORD,))
    connection.close()


@contextmanager
def files(folder: Path) -> Iterator[Append]:
    """A file for each record, named into place."""
    numbers = iter(range(1 << 30))

    def append() -> None:
        name = folder / f"d{next(numbers)}"
        with open(f"{name}.new", "wb") as file:
            file.write(_RECORD)
        os.rename(f"{name}.new", name)

    yield append


WAYS: Final = {"mmap": mapped, "write(2)": written, "SQLite WAL": sqlite, "file a record": files}


def measure(way: str) -> list[int]:
    """Nanoseconds of each append."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            sum(range(500))

    with tempfile.TemporaryDirectory() as folder, WAYS[way](Path(folder)) as append:
        thread = threading.Thread(target=busy, daemon=True)
        thread.start()
        clock, times = time.perf_counter_ns, []
        count = _COUNT if way in ("mmap", "write(2)") else _COUNT // 10
        for _ in range(count):
            begin = clock()
            append()
            times.append(clock() - begin)
        stop.set()
        thread.join()
    return sorted(times)


def main() -> None:
    """Print medians of the rounds."""
    results: dict[str, list[list[int]]] = {way: [] for way in WAYS}
    for _ in range(_ROUNDS):
        for way in WAYS:
            results[way].append(measure(way))
    print(f"{'':16}{'p50 µs':>10}{'p99 µs':>12}{'p99.9 µs':>12}")
    for way, rounds in results.items():
        p50 = statistics.median(times[len(times) // 2] for times in rounds)
        p99 = statistics.median(times[len(times) * 99 // 100] for times in rounds)
        p999 = statistics.median(times[len(times) * 999 // 1000] for times in rounds)
        print(f"{way:16}{p50 / 1e3:10.2f}{p99 / 1e3:12.1f}{p999 / 1e3:12.1f}")


if __name__ == "__main__":
    main()

"""What the command line does with a spool: look, deliver, delete. It leaves what living processes hold alone."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ..settings import Settings
from . import otlp_env, sdk_env
from .ledger import FlushReport
from .record import CONTEXT, ITEM, STARTED
from .segment import NEW_SUFFIX, SUFFIX, Segment
from .spool_folder import CORRUPT_SUFFIX, QUARANTINE_SUFFIX, SHARES, folder_of, is_owned
from .spooling import spool_of
from .transport import connect

with sdk_env.without_bad_values():  # it imports OpenTelemetry
    from .delivery import Delivery


@dataclasses.dataclass
class Status:
    """What is in the spool of one signal; "spans" are log records in that of logs.

    Attributes:
        bytes: size of all files.
        live: segments that a living process holds.
        orphans: segments whose process is gone.
        waiting: ended spans in the orphans.
        interrupted: spans in the orphans that started and never ended.
        oldest: age in seconds of the oldest span that waits.
        quarantined: spans that a receiver refused for good, kept in files.
        corrupt: records and files that cannot be read.
    """

    bytes: int = 0
    live: int = 0
    orphans: int = 0
    waiting: int = 0
    interrupted: int = 0
    oldest: float = 0.0
    quarantined: int = 0
    corrupt: int = 0

    @property
    def left(self) -> int:
        """What a replay would deliver."""
        return self.waiting + self.interrupted


def _folders(spool_dir: str) -> Iterator[tuple[str, str]]:
    """Signals that something was written for, with their folders.

    Raises:
        OSError: there is no spool.
    """
    found = [(signal, folder_of(spool_dir, signal)) for signal in SHARES]
    if not any(os.path.isdir(folder) for _, folder in found):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), spool_dir)
    yield from ((signal, folder) for signal, folder in found if os.path.isdir(folder))


def _paths(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def status(spool_dir: str) -> dict[str, Status]:
    """Look, and change nothing.

    Returns:
        What there is, by signal (``traces``, ``logs``).

    Raises:
        OSError: there is no spool.
    """
    return {signal: _status(folder) for signal, folder in _folders(spool_dir)}


def _status(folder: str) -> Status:
    found = Status()
    for path in _paths(folder):
        try:
            found.bytes += os.path.getsize(path)
            if path.endswith(QUARANTINE_SUFFIX):
                # The number of spans is the end of the name: reading the requests is not needed.
                found.quarantined += int(path.removesuffix(QUARANTINE_SUFFIX).rpartition("-")[2])
            elif path.endswith(CORRUPT_SUFFIX):
                found.corrupt += 1
            elif path.endswith(SUFFIX):
                if is_owned(path):
                    found.live += 1
                else:
                    _look_into(path, found)
        except FileNotFoundError:
            # Its process has delivered it meanwhile.
            continue
    return found


def _look_into(path: str, found: Status) -> None:
    found.orphans += 1
    try:
        segment = Segment.adopt(path)
    except ValueError:
        found.corrupt += 1
        return
    if segment is None:
        return
    try:
        open_spans: set[bytes] = set()
        oldest_ns = time.time_ns()
        for record in segment.records():
            if record.kind == CONTEXT:
                continue
            key = record.payload[4:32]
            if record.kind == STARTED:
                open_spans.add(key)
            elif record.kind == ITEM:
                open_spans.discard(key)
                if record.end > segment.ack:
                    found.waiting += 1
                    oldest_ns = min(oldest_ns, record.time_ns)
        found.corrupt += segment.corrupt
        found.interrupted += 0 if segment.continued else len(open_spans)
        found.oldest = max(found.oldest, (time.time_ns() - oldest_ns) / 1e9)
    finally:
        segment.close()


def replay(spool_dir: str, settings: Settings, timeout: float) -> dict[str, tuple[FlushReport, dict[str, int]]]:
    """Deliver the orphans to the receivers of the ``OTEL_*`` variables, all signals at the same time.

    Returns:
        By signal, the figures (``replayed`` counts), and the errors by name.

    Raises:
        OSError: there is no spool.
    """

    def deliver(signal: str) -> tuple[FlushReport, dict[str, int]]:
        endpoint = otlp_env.endpoint(signal)
        spool = spool_of(settings, signal, spool_dir)
        delivery = Delivery(
            lambda item: item,
            connect(endpoint, signal),
            batch_bytes=settings.max_request_bytes,
            request_timeout=min(endpoint.timeout, timeout),
            store=spool,
        )
        figures = delivery.close(timeout)
        return figures, {**delivery.sender.errors, **spool.counts}

    with ThreadPoolExecutor() as pool:
        running = {signal: pool.submit(deliver, signal) for signal, _ in _folders(spool_dir)}
        return {signal: delivered.result() for signal, delivered in running.items()}


def clear(spool_dir: str) -> int:
    """Delete everything that no living process holds.

    Returns:
        How many files were deleted.

    Raises:
        OSError: there is no spool.
    """
    deleted = 0
    for path in [path for _, folder in _folders(spool_dir) for path in _paths(folder)]:
        if path.endswith((SUFFIX, NEW_SUFFIX, QUARANTINE_SUFFIX, CORRUPT_SUFFIX)):
            try:
                if path.endswith((SUFFIX, NEW_SUFFIX)) and is_owned(path):
                    continue
                os.unlink(path)
            except FileNotFoundError:
                continue
            deleted += 1
    return deleted

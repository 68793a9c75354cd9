"""What the command line does with a spool: look, deliver, delete. It leaves what living processes hold alone."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from ..settings import Settings
from . import otlp_env
from .delivery import Delivery
from .ledger import FlushReport
from .segment import CONTEXT, NEW_SUFFIX, SPAN, STARTED, SUFFIX, Segment, is_owned
from .spool import Spool
from .spool_folder import CORRUPT_SUFFIX, QUARANTINE_SUFFIX
from .transport import connect


@dataclasses.dataclass
class Status:
    """What is in a spool.

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

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return dataclasses.asdict(self)


def traces_folder(spool_dir: str) -> str:
    """Where the spans of the spool ``spool_dir`` are."""
    return os.path.join(spool_dir, "traces")


def _paths(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def status(spool_dir: str) -> Status:
    """Look, and change nothing.

    Raises:
        OSError: there is no spool.
    """
    found = Status()
    for path in _paths(traces_folder(spool_dir)):
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
            elif record.kind == SPAN:
                open_spans.discard(key)
                if record.end > segment.ack:
                    found.waiting += 1
                    oldest_ns = min(oldest_ns, record.time_ns)
        found.corrupt += segment.corrupt
        found.interrupted += 0 if segment.continued else len(open_spans)
        found.oldest = max(found.oldest, (time.time_ns() - oldest_ns) / 1e9)
    finally:
        segment.close()


def replay(spool_dir: str, settings: Settings, timeout: float) -> tuple[FlushReport, dict[str, int]]:
    """Deliver the orphans to the receiver of the ``OTEL_*`` variables.

    Returns:
        The figures (``replayed`` counts), and the errors by name.
    """
    endpoint = otlp_env.endpoint("traces")
    spool = Spool(traces_folder(spool_dir), settings.spool_max_bytes, settings.spool_max_age)
    delivery = Delivery(
        lambda item: item,
        connect(endpoint, "traces"),
        batch_bytes=settings.max_request_bytes,
        request_timeout=min(endpoint.timeout, timeout),
        store=spool,
    )
    figures = delivery.close(timeout)
    return figures, {**delivery.sender.errors, **spool.counts}


def clear(spool_dir: str) -> int:
    """Delete everything that no living process holds.

    Returns:
        How many files were deleted.

    Raises:
        OSError: there is no spool.
    """
    deleted = 0
    for path in _paths(traces_folder(spool_dir)):
        if path.endswith((SUFFIX, NEW_SUFFIX, QUARANTINE_SUFFIX, CORRUPT_SUFFIX)):
            try:
                if path.endswith((SUFFIX, NEW_SUFFIX)) and is_owned(path):
                    continue
                os.unlink(path)
            except FileNotFoundError:
                continue
            deleted += 1
    return deleted

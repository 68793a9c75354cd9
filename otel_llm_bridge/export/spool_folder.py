"""The folder of a spool: names of files, and what is done with whole files."""

from __future__ import annotations

import fcntl
import os
import time
from typing import Final

from ..guard import logger
from .items import Item, request
from .record import CONTEXT
from .segment import NEW_SUFFIX, SUFFIX, Segment

QUARANTINE_SUFFIX: Final = ".otlp"
CORRUPT_SUFFIX: Final = ".corrupt"
#: Signals that have a spool, each in a folder of its own, and what part of the whole size is theirs. Metrics need none: the
#: next export makes a lost one good.
SHARES: Final = {"traces": 0.75, "logs": 0.25}
#: Seconds after which a file without a name of its own belongs to nobody.
_ABANDONED_AFTER: Final = 60.0


def folder_of(spool_dir: str, signal: str) -> str:
    """Where the spool ``spool_dir`` keeps what belongs to ``signal``."""
    return os.path.join(spool_dir, signal)


class Folder:
    """One signal's folder. Segments are named by the time of their creation, so that names sort by age."""

    def __init__(self, path: str) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder, for the owner only, when it is not there."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)

    def names(self) -> list[str]:
        """Names in it, sorted; none when it is not there."""
        try:
            return sorted(os.listdir(self.path))
        except OSError:
            return []

    def size(self) -> int:
        """Bytes of all files."""
        total = 0
        with os.scandir(self.path) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue
        return total

    def segment_path(self, owner: str, sequence: int) -> str:
        """A name for a new segment."""
        return os.path.join(self.path, f"{time.time_ns():020d}-{owner}-{sequence:06d}{SUFFIX}")

    def create(self, path: str, size: int, durable: bool) -> Segment:
        """A new segment; ``durable`` when its name must survive a power cut, too.

        Raises:
            OSError: there is no room or no permission.
        """
        segment = Segment.create(path, size)
        if durable:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return segment

    def orphans(self, owner: str) -> list[str]:
        """Paths of segments of others, oldest first; some of them may have a living owner."""
        mine = f"-{owner}-"
        return [os.path.join(self.path, name) for name in self.names() if name.endswith(SUFFIX) and mine not in name]

    def adopt(self, path: str) -> Segment | None:
        """Take over a segment whose process is gone; ``None`` when that is not possible.

        Raises:
            ValueError: it was no segment, and is set aside.
        """
        try:
            segment = Segment.adopt(path)
        except ValueError:
            logger.warning("%s is not a segment of a spool; it is set aside", path)
            os.replace(path, path + CORRUPT_SUFFIX)
            raise
        except OSError as error:
            logger.debug("%s cannot be opened: %s", path, error)
            return None
        if segment is not None:
            # Contexts may stand before what is already acknowledged.
            for record in segment.records():
                if record.kind == CONTEXT:
                    segment.read_context(record.payload)
        return segment

    def sweep(self) -> None:
        """Delete what a crash left between the creation of a file and its name."""
        for name in self.names():
            path = os.path.join(self.path, name)
            try:
                old = time.time() - os.stat(path).st_mtime > _ABANDONED_AFTER
                if name.endswith(NEW_SUFFIX) and old and not is_owned(path):
                    os.unlink(path)
            except OSError:
                continue

    def quarantine(self, owner: str, items: list[Item], most_bytes: int) -> bool:
        """Keep ``items`` as an OTLP request in a file of its own; ``False`` when there is no room for it."""
        body = request(items)
        try:
            kept = sum(os.path.getsize(os.path.join(self.path, name)) for name in self.names() if name.endswith(QUARANTINE_SUFFIX))
            if kept + len(body) > most_bytes:
                return False
            self.make()
            name = f"{time.time_ns():020d}-{owner}-{len(items)}{QUARANTINE_SUFFIX}"
            descriptor = os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
        except OSError:
            return False
        return True


def is_owned(path: str) -> bool:
    """Whether a living process holds the segment.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

"""Segments that other processes left: found, and held until what is in them is delivered."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from ..guard import logger
from .segment import Segment
from .spool_folder import Folder
from .spool_losses import Losses

#: Held at once; each one takes descriptors.
_AT_ONCE: Final = 8


class Orphans:
    """Segments whose process is gone. Whoever finds one first has it: its lock is the sign.

    Args:
        folder: where they are.
        owner: the name in this process's own segments.
        losses: counts files and records that cannot be read.
        lock: the spool's, which may evict what is held.

    Attributes:
        held: oldest first.
    """

    def __init__(self, folder: Folder, owner: str, losses: Losses, lock: threading.RLock) -> None:
        self._folder, self._owner, self._losses, self._lock = folder, owner, losses, lock
        self.held: deque[Segment] = deque()

    def adopt(self, most: int = _AT_ONCE) -> None:
        """Take over what has no owner, until ``most`` are held."""
        known = {segment.path for segment in self.held}
        for path in self._folder.orphans(self._owner):
            if len(self.held) >= most:
                return
            segment = None if path in known else self._open(path)
            if segment is not None:
                self.held.append(segment)

    def drop(self, segment: Segment) -> None:
        """All of it is delivered: give up the file, unless it has been evicted meanwhile."""
        with self._lock:
            if segment in self.held:
                self.held.remove(segment)
                segment.close(unlink=True)

    def _open(self, path: str) -> Segment | None:
        try:
            segment = self._folder.adopt(path)
        except ValueError:
            self._losses.count("corrupt_files")
            return None
        if segment is not None and segment.corrupt:
            self._losses.count("corrupt", segment.corrupt)
            logger.warning("%s: %d records are corrupt and skipped", path, segment.corrupt)
        return segment

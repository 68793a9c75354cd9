"""Files in the format of the Collector's file exporter: one export request as OTLP JSON on each line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from google.protobuf.message import Message

from . import otlp_json
from .signals import SIGNALS, Signal

Requests = Iterator[tuple[Signal, Message]]

#: A longer line is refused instead of filling the memory.
MAX_LINE: Final = 64 * 1024 * 1024


class JsonLines:
    """Writes requests to a file; a listener of the receiver and a context manager.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
        self._lock = threading.Lock()

    def __call__(self, signal: Signal, message: Message) -> None:
        """Write one request; a reader sees whole lines only."""
        line = otlp_json.dump(message) + "\n"
        with self._lock:
            if not self._file.closed:
                self._file.write(line)
                self._file.flush()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._file.close()


def read(path: str | Path) -> Requests:
    """The requests of a file, one after another; blank lines are passed over.

    Raises:
        OSError: the file cannot be read.
        InvalidOtlp: a line is not an export request; the message gives its number.
    """
    with Path(path).open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE + 1):
            number += 1
            if line.strip():
                yield _request(line, number)


def _request(line: bytes, number: int) -> tuple[Signal, Message]:
    try:
        if len(line) > MAX_LINE:
            raise otlp_json.InvalidOtlp(f"longer than {MAX_LINE} bytes")
        keys = json.loads(line)
        for signal in SIGNALS:
            if isinstance(keys, dict) and signal.json_key in keys:
                message: Message = signal.request()
                otlp_json.fill(keys, message)
                return signal, message
        raise otlp_json.InvalidOtlp("neither " + ", ".join(signal.json_key for signal in SIGNALS))
    except (ValueError, RecursionError) as error:
        raise otlp_json.InvalidOtlp(f"line {number}: {str(error)[:200]}") from None

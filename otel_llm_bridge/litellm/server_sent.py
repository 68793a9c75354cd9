"""Server-sent events, as some of LiteLLM's streams hand them through."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

from .access import peek


def is_error(event: Any) -> bool:
    """Whether an event of a stream is the provider's error, which LiteLLM hands to the caller like any other in most APIs."""
    return peek(event, "error") is not None


class ServerSentEvents:
    """The events of one stream, in whatever pieces their text comes."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, chunk: Any) -> Iterable[Any]:
        """The events in ``chunk``, which is one itself unless it is text."""
        if not isinstance(chunk, (bytes, str)):
            return (chunk,)
        *lines, self._rest = (self._rest + (chunk.encode() if isinstance(chunk, str) else chunk)).split(b"\n")
        events = []
        for line in lines:
            if line.startswith(b"data:") and line[5:].strip().startswith(b"{"):
                with contextlib.suppress(ValueError):
                    events.append(json.loads(line[5:]))
        return events

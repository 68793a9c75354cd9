"""Seeing what was sent: an OTLP receiver on loopback, a bounded store, trees in the terminal, a page in the browser."""

from __future__ import annotations

from .faults import Fault
from .receiver import Receiver, Request
from .records import Event, Link, LogRecord, Metric, Point, Scope, Span, Trace
from .store import Counts, Store

__all__ = [
    "Counts", "Event", "Fault", "Link", "LogRecord", "Metric", "Point", "Receiver", "Request", "Scope", "Span",
    "Store", "Trace",
]  # fmt: skip

"""The SDK's metrics after a fork: locks that another thread of the parent held are opened in the child.

The SDK (1.45.2) renews the locks of a MeterProvider after a fork, but none of those below it. A child that was forked
while another thread of its parent recorded a value, collected or exported waits for ever when it records or collects
itself, and with us that would be in the middle of a call.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics import MeterProvider

_LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))
_COLLECTIONS: Final = (list, tuple, set, frozenset)
#: Objects of these packages are looked into.
_PACKAGES: Final = ("opentelemetry.sdk.metrics.", __name__.rpartition(".")[0] + ".")


def renew() -> None:
    """Open every lock of all metric readers of this process and of what they collect from.

    What a lock guarded may be half written: one measurement of the parent's, in sums that only the parent reports.
    """
    readers = getattr(MeterProvider, "_all_metric_readers", ())
    todo: list[Any] = list(readers)
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, _LOCKS):
            # What CPython itself calls for its own locks. In place: whoever holds the lock object sees it.
            one._at_fork_reinit()  # type: ignore[union-attr]
        elif isinstance(one, Mapping):
            todo += one.values()
        elif isinstance(one, _COLLECTIONS):
            todo += one
        elif hasattr(one, "__self__"):
            # The readers know their source only by its method.
            todo.append(one.__self__)
        elif str(type(one).__module__).startswith(_PACKAGES):
            todo += getattr(one, "__dict__", {}).values()

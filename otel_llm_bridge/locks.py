"""Locks that a forked child finds open.

A thread of the parent may hold a lock at the moment of a fork. The child has no such thread: there the lock would stay
locked for ever, in the middle of a call or of the fork itself. What a lock guards must bear that: one step of such a
thread may be half done in the child.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    _AnyLock = TypeVar("_AnyLock", threading.Lock, threading.RLock)

_locks: Final[weakref.WeakSet[threading.Lock | threading.RLock]] = weakref.WeakSet()


def lock() -> threading.Lock:
    """A `threading.Lock` that is open in a forked child."""
    return _known(threading.Lock())


def rlock() -> threading.RLock:
    """A `threading.RLock` that is open in a forked child."""
    return _known(threading.RLock())


def _known(one: _AnyLock) -> _AnyLock:
    _locks.add(one)
    return one


def _open() -> None:
    for one in _locks:
        # What CPython itself calls for its own locks. In place: whoever has the lock object sees it.
        one._at_fork_reinit()  # type: ignore[union-attr]


# When this module is imported, so before anything else of ours is called in a child: that may need them. There is no
# way to unregister.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open)

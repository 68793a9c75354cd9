"""The one boundary at which a fault of ours stops: telemetry must never break or change a call."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

from .locks import lock

logger: Final = logging.getLogger("otel_llm_bridge")

_F = TypeVar("_F", bound=Callable[..., Any])
_seen: set[tuple[str, type[BaseException]]] = set()
_lock = lock()
_strict = False


def set_strict(strict: bool) -> None:
    """In tests the boundary re-raises, so that no fault of ours hides behind it."""
    global _strict
    _strict = strict


def report(where: str, error: BaseException) -> None:
    """Log ``error`` once for each place and kind. Its text is left out: it may hold a prompt or a key.

    The traceback is logged at DEBUG, where a developer looks for it and nobody ships it.
    """
    key = (where, type(error))
    with _lock:
        if key in _seen:
            return
        _seen.add(key)
    logger.warning(
        "otel_llm_bridge: internal fault in %s (%s); the call itself is not affected. "
        "Set the logger 'otel_llm_bridge' to DEBUG for the traceback.",
        where,
        type(error).__name__,
    )
    logger.debug("internal fault in %s", where, exc_info=error)


def fault(where: str, error: Exception) -> None:
    """What to do in an ``except Exception`` of ours: go on, or raise ``error`` in strict mode.

    For the hot paths; elsewhere `guarded` and `never_raises` say it shorter.
    """
    if _strict:
        raise error
    report(where, error)


class guarded:  # noqa: N801 - read as a statement: `with guarded("…"):`
    """Let no ``Exception`` out of the block: report it once a kind and go on.

    A class and not a generator: each call passes a dozen of them, and this costs a fifth.
    """

    __slots__ = ("_where",)

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        fault(self._where, error)
        return True


def never_raises(function: _F) -> _F:
    """Decorate ``function`` so that a fault in it is reported and ``None`` comes back."""
    where = getattr(function, "__qualname__", repr(function))

    @functools.wraps(function)
    def guarded_function(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            fault(where, error)
            return None

    return guarded_function  # type: ignore[return-value]

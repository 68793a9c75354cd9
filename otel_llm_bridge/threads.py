"""The caller's Context in other threads: Python's thread pools do not carry it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

_E = TypeVar("_E", bound=Executor)
_T = TypeVar("_T")


def wrap_executor(executor: _E) -> _E:
    """Have ``executor`` run each function in the Context of the one who submitted it.

    Spans made there are children of the span that was current at ``submit`` or ``map``.

    Args:
        executor: a thread pool. It is changed in place; wrapping it again changes nothing.

    Returns:
        The same executor.
    """
    submit = executor.submit
    if getattr(submit, "carries_context", False):
        return executor

    def submit_in_context(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return submit(contextvars.copy_context().run, function, *args, **kwargs)

    submit_in_context.carries_context = True  # type: ignore[attr-defined]
    executor.submit = submit_in_context  # type: ignore[method-assign]
    return executor


def run_in_context(function: Callable[..., _T]) -> Callable[..., _T]:
    """``function``, to be run in another thread in the Context of this moment: ``Thread(target=run_in_context(f))``."""
    context = contextvars.copy_context()

    def run(*args: Any, **kwargs: Any) -> _T:
        # A copy for each run: a Context can be entered only once at a time.
        return context.copy().run(function, *args, **kwargs)

    return run

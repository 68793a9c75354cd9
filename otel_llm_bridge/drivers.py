"""The only place where sync and async part ways.

``begin`` gives an invocation, or ``None`` when the call is a part of one that is already running.
It is called inside the coroutine, so that the Context is detached where it was attached.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol

from .invocation import Owed
from .patching import Wrapper


class Call(Protocol):
    """What a driver needs of an invocation."""

    owed: Owed | None

    def __enter__(self) -> Any: ...
    def __exit__(self, *error: Any) -> None: ...


#: ``(args, kwargs) -> (invocation, settle)``; ``settle(result)`` returns what the caller is given.
Begin = Callable[[tuple[Any, ...], dict[str, Any]], "tuple[Call, Callable[[Any], Any]] | None"]


def driver_for(function: Callable[..., Any], begin: Begin) -> Wrapper:
    """The wrapper for ``function``: it is a coroutine function if that is one."""

    def drive(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = begin(args, kwargs)
        if begun is None:
            return wrapped(*args, **kwargs)
        invocation, settle = begun
        try:
            with invocation:
                return settle(wrapped(*args, **kwargs))
        finally:
            if invocation.owed is not None:
                invocation.owed.settle()

    async def adrive(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = begin(args, kwargs)
        if begun is None:
            return await wrapped(*args, **kwargs)
        invocation, settle = begun
        try:
            with invocation:
                return settle(await wrapped(*args, **kwargs))
        finally:
            if invocation.owed is not None:
                await invocation.owed.asettle()

    return adrive if inspect.iscoroutinefunction(function) else drive

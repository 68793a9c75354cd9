"""The only place where sync and async part ways: around a call, and where what it owes is waited for.

``begin`` gives an invocation, or ``None`` when the call is a part of one that is already running.
It is called inside the coroutine, so that the Context is detached where it was attached.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from .guard import fault
from .invocation import Owed
from .patching import Wrapper


class Driven(Protocol):
    """What a driver needs of an invocation."""

    owed: Owed | None

    def __enter__(self) -> Any: ...
    def __exit__(self, *error: Any) -> None: ...


#: ``(invocation, settle)``; ``settle(result)`` returns what the caller is given.
Begun = tuple[Driven, Callable[[Any], Any]]
#: ``(args, kwargs) -> (invocation, settle)``; ``None``: nothing begins, the call is a part of a running one.
Begin = Callable[[tuple[Any, ...], dict[str, Any]], Begun | None]


class _Taken:
    """What a call owes, taken from it: it is waited for once, whatever comes of that.

    A callback may want its error raised. Over an exception that is no `Exception` it is not: a task that is cancelled must
    end as one, and Ctrl-C as Ctrl-C.
    """

    __slots__ = ("_call", "_quietly")

    def __init__(self, call: Driven, error: BaseException | None) -> None:
        self._call = call
        self._quietly = error is not None and not isinstance(error, Exception)

    def __enter__(self) -> Owed | None:
        owed, self._call.owed = self._call.owed, None
        return owed

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        return self._quietly and isinstance(error, Exception)


def settle_owed(call: Driven, error: BaseException | None = None) -> None:
    """Wait for what ``call`` owes, before its caller goes on; ``error`` is what the caller is about to get.

    Raises:
        Exception: what a callback wants raised.
    """
    with _Taken(call, error) as owed:
        if owed is not None:
            owed.settle()


async def asettle_owed(call: Driven, error: BaseException | None = None) -> None:
    """The same for a caller that awaits the call. Where nothing is owed it waits for nothing."""
    with _Taken(call, error) as owed:
        if owed is not None:
            await owed.asettle()


def _settled(settle: Callable[[Any], Any], result: Any) -> Any:
    """What the caller is given: ``result`` itself where reading it goes wrong."""
    try:
        return settle(result)
    except Exception as error:
        fault("the result", error)
        return result


def driver_for(function: Callable[..., Any], begin: Begin) -> Wrapper:
    """The wrapper for ``function``: it is a coroutine function if that is one. A fault in ``begin`` stops here."""

    def drive(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = None
        try:
            begun = begin(args, kwargs)
        except Exception as error:
            fault("begin", error)
        if begun is None:
            return wrapped(*args, **kwargs)
        invocation, settle = begun
        try:
            with invocation:
                result = _settled(settle, wrapped(*args, **kwargs))
        except BaseException as error:
            settle_owed(invocation, error)
            raise
        if invocation.owed is not None:
            settle_owed(invocation)
        return result

    async def adrive(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = None
        try:
            begun = begin(args, kwargs)
        except Exception as error:
            fault("begin", error)
        if begun is None:
            return await wrapped(*args, **kwargs)
        invocation, settle = begun
        try:
            with invocation:
                result = _settled(settle, await wrapped(*args, **kwargs))
        except BaseException as error:
            await asettle_owed(invocation, error)
            raise
        if invocation.owed is not None:
            await asettle_owed(invocation)
        return result

    return adrive if inspect.iscoroutinefunction(function) else drive

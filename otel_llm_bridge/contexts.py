"""The current Context, at the least cost: a call asks for it a dozen times, and a stream switches it twice for each chunk.

OpenTelemetry's API reaches its ContextVar through two functions each time. Here the variable itself is taken, where there
is one: with another implementation (OTEL_PYTHON_CONTEXT) the API's functions are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from .guard import logger

_variable: Any = getattr(getattr(context_api, "_RUNTIME_CONTEXT", None), "_current_context", None)
_is_plain: Final = isinstance(_variable, ContextVar)

#: The current Context.
current_context: Final[Callable[[], Context]] = _variable.get if _is_plain else context_api.get_current
#: Makes a Context the current one; returns the token for `release` or `detach`.
attach: Final[Callable[[Context], Any]] = _variable.set if _is_plain else context_api.attach
#: Goes back from `attach`, with its token; `release` where that may be impossible.
reset: Final[Callable[[Any], None]] = _variable.reset if _is_plain else context_api.detach


#: Under this key the API keeps the current span.
SPAN: Final[str] = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))


#: What `reset` raises where the Context had not been entered.
ELSEWHERE: Final = (ValueError, RuntimeError)


def release(token: Any) -> None:
    """Go back to the Context before `attach`, on the thread and in the task that attached it."""
    try:
        reset(token)
    except ELSEWHERE as error:  # attached elsewhere: there is nothing here to go back from
        logger.debug("a Context was left where it had not been entered: %s", error)


def detach(token: Any, context: Context) -> None:
    """`release`, if ``context`` is still the current one.

    A coroutine or generator may be closed from another task, or by the garbage collector: its token
    belongs to a context that is not current there.
    """
    if current_context() is context:
        release(token)

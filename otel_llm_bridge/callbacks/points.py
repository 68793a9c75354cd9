"""The lifecycle points of a call, and how a callback of each kind is called at each of them.

One table says what LiteLLM's own conventions are: which methods of a ``CustomLogger`` belong to a point,
under which parameter names, and what a plain function is given. Nothing here imports LiteLLM: a logger is
known by its methods.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

#: What LiteLLM passes, by parameter name, before a request and after it.
_REQUEST: Final = ("model", "messages", "kwargs")
_RESULT: Final = ("kwargs", "response_obj", "start_time", "end_time")
_FALLBACK: Final = ("original_model_group", "kwargs", "original_exception")

#: A function whose one parameter has this name is given the `Event` itself.
_EVENT: Final = ("event",)


class Point(NamedTuple):
    """One row: a lifecycle point."""

    name: str
    #: Methods of a logger object, for a sync and for an async call: tried in this order.
    sync_methods: tuple[str, ...]
    async_methods: tuple[str, ...]
    #: The parameters of those methods.
    parameters: tuple[str, ...]
    #: What a function may take, each by position; the first that fits is used.
    forms: tuple[tuple[str, ...], ...]
    #: The call is over: it happens once for each call.
    terminal: bool = False


POINTS: Final = {
    row.name: row
    for row in (
        Point("input", ("log_input_event",), ("async_log_input_event",), _REQUEST, (("kwargs",), _REQUEST)),
        Point("pre_call", ("log_pre_api_call",), ("async_log_pre_api_call",), _REQUEST, (_REQUEST, ("kwargs",))),
        Point("post_call", ("log_post_api_call",), ("async_log_post_api_call",), _RESULT, (_RESULT,)),
        Point("stream_chunk", ("log_stream_event",), ("async_log_stream_event",), _RESULT, (_RESULT,)),
        Point("success", ("log_success_event",), ("async_log_success_event",), _RESULT, (_RESULT,), terminal=True),
        Point("failure", ("log_failure_event",), ("async_log_failure_event",), _RESULT, (_RESULT,), terminal=True),
        Point("retry", ("log_retry_event",), ("async_log_retry_event",), _RESULT, (_RESULT,)),
        Point("fallback", (), ("log_success_fallback_event",), _FALLBACK, (_RESULT, _FALLBACK)),
        Point("fallback_failure", (), ("log_failure_fallback_event",), _FALLBACK, (_RESULT, _FALLBACK)),
        Point("cooldown", ("log_cooldown_event",), ("async_log_cooldown_event",), _RESULT, (_RESULT,)),
        Point("cache_hit", ("log_cache_hit_event",), ("async_log_cache_hit_event",), _RESULT, (_RESULT,)),
        Point("service", ("log_service_event",), ("async_log_service_event",), _RESULT, (_RESULT,)),
    )
}

#: Names for several points at once.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {"both": ("success", "failure"), "all": tuple(POINTS)}

#: Methods that LiteLLM's base class defines are no hooks until a subclass overrides them.
_BASE_CLASSES: Final = frozenset({("litellm.integrations.custom_logger", "CustomLogger")})


class CallbackSignatureError(TypeError):
    """A callback that could not be called at the point it is registered for; says what would fit."""


class UnknownPoint(ValueError):
    """A lifecycle point that does not exist; says which ones do."""


class Event:
    """What a callback is told: LiteLLM's own objects, unchanged.

    Attributes:
        point: the lifecycle point, a key of `POINTS`.
        details: what belongs to this point only (a retry's number, a cooldown's seconds).
        span_context: of the call's span, or ``None``.
    """

    __slots__ = ("_facts", "_load", "details", "point", "span_context")

    def __init__(
        self,
        point: str,
        load: Callable[[], Mapping[str, Any]],
        details: Mapping[str, Any] | None = None,
        span_context: Any = None,
    ) -> None:
        """An event that nobody has looked at yet.

        Args:
            point: the lifecycle point.
            load: returns ``kwargs``, ``response_obj``, ``start_time`` and ``end_time`` (datetimes) as LiteLLM
                gives them. Called once, when the first callback wants to know, maybe in another thread.
            details: what belongs to this point only.
            span_context: of the call's span.
        """
        self.point = point
        self.details = details or {}
        self.span_context = span_context
        self._load = load
        self._facts: Mapping[str, Any] | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """All of it; loaded now if it was not yet."""
        if self._facts is None:
            self._facts = self._load()
        return self._facts

    @property
    def kwargs(self) -> dict[str, Any]:
        """LiteLLM's record of the call (its ``model_call_details``)."""
        kwargs: dict[str, Any] = self.facts["kwargs"]
        return kwargs

    def __getattr__(self, name: str) -> Any:
        # Parameters come from three places; the nearer one wins.
        for source in (self.facts, self.details, self.facts["kwargs"]):
            if name in source:
                return source[name]
        return None


class Binding(NamedTuple):
    """How one callback is called at one point."""

    call: Callable[[Event], Any]
    is_async: bool


class Bound(NamedTuple):
    """The bindings of one callback at one point, for sync and for async calls."""

    for_sync: Binding
    for_async: Binding


def expand(on: str | Iterable[str]) -> tuple[str, ...]:
    """The points that ``on`` names, in the order of the table.

    Raises:
        UnknownPoint: a name is neither a point nor a group.
    """
    names = (on,) if isinstance(on, str) else tuple(on)
    unknown = [name for name in names if name not in POINTS and name not in GROUPS]
    if unknown or not names:
        raise UnknownPoint(f"no lifecycle point {', '.join(map(repr, unknown))}; there are {', '.join((*POINTS, *GROUPS))}")
    wanted = {point for name in names for point in GROUPS.get(name, (name,))}
    return tuple(point for point in POINTS if point in wanted)


def is_logger(callback: object) -> bool:
    """Whether ``callback`` is an object with LiteLLM's hook methods, and not a function."""
    return not callable(callback) or any(_hook(callback, method) for point in POINTS.values() for method in _methods(point))


def points_of(callback: object) -> tuple[str, ...]:
    """The points that a logger object has a hook for."""
    return tuple(name for name, point in POINTS.items() if any(_hook(callback, method) for method in _methods(point)))


def bind(callback: object, point: str) -> Bound:
    """Find out how ``callback`` is called at ``point``, and that it can be.

    Raises:
        CallbackSignatureError: it cannot.
    """
    row = POINTS[point]
    if not is_logger(callback):
        binding = _bind_function(callback, row)
        return Bound(binding, binding)
    sync, asynchronous = _bind_method(callback, row, row.sync_methods), _bind_method(callback, row, row.async_methods)
    # An object with both is asked the one that suits the call, as LiteLLM does; with one, that one.
    for_sync, for_async = sync or asynchronous, asynchronous or sync
    if for_sync is None or for_async is None:
        raise CallbackSignatureError(
            f"{name_of(callback)} has no hook for {point!r}: define {' or '.join(_methods(row))}({', '.join(row.parameters)})"
        )
    return Bound(for_sync, for_async)


def name_of(callback: object) -> str:
    """What a person would call this callback."""
    if isinstance(callback, str):
        return callback
    if isinstance(callback, functools.partial):
        return name_of(callback.func)
    return str(getattr(callback, "__qualname__", None) or type(callback).__qualname__)


def _methods(point: Point) -> tuple[str, ...]:
    return point.sync_methods + point.async_methods


def has_hook(callback: object, method: str) -> bool:
    """Whether ``callback`` has that method, and not only from LiteLLM's base class."""
    return _hook(callback, method) is not None


def _hook(callback: object, method: str) -> Any:
    for owner in type(callback).__mro__:
        if method in vars(owner):
            inherited = (owner.__module__, owner.__qualname__) in _BASE_CLASSES
            return None if inherited else getattr(callback, method)
    return None


def _is_coroutine_function(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004  # the function itself is wanted
    )


def _bind_method(callback: object, point: Point, methods: tuple[str, ...]) -> Binding | None:
    for name in methods:
        method = _hook(callback, name)
        if method is None:
            continue
        parameters = point.parameters
        if _fits(method, (), parameters):
            return Binding(_by_name(method, parameters), _is_coroutine_function(method))
        if _fits(method, _EVENT, ()):
            return Binding(method, _is_coroutine_function(method))
        raise CallbackSignatureError(
            f"{name_of(callback)}.{name}{_signature(method)} cannot be called: "
            f"its parameters must have the names ({', '.join(parameters)}), because LiteLLM passes them by name"
        )
    return None


def _bind_function(function: Any, point: Point) -> Binding:
    is_async = _is_coroutine_function(function)
    if _wants_event(function):
        return Binding(function, is_async)
    for form in point.forms:
        if _fits(function, form, ()):
            return Binding(_by_position(function, form), is_async)
    forms = " or ".join(f"({', '.join(form)})" for form in (*point.forms, _EVENT))
    raise CallbackSignatureError(f"{name_of(function)}{_signature(function)} cannot be called at {point.name!r}: it must take {forms}")


def _by_name(method: Any, parameters: tuple[str, ...]) -> Callable[[Event], Any]:
    return lambda event: method(**{name: getattr(event, name) for name in parameters})


def _by_position(function: Any, parameters: tuple[str, ...]) -> Callable[[Event], Any]:
    return lambda event: function(*[getattr(event, name) for name in parameters])


def _wants_event(function: Any) -> bool:
    try:
        return tuple(inspect.signature(function).parameters) == _EVENT
    except (TypeError, ValueError):
        return False


def _fits(function: Any, positional: tuple[str, ...], named: tuple[str, ...]) -> bool:
    try:
        inspect.signature(function).bind(*positional, **dict.fromkeys(named))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature: nothing to check
        return True
    return True


def _signature(function: Any) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(…)"

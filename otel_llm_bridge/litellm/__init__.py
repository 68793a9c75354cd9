"""Everything that knows LiteLLM. Imported only when LiteLLM is."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..drivers import driver_for
from ..neighbours import NEST, Neighbours
from ..patching import Target, Undo, Wrapper, apply_all
from . import callback_bridge, hooks, own_otel, router, unrecorded
from .calls import Calls
from .wrap_points import FAMILIES, REPEATED, targets

if TYPE_CHECKING:
    from ..settings import Settings
    from ..telemetry import Layer


def install(settings: Settings, inference: Layer, router: Layer, below: Layer) -> list[Undo]:
    """Wrap every point of the tables that this version of LiteLLM has.

    Returns:
        The way back, for `patching.restore`.
    """
    neighbours = Neighbours(settings.neighbours)
    if neighbours.policy != NEST:
        own_otel.install(neighbours)
    calls = Calls(sys.modules["litellm"], inference, router, below, settings, neighbours)
    # After the hooks: it wraps some of the same functions, and is taken off first.
    return [neighbours.close, *apply_all(_points(calls)), *callback_bridge.install(settings)]


def _points(calls: Calls) -> list[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]]:
    points: list[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]] = []
    for target, make_wrapper in _repeated(calls):
        points.append((target, make_wrapper))
    for family in FAMILIES:
        for target in targets(family):
            begin = functools.partial(calls.begin_call, family, target.path)
            points.append((target, functools.partial(_driver, begin)))
    points += [(target, functools.partial(make, calls)) for target, make in (*router.POINTS, *unrecorded.POINTS)]
    points += [(point.target, functools.partial(hooks.wrapper_for, point)) for point in hooks.POINTS]
    return points


def _repeated(calls: Calls) -> list[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]]:
    """The functions under LiteLLM's own wrappers: what runs once more when LiteLLM repeats a call."""
    points: list[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]] = []
    for family in FAMILIES:
        for target in targets(family):
            if target.path in REPEATED and target.module != "litellm":
                inner = Target(target.module, f"{target.path}.__wrapped__")
                begin = functools.partial(calls.begin_attempt, family, target.path)
                points.append((inner, functools.partial(_driver, begin)))
    return points


def _driver(begin: Callable[..., Any], function: Callable[..., Any]) -> Wrapper:
    return driver_for(function, functools.partial(begin, inspect.iscoroutinefunction(function), _positional(function)))


def _positional(function: Any) -> tuple[str, ...]:
    """Names of what ``function`` may be given by place. Some async ones take ``*args`` for the sync one, which has the names."""
    beside = getattr(inspect.unwrap(function), "__globals__", {})  # what is compiled has none
    for candidate in (function, beside.get(function.__name__.removeprefix("a"))):
        parameters = inspect.signature(candidate).parameters.values() if callable(candidate) else ()
        names = [parameter.name for parameter in parameters if parameter.kind in _BY_PLACE]
        if names:
            return tuple(names)
    return _OF_NATIVE


_BY_PLACE: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
#: Of what newer versions hand on to native code, as OCR.
_OF_NATIVE: Final = ("model", "document")

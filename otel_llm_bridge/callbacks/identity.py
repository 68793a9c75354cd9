"""When two callbacks are the same one: what keeps a module that is loaded again from having its callbacks called twice."""

from __future__ import annotations

import sys
import types
from typing import Any, Final

from .points import is_logger

#: First part of a key: what the others are compared by. Here a key of the caller's own, and class and configuration.
GIVEN: Final = "key"
OBJECT: Final = "object"

_PLAIN: Final = (str, int, float, bool, bytes, type(None))


def key_of(callback: Any, given: Any = None) -> tuple[Any, ...]:
    """What makes two callbacks the same: the key that was given, name, identity, or class and configuration.

    A function or class of a module that has been loaded again is the same as the stale one before.
    """
    if given is not None:
        return (GIVEN, given)
    if isinstance(callback, str):
        return ("name", callback)
    if isinstance(callback, types.MethodType):
        return ("method", id(callback.__self__), _home(callback.__func__) or id(callback.__func__))
    if not is_logger(callback):
        return ("function", _home(callback) or id(callback))
    settings = sorted((name, _frozen(value)) for name, value in getattr(callback, "__dict__", {}).items())
    return (OBJECT, _home(type(callback)) or id(type(callback)), tuple(settings))


def _home(thing: Any) -> str | None:
    """Module and name, of what can be found by them; ``None`` for what was made inside a function."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or "<" in name or getattr(thing, "__closure__", None):
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # While a module is being executed its names may not be bound yet, or still to the stale function.
    return f"{module}:{name}" if found is None or _code_home(found) == _code_home(thing) else None


def _code_home(thing: Any) -> tuple[Any, Any]:
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)


def _frozen(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return (type(value).__name__, repr(value))
    return ("id", id(value))

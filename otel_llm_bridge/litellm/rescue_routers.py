"""LiteLLM's callback lists hold Routers weakly, and whom they leave out is named.

Each Router registers methods of its own with LiteLLM, for ever: dropped Routers stay alive, and after some
dozens of them the lists are full and LiteLLM ignores whatever callback comes next. Here the lists are given a
stand-in that goes when its Router goes.

They leave out what comes when they are full, and an object that looks like one that is there, without a word of
which it is. That stays so (who is called is LiteLLM's affair), but it is said.
"""

from __future__ import annotations

import inspect
import sys
import types
import weakref
from typing import Any, Final

from ..callbacks.points import is_logger, name_of
from ..guard import guarded, logger
from ..patching import Target, Undo
from .rescue import wrap_attribute

_ADD: Final = Target("litellm.litellm_core_utils.logging_callback_manager", "LoggingCallbackManager._safe_add_callback_to_list")

_LISTS: Final = (
    "callbacks", "input_callback", "success_callback", "failure_callback", "service_callback",
    "_async_input_callback", "_async_success_callback", "_async_failure_callback",
)  # fmt: skip


class _RouterMethod:
    """Stands for a bound method of a Router in LiteLLM's lists, and looks like one to LiteLLM."""

    def __init__(self, method: types.MethodType) -> None:
        self._method = weakref.WeakMethod(method)
        self._hash = hash(method)
        # LiteLLM leaves its own callbacks out by their names.
        self.__name__ = method.__name__
        self.__qualname__ = method.__qualname__
        self.__module__ = method.__module__

    @property
    def __self__(self) -> Any:  # LiteLLM removes a Router's methods by it
        method = self._method()
        return None if method is None else method.__self__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _RouterMethod) and self._method == other._method

    def __hash__(self) -> int:
        return self._hash

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        method = self._method()
        return None if method is None else method(*args, **kwargs)


class _AsyncRouterMethod(_RouterMethod):
    """The same for a coroutine function: LiteLLM looks at ``__call__``."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        method = self._method()
        return None if method is None else await method(*args, **kwargs)


def install() -> list[Undo]:
    """Hold Routers weakly from now on. LiteLLM is loaded."""
    undo = wrap_attribute(_ADD, _add)
    return [undo] if undo else []


def _add(wrapped: Any, manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    callback = kwargs["callback"] if "callback" in kwargs else args[0] if args else None
    if isinstance(callback, types.MethodType) and _is_router(callback.__self__):
        with guarded("registration of a Router's callback"):
            kind = _AsyncRouterMethod if inspect.iscoroutinefunction(callback) else _RouterMethod
            stand_in = kind(callback)
            weakref.finalize(callback.__self__, _forget, stand_in).atexit = False
            if "callback" in kwargs:
                kwargs = {**kwargs, "callback": stand_in}
            else:
                args = (stand_in, *args[1:])
    result = wrapped(*args, **kwargs)
    with guarded("callbacks that LiteLLM leaves out"):
        told = {**dict(zip(("callback", "parent_list"), args, strict=False)), **kwargs}
        _say_if_left_out(manager, told["callback"], told["parent_list"])
    return result


#: Who was named, and why: LiteLLM tries again with each call.
_named: set[tuple[str, str]] = set()


def _say_if_left_out(manager: Any, callback: Any, callbacks: list[Any]) -> None:
    if isinstance(callback, str) or any(one is callback or one == callback for one in callbacks):
        return
    key_of = manager._get_custom_logger_key
    if is_logger(callback) and key_of(callback) in [key_of(one) for one in callbacks if type(one) is type(callback)]:
        why = "it takes it for another one of its class that it has already"
    else:
        why = f"it has {len(callbacks)} already"
    name = name_of(callback)
    if (name, why) not in _named:
        _named.add((name, why))
        logger.warning("LiteLLM leaves out the callback %s: %s. Registered with otel_llm_bridge.callbacks it is called", name, why)


def _is_router(owner: object) -> bool:
    return any(base.__module__.startswith("litellm.router") and base.__name__ in ("Router", "PythonCore") for base in type(owner).__mro__)


def _forget(stand_in: _RouterMethod) -> None:
    litellm = sys.modules.get("litellm")
    for name in _LISTS:
        callbacks = getattr(litellm, name, None)
        if isinstance(callbacks, list):
            callbacks[:] = [one for one in callbacks if one is not stand_in]

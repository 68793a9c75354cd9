"""What is made when it is first asked for, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .locks import rlock

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class made_once(Generic[_T]):  # noqa: N801 - read as a decorator
    """As `functools.cached_property`, made by one thread while the others wait; since Python 3.12 that one is made in each.

    Afterwards it is an attribute like any other, and costs as much, until it is forgotten.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self._making = rlock()
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type[Any]) -> _T:
        with self._making:
            attributes = vars(instance)
            if self._name not in attributes:
                attributes[self._name] = self._make(instance)
            made: _T = attributes[self._name]
            return made

    def forget(self, instance: Any) -> None:
        """Let it be made again when it is next asked for; what is being made right now is waited for, and forgotten too."""
        with self._making:
            vars(instance).pop(self._name, None)


def keep(cache: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> _Value:
    """Put ``value`` into ``cache``; one that has ``most`` already begins anew."""
    if len(cache) >= most:
        cache.clear()
    cache[key] = value
    return value


def forget_made(instance: Any) -> None:
    """Forget everything that was made once, in the order in which the class defines it."""
    for made in vars(type(instance)).values():
        if isinstance(made, made_once):
            made.forget(instance)

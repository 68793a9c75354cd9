"""A proxy that only its type tells from what it stands for.

`wrapt`'s has the special methods of every type: what it stands for would be a context manager, have a length, be a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final


class Transparent:
    """Has the class, the attributes and, in a subclass made with `special_methods`, the special methods of ``target``.

    Its own attributes begin with ``_self_``; every other one is read, set and deleted on ``target``.
    """

    _self_target: Any

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "_self_target", target)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # what `isinstance` asks
        return self._self_target.__class__

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self._self_target.__dict__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._self_target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_self_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._self_target, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._self_target, name)

    def __dir__(self) -> list[str]:
        return dir(self._self_target)

    def __repr__(self) -> str:
        return repr(self._self_target)

    def __str__(self) -> str:
        return str(self._self_target)

    def __format__(self, spec: str) -> str:
        return format(self._self_target, spec)

    def __eq__(self, other: object) -> Any:
        return self._self_target == (getattr(other, "_self_target", other) if issubclass(type(other), Transparent) else other)

    def __hash__(self) -> int:
        return hash(self._self_target)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._self_target.__reduce_ex__(protocol)


def _forwarded(name: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._self_target, name)(*args, **kwargs)

    return forward


#: Special methods that Python looks for on the type.
_SPECIAL: Final = (
    "bool", "call", "await", "len", "length_hint", "contains", "reversed", "getitem", "setitem", "delitem",
    "int", "float", "complex", "index", "bytes", "fspath", "round", "copy", "deepcopy",
    "iter", "next", "enter", "exit", "aiter", "anext", "aenter", "aexit",
)  # fmt: skip


def special_methods(kind: type[Any]) -> tuple[str, ...]:
    """Names of those that ``kind`` has."""
    # Not `hasattr`: every class can be called.
    there = {name for base in kind.__mro__ for name, value in vars(base).items() if value is not None}
    return tuple(name for name in (f"__{word}__" for word in _SPECIAL) if name in there)


def subclass(base: type[Any], name: str, special: tuple[str, ...], own: dict[str, Callable[..., Any]]) -> type[Any]:
    """A subclass of ``base`` with the special methods ``special``: those of ``own``, else passed on."""
    told = {attribute: property(operator.attrgetter(f"_self_target.{attribute}")) for attribute in ("__doc__", "__module__")}
    return type(name, (base,), {**told, **{method: own.get(method) or _forwarded(method) for method in special}})

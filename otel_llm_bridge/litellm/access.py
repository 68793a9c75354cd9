"""Looks into whatever LiteLLM hands out: mappings, pydantic models, plain objects, of any shape. Never raises."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

Facts = dict[str, Any]


def get(source: Any, path: str) -> Any:
    """The value at a dotted ``path`` of mappings or objects, or ``None``."""
    if type(source) is dict and "." not in path:  # nearly always
        return source.get(path)
    for name in path.split(".") if "." in path else (path,):
        if type(source) is dict:  # nearly always; asking for `Mapping` costs four times that
            source = source.get(name)
        elif source is None:
            return None
        else:
            source = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    return source


def fields(source: Any) -> Any:
    """A pydantic object as the dictionary of its fields, anything else as it is.

    Asking a pydantic object for what it does not have costs a microsecond each time.
    """
    if not hasattr(type(source), "__pydantic_fields__"):
        return source
    extra = getattr(source, "__pydantic_extra__", None)
    return {**source.__dict__, **extra} if extra else source.__dict__


def peek(source: Any, name: str) -> Any:
    """The value under one ``name``, at the least cost where it is not there: this runs for each chunk of a stream."""
    if type(source) is dict:
        return source.get(name)
    own = getattr(source, "__dict__", _NO_FIELDS)
    if name in own:
        return own[name]
    if not hasattr(type(source), "__pydantic_fields__"):
        return get(source, name)
    extra = source.__pydantic_extra__
    return extra.get(name) if extra else None


def column(sources: list[Any], name: str) -> list[Any]:
    """The values under ``name`` of those that have one: as `peek`, for a long list of which most have none."""
    try:
        found, extras = [*map(dict.get, map(_FIELDS, sources), repeat(name))], [*map(_EXTRA, sources)]
    except AttributeError:  # not all are models of pydantic
        found = [peek(source, name) for source in sources]
    else:
        if any(extras):
            found = [extra.get(name) if value is None and extra else value for value, extra in zip(found, extras, strict=True)]
    return [value for value in found if value is not None]


_FIELDS, _EXTRA = attrgetter("__dict__"), attrgetter("__pydantic_extra__")
_NO_FIELDS: Final[Mapping[str, Any]] = {}


def first(source: Any, paths: tuple[str, ...]) -> Any:
    """The value at the first of ``paths`` that is there."""
    for path in paths:
        value = get(source, path)
        if value is not None:
            return value
    return None


def clean(facts: Mapping[str, Any]) -> Facts:
    """Without what is not there, and without values of types that no attribute has."""
    # What nearly all are is asked first: each call passes here three times.
    return {
        name: value
        for name, value in facts.items()
        if value is not None and (value.__class__ in _PLAIN or isinstance(value, (str, int, float)) or (isinstance(value, list) and value))
    }


_PLAIN: Final = frozenset({str, int, float, bool})

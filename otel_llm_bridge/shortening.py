"""Values that are too long, made short enough: one prompt must not sink a whole batch.

What was valid JSON is valid JSON afterwards, and every cut says what it left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from .json_text import dump

#: Items that a list keeps when shortening its strings is not enough.
_KEPT_ITEMS: Final = (64, 16, 4, 1)
_SHORTEST: Final = 32


def shorten(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` bytes of UTF-8; JSON objects and arrays stay valid JSON."""
    if len(text) * 4 <= limit:  # whatever its characters are
        return text
    size = len(text.encode("utf-8", "surrogatepass"))
    if size <= limit:
        return text
    if text[:1] in "[{":
        try:
            value = json.loads(text)
        except ValueError:
            pass
        else:
            return _dump(fit(value, limit, size, lambda smaller: len(_dump(smaller).encode()) <= limit))
    return cut(text, limit)


def cut(text: str, limit: int) -> str:
    """The beginning of ``text`` and how many bytes there were, in at most ``limit`` bytes of UTF-8."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text
    note = f"…[{len(data)} bytes]"
    room = limit - len(note.encode())
    if room <= 0:
        return data[:limit].decode("utf-8", "ignore")
    return data[:room].decode("utf-8", "ignore") + note


def fit(value: Any, limit: int, size: int, fits: Callable[[Any], bool]) -> Any:
    """``value``, a list or an object of ``size`` bytes, made smaller until it ``fits``, which is about ``limit`` bytes.

    Strings first, then lists and objects: the shape says more than the end of a long text.
    """
    longest = limit
    while longest > _SHORTEST:
        longest = max(_SHORTEST, longest // 2)
        smaller = _strings(value, longest)
        if fits(smaller):
            return smaller
    for kept in _KEPT_ITEMS:
        smaller = _items(_strings(value, _SHORTEST), kept)
        if fits(smaller):
            return smaller
    left = {"truncated": size}
    return left if isinstance(value, Mapping) else [left]


def _dump(value: Any) -> str:
    return dump(value).encode("utf-8", "replace").decode()


def _strings(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return cut(value, longest)
    if isinstance(value, (list, tuple)):
        return [_strings(item, longest) for item in value]
    if isinstance(value, Mapping):
        return {cut(str(key), longest): _strings(item, longest) for key, item in value.items()}
    return value


def _items(value: Any, kept: int) -> Any:
    if isinstance(value, list):
        left = [f"…[{len(value) - kept} more]"] if len(value) > kept else []
        return [_items(item, kept) for item in value[:kept]] + left
    if isinstance(value, dict):
        pairs = {key: _items(item, kept) for key, item in list(value.items())[:kept]}
        return pairs if len(value) <= kept else {**pairs, "…": f"{len(value) - kept} more"}
    return value

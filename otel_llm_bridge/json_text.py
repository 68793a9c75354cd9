"""JSON text of plain values: written by orjson where it is installed, as it is with LiteLLM's Proxy, else by the standard library.

Both mean the same, and orjson takes a twentieth of the time for a long text. What it refuses, such as half a surrogate pair
or a whole number of more than 64 bits, the standard library writes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Final

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(value: Any) -> str:
    """``value`` without blanks, and with all letters as they are.

    Raises:
        TypeError, ValueError, RecursionError: it is not made of JSON's types, contains itself, or is too deep.
    """
    fast = _orjson()
    if fast is not None:
        try:
            return fast(value).decode()
        except TypeError:
            pass
    return _encode(value)


@functools.cache
def _orjson() -> Callable[[Any], bytes] | None:
    # At the first text, and not before: most programs capture no content.
    try:
        import orjson
    except ImportError:
        return None
    return orjson.dumps

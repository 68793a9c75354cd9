"""Who a call is for, as its arguments to LiteLLM say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .access import Facts, first

#: Where LiteLLM keeps the metadata of a request; the second one is that of the Responses API and others.
_METADATA: Final = ("metadata", "litellm_metadata")


def read_request(request: Mapping[str, Any], allowed: frozenset[str]) -> Facts:
    """What the allow-list lets through of the arguments and the metadata."""
    if not allowed:
        return {}
    facts: Facts = {}
    if "user" in allowed and request.get("user") is not None:
        facts["end_user"] = str(request["user"])
    if "tags" in allowed:
        tags = first(request, ("tags", "metadata.tags", "litellm_metadata.tags"))
        facts["tags"] = [str(tag) for tag in tags] if isinstance(tags, (list, tuple)) else None
    found = {}
    for key in allowed - {"user", "tags"}:
        for name in _METADATA:
            values = request.get(name)
            if isinstance(values, Mapping) and values.get(key) is not None:
                found[key] = values[key]
    return {**{name: value for name, value in facts.items() if value}, **({"metadata": found} if found else {})}

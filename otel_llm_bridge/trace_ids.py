"""From what a call has returned back to its trace."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .locks import lock

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext


class _Reference(weakref.ref[Any]):
    """To a response, with its identity and the trace of its call."""

    __slots__ = ("context", "key")

    key: int
    context: SpanContext


class _Traces:
    """The trace of each response that is still alive: weak, so that it keeps none of them alive.

    Responses compare by value and have no hash, so they are found by identity. A response that takes no weak
    reference (a plain ``dict``) is found by its id, among the last few.
    """

    _LAST: Final = 1024

    def __init__(self) -> None:
        self._alive: dict[int, _Reference] = {}
        self._by_id: OrderedDict[str, SpanContext] = OrderedDict()
        self._lock = lock()

    def remember(self, response: Any, span: Span) -> None:
        if response is None:
            return
        key, context = id(response), span.get_span_context()
        try:
            reference = _Reference(response, self._gone)
        except TypeError:
            response_id = response.get("id") if isinstance(response, Mapping) else None
            if isinstance(response_id, str):
                with self._lock:
                    self._by_id[response_id] = context
                    if len(self._by_id) > self._LAST:
                        self._by_id.popitem(last=False)
            return
        reference.key, reference.context = key, context
        self._alive[key] = reference

    def _gone(self, reference: _Reference) -> None:
        if self._alive.get(reference.key) is reference:  # not one of a response that has been given its place in memory
            del self._alive[reference.key]

    def find(self, response: Any) -> SpanContext | None:
        found = self._alive.get(id(response))
        if found is not None and found() is response:
            return found.context
        response_id = response.get("id") if isinstance(response, Mapping) else None
        return self._by_id.get(response_id) if isinstance(response_id, str) else None


_traces: Final = _Traces()


#: ``remember(response, span)``: ``span`` is the one of the call that gave ``response``.
remember: Final = _traces.remember


def get_trace_id(response: Any) -> str | None:
    """The trace of the call that gave ``response``: 32 hexadecimal digits.

    Args:
        response: what a call returned, a stream included, and nothing else of it is needed.

    Returns:
        The id, or ``None`` for what no recorded call has returned. For responses that are plain
        dictionaries (``anthropic.messages``) the last 1,024 of the process are known.
    """
    found = _traces.find(response)
    return f"{found.trace_id:032x}" if found and found.trace_id else None

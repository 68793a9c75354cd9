"""A span of the bridge's own, made by `tracer`: what the SDK's has, and an end that may come before all is said.

Source: opentelemetry-specification, trace/sdk.md (Span limits) and trace/api.md (Span).
"""

from __future__ import annotations

import functools
import time
import traceback
from _thread import RLock
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from ..guard import guarded, logger
from ..semconv import gen_ai

if TYPE_CHECKING:
    from .tracer import Tracer

#: The SDK's default for attributes, events and links alike. With another one the SDK makes the spans.
MOST: Final = 128

_PLAIN: Final = frozenset({str, int, float, bool})
_STRINGS: Final = frozenset({str})
_UNSET: Final = Status()
_NOTHING: Final[Mapping[str, Any]] = {}


class Event(NamedTuple):
    """As `opentelemetry.sdk.trace.Event`."""

    name: str
    attributes: Mapping[str, Any]
    timestamp: int
    dropped_attributes: int = 0


#: As the class makes it, without a function in between: each call makes some.
_event: Final[Callable[[tuple[Any, ...]], Event]] = functools.partial(tuple.__new__, Event)


class CallSpan(trace.Span):
    """A recording span: the API's interface to write, the attributes of the SDK's ``ReadableSpan`` to read."""

    dropped_attributes = dropped_events = dropped_links = 0
    end_time: int | None = None
    status: Status = _UNSET
    links: Sequence[Any] = ()
    _unwritten: Callable[[CallSpan], None] | None = None

    def __init__(
        self, tracer: Tracer, name: str, context: SpanContext, parent: SpanContext | None, kind: SpanKind, start_time: int | None
    ) -> None:
        self._tracer = tracer
        # Re-entrant: what writes a span runs under it, and may meet the garbage collector.
        self._lock = RLock()
        self.name, self.context, self.parent, self.kind = name, context, parent, kind
        self.resource = tracer.resource
        self.instrumentation_scope = tracer.scope
        self.start_time = time.time_ns() if start_time is None else start_time
        self.attributes: dict[str, Any] = {}
        self.events: list[Event] = []

    def get_span_context(self) -> SpanContext:
        """See `opentelemetry.trace.Span`."""
        return self.context

    def is_recording(self) -> bool:
        """See `opentelemetry.trace.Span`."""
        return self.end_time is None

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """See `opentelemetry.trace.Span`."""
        with self._lock:
            if self.end_time is not None:
                logger.warning("an attribute of a span that has ended is not recorded")
                return
            self._set(attributes)

    def _set(self, attributes: Mapping[str, Any]) -> None:
        own = self.attributes
        taken, dropped = _taken(attributes)
        own.update(taken)
        self.dropped_attributes += dropped
        while len(own) > MOST:
            del own[next(iter(own))]
            self.dropped_attributes += 1

    def set_attribute(self, key: str, value: Any) -> None:
        """See `opentelemetry.trace.Span`."""
        self.set_attributes({key: value})

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        clean, dropped = _NOTHING, 0
        if attributes:
            bounded = _bounded(attributes)
            clean, dropped = dict(bounded), bounded.dropped
        event = _event((name, clean, time.time_ns() if timestamp is None else timestamp, dropped))
        with self._lock:
            if self.end_time is not None:
                # No warning: the end may have come in another thread; one of ours becomes a log record then.
                logger.debug("an event of a span that has ended is not recorded")
                return
            self.events.append(event)
            if len(self.events) > MOST:
                del self.events[0]
                self.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        link = trace.Link(context, _bounded(attributes or {}))
        with self._lock:
            if self.end_time is None:
                self.links = (*self.links, link)
                if len(self.links) > MOST:
                    self.links = self.links[1:]
                    self.dropped_links += 1

    def update_name(self, name: str) -> None:
        """See `opentelemetry.trace.Span`."""
        if self.end_time is None:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """See `opentelemetry.trace.Span`. OK stays, and nothing goes back to UNSET."""
        if isinstance(status, StatusCode):
            status = Status(status, description)
        unsettled = self.status.status_code is not StatusCode.OK and status.status_code is not StatusCode.UNSET
        if unsettled and self.end_time is None:
            self.status = status

    def record_exception(
        self, exception: BaseException, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """See `opentelemetry.trace.Span`. Only others call it: what we say of an exception is a matter of the content policy."""
        kind = type(exception)
        named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        told = {
            gen_ai.EXCEPTION_TYPE: named,
            gen_ai.EXCEPTION_MESSAGE: str(exception),
            gen_ai.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(exception)),
            gen_ai.EXCEPTION_ESCAPED: str(escaped),
        }
        self.add_event(gen_ai.EVENT_EXCEPTION, {**told, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """See `opentelemetry.trace.Span`."""
        with self._lock:
            if self.end_time is not None:
                logger.warning("a span that has ended is ended again")
                return
            self.end_time = time.time_ns() if end_time is None else end_time
        self._tracer.processor.on_end(self)  # type: ignore[arg-type]  # it reads what a ReadableSpan has

    def end_unwritten(self, write: Callable[[CallSpan], None]) -> None:
        """`end`; ``write`` says the rest of the span, with `fill`. Who reads the span calls it first: `write`."""
        self._unwritten = write
        self.end()
        if not self._tracer.processor.delivery.waits:  # somebody else has begun to look while the span ran
            self.write()

    def write(self) -> None:
        """Have the rest said, if it has not been; afterwards it has been, whichever thread does it."""
        if self._unwritten is not None:
            with self._lock, guarded("writing a span"):
                if (write := self._unwritten) is not None:
                    try:
                        write(self)
                    finally:
                        self._unwritten = None

    def fill(self, name: str, attributes: Mapping[str, Any]) -> None:
        """What was not said at the start, nor while the span recorded. A name that somebody has given it stays."""
        with self._lock:
            self.name = self.name or name
            self._set(attributes)


def _bounded(attributes: Mapping[str, Any]) -> BoundedAttributes:
    """As the SDK takes them: types checked, copied, limited."""
    return BoundedAttributes(MOST, attributes, immutable=True)


def _taken(attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """``attributes`` as the SDK takes them, and how many it drops. Most are plain: these are only looked at."""
    odd = [key for key, value in attributes.items() if value.__class__ not in _PLAIN]
    if "" in attributes and "" not in odd:
        odd.append("")
    if not odd:
        return attributes, 0
    taken, dropped = dict(attributes), 0
    for key in odd:
        value = taken[key]
        if key and value.__class__ is list and _STRINGS.issuperset(map(type, value)):
            taken[key] = tuple(value)
            continue
        bounded = _bounded({key: value})
        dropped += bounded.dropped
        if key in bounded:
            taken[key] = bounded[key]
        else:
            del taken[key]
    return taken, dropped

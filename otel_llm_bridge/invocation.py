"""The record of one call: facts, lifecycle events, one end. Knows neither LiteLLM nor attribute names."""

from __future__ import annotations

import itertools
import time
from _thread import RLock
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypedDict

from opentelemetry import context as context_api
from opentelemetry.context import Context

from .contexts import SPAN, attach, current_context, detach
from .guard import fault, guarded, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from opentelemetry.trace import Span

    from .content.conversation import Conversation
    from .telemetry import Layer

_CURRENT: Final = context_api.create_key("otel_llm_bridge-invocation")

#: Invocations that have begun and not finished. Strong references on purpose: what is in here when the
#: process ends is finished then. Every way out of a call takes its invocation out again.
_open: dict[int, Invocation] = {}
_serial = itertools.count()
_NOTHING: Final[Mapping[str, Any]] = {}


#: ``(read, what it is given besides the facts)``, see `Invocation.put_off`.
Unread = tuple["Callable[..., None]", tuple[Any, ...]]


class Owed(Protocol):
    """Something to wait for, sync or async."""

    def settle(self) -> None:
        """Return when it is over."""

    async def asettle(self) -> None:
        """Return when it is over."""


class Kept(TypedDict, total=False):
    """What is kept of a call until its end, and by whom it is needed: none of it is a fact. All of the library's is `Any`."""

    #: The wrapped function's row in the table, and the arguments by their names: the readers, and who is told.
    family: Any
    request: Any
    #: LiteLLM's own record of the call, its ``Logging``: prices, and who is told.
    logging: Any
    #: What was answered; of a stream, its chunks, and what the library has put together from them.
    response: Any
    chunks: list[Any]
    rebuilt: Any
    #: The usage that a stream ends with is the library's own count.
    counted: bool
    #: Of an answer that the cache had a part of, the usage of the other part, and of that one.
    billed: Any
    cached: Any
    #: Where content is wanted: what was said, the keys that no text may show, the exception as it may be recorded.
    conversation: Conversation
    secrets: tuple[str, ...]
    exception: dict[str, Any]
    #: Who tells the registered callbacks, the error of one that is to stop the request, a fallback that is under way.
    call: Any
    stop: BaseException | None
    #: A request is out whose answer has not come yet.
    asked: bool
    fallback: dict[str, Any]
    is_async: bool
    #: Of a logical call: what its attempts need.
    within_llm_span: bool


class Invocation:
    """One call while it runs: an upstream attempt, or the logical call above its attempts.

    It is the context manager that a driver enters around the wrapped call. It finishes exactly once,
    on whichever of these comes first: return, raise, cancellation, the end of the stream that was
    returned, or the end of the process.

    Attributes:
        kept: what is needed until its end, and is empty afterwards.
        parent: the invocation that this one runs under, if any.
        started_ns: wall clock, nanoseconds since the epoch.
        clock: monotonic seconds at the start, for durations.
        outside: the caller's Context.
        beside: what the Context of the call has besides that and its span.
        key: under which the code that runs inside of it finds it, see `inside`.
    """

    key: ClassVar[str] = _CURRENT

    # A class of slots: one is made for each call.
    __slots__ = (
        "_attached", "_end", "_facts", "_lock", "_number", "_once", "_unread", "beside", "bound", "clock", "ended_clock", "error",
        "finished", "kept", "layer", "outside", "owed", "parent", "prompt", "span", "started_ns", "streams", "waited", "waits",
    )  # fmt: skip

    def __init__(
        self, layer: Layer, facts: dict[str, Any], parent: Invocation | None = None, unread: Iterable[Unread] = ()
    ) -> None:
        self.layer = layer
        self._facts = facts
        #: What has yet to be read, see `put_off`.
        self._unread = deque(unread)
        #: Whether the span begins without what it is called and says. Without anything to be read it has that.
        self.waits = bool(self._unread)
        #: Whether the end needs what belongs to the call, so that nothing about it may wait.
        self.prompt = False
        #: Whether the call has returned a stream.
        self.streams = False
        self.parent = parent
        self.finished = False
        #: LiteLLM has made its own record (its Logging object) of this call: the next one is another call.
        self.bound = False
        self.error: BaseException | None = None
        self.kept: Kept = {}
        #: What the driver must still wait for before the call returns: callbacks that run inline.
        self.owed: Owed | None = None
        #: Whether there will be a driver that waits. Not for a call that is ended by somebody else.
        self.waited = True
        # Re-entrant: what reads the facts runs under it, and may meet the garbage collector.
        self._lock = RLock()
        #: Where the call has returned a stream: what ends it, with an outcome and all that was read.
        self._end: Callable[[str], None] | None = None
        self._once: set[str] = set()
        #: While a driver is in it: the token, and what was attached.
        self._attached: Any = None
        self._number = next(_serial)
        self.ended_clock = 0.0
        self.started_ns = time.time_ns()
        self.clock = time.perf_counter()
        self.outside = current_context()
        self.beside: Mapping[str, Any] = _NOTHING
        self.span: Span = layer.start(self)
        _open[self._number] = self

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the call, under the names of `semconv.vocabulary`. What was put off is read now."""
        if self._unread:
            with self._lock:
                while self._unread:  # others wait until the last one has been read
                    read, given = self._unread[0]
                    try:
                        read(self._facts, *given)
                    except Exception as error:
                        fault("facts", error)
                    finally:
                        self._unread.popleft()
        return self._facts

    def put_off(self, read: Callable[..., None], *given: Any) -> None:
        """``read(facts, *given)`` adds to the facts, when somebody asks for them: nothing of ``given`` may change until then."""
        self._unread.append((read, given))

    def __enter__(self) -> Invocation:
        try:
            context = self.inside()
            self._attached = attach(context), context
        except Exception as error:
            fault("context", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._attached is not None:
                detach(*self._attached)
                self._attached = None
            if error is not None:
                # A coroutine that is closed cannot wait any more.
                self.waited = not isinstance(error, GeneratorExit)
                self.fail(error)
            elif self._end is None:
                self.finish()
        except Exception as of_ours:
            fault("the end", of_ours)

    def inside(self) -> Context:
        """The Context of the code that this call runs: its own, with itself in it.

        It is not kept here: a record that is part of a cycle would wait for the garbage collector, with its span.
        """
        return Context({**self.outside, SPAN: self.span, **self.beside, self.key: self})

    @property
    def context(self) -> Context:
        """The same without itself: for what is recorded of it, and for what goes out."""
        return Context({**self.outside, SPAN: self.span, **self.beside})

    def suspend(self, end: Callable[[str], None]) -> None:
        """The call has returned a stream, whose end is that of the call: ``end`` brings it about, given the outcome."""
        self._end, self.streams = end, True

    def cut_off(self, outcome: str) -> None:
        """The call is still open when everything ends: it ends now, with this outcome."""
        self.waited = False
        end = self._end
        if end is not None:
            end(outcome)
        else:
            self.finish(outcome=outcome)

    def event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Something happened: a span event while the span records, a log record with its context afterwards."""
        try:
            self.layer.event(self, name, attributes or {})
        except Exception as error:
            fault("event", error)

    def once(self, what: str) -> bool:
        """Whether this is the first time that it is asked for ``what``."""
        if what in self._once:
            return False
        self._once.add(what)
        return True

    def fail(self, error: BaseException) -> None:
        """The call has raised ``error``."""
        self.error = error
        self.finish()

    def finish(self, **facts: Any) -> None:
        """End the span and record the metrics: the first time it is called, and never again."""
        with self._lock:
            if self.finished:
                return
            self.finished = True
        self._end = None  # it holds this record in turn, which must not have to wait for the garbage collector
        _open.pop(self._number, None)
        self.ended_clock = time.perf_counter()
        if facts:
            self.put_off(dict.update, facts)
        try:
            self.layer.stop(self)
        except Exception as error:  # the span must end whatever happens to what it says
            report("finish", error)
            self.span.end()
            with guarded("finish"):
                raise
        finally:
            try:
                self.layer.over(self)
            except Exception as error:
                fault("after the end", error)
            self.kept = {}

    @property
    def duration(self) -> float:
        """Seconds from the start to the end, or until now."""
        return (self.ended_clock or time.perf_counter()) - self.clock

    @property
    def ended_ns(self) -> int:
        """Wall clock at the end, or now, in nanoseconds since the epoch."""
        return self.started_ns + int(self.duration * 1e9)


def current() -> Invocation | None:
    """The invocation that the running code belongs to, finished or not."""
    found: Invocation | None = current_context().get(_CURRENT)  # type: ignore[assignment]  # nobody else has the key
    return found


def open_invocations() -> Iterator[Invocation]:
    """Those that have not finished, the innermost first."""
    return iter(sorted(_open.values(), key=lambda invocation: -invocation._number))


def finish_open(outcome: str) -> int:
    """End what is still open, marked with ``outcome``; returns how many that were."""
    count = 0
    for invocation in open_invocations():
        invocation.cut_off(outcome)
        count += 1
    return count


def disown_open() -> None:
    """In a forked child: the open calls belong to the parent, which will end them."""
    for invocation in list(_open.values()):
        invocation.finished = True
        invocation._end = None
    _open.clear()

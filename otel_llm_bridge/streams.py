"""The stream that a caller is given: the library's own, seen through a transparent proxy.

The proxy passes ``isinstance``, attributes and methods. The call's Context is attached only around each
read, never across a yield, and the call ends exactly once: drained, error, cancelled, closed, left and
collected, or at the end of the process.
"""

from __future__ import annotations

import asyncio
import functools
from array import array
from operator import sub
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from .contexts import ELSEWHERE, attach, detach, release, reset
from .drivers import asettle_owed, settle_owed
from .guard import fault, guarded, never_raises
from .invocation import Invocation
from .reaper import reaper
from .semconv import litellm as names
from .transparent import Transparent, special_methods, subclass

if TYPE_CHECKING:
    from collections.abc import Callable


class ChunkReader(Protocol):
    """Collects what the chunks of one stream say.

    Attributes:
        every: it must be fed each chunk; otherwise the first and the last one are enough.
    """

    every: bool

    def feed(self, chunk: Any) -> None:
        """See one chunk, as the caller gets it. Must be cheap."""

    def close(self, complete: bool) -> dict[str, Any]:
        """The facts of the whole stream; ``complete`` when it was read to its end."""


class StreamRecorder:
    """What the proxy tells, and the one end of the call. Holds neither the stream nor the proxy."""

    def __init__(self, invocation: Invocation, reader: ChunkReader, chunk_events: bool = False) -> None:
        self.invocation = invocation
        self.context = invocation.inside()
        self._reader, self._feed = reader, reader.feed
        self._chunk_events = chunk_events
        #: When each chunk came, and the last one.
        self.clocks: list[float] = []
        self.last: Any = None
        #: Whether the next chunk is to be `saw`: the first one always.
        self.attentive = True
        invocation.suspend(self.end)
        reaper.start()

    def saw(self, chunk: Any) -> None:
        """The caller is given one more chunk, and somebody wants to know."""
        try:
            if len(self.clocks) == 1:
                self.attentive = self._chunk_events or self._reader.every
                self.invocation.event(names.EVENT_FIRST_CHUNK)
            elif self._chunk_events:
                self.invocation.event(names.EVENT_CHUNK, {names.EVENT_CHUNK_INDEX: len(self.clocks) - 1})
            self._feed(chunk)
        except Exception as error:  # not `guarded`: this may run for each chunk
            fault("chunk", error)

    @never_raises
    def raised(self, error: BaseException) -> None:
        """A read has raised: the end, an error, or a cancellation."""
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            self.end(names.OUTCOME_COMPLETE)
        elif isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
            self.left(names.OUTCOME_CANCELLED, error)
        else:
            self.end(names.OUTCOME_ERROR, error)

    @never_raises
    def left(self, outcome: str, error: BaseException | None) -> None:
        """The caller reads no further, and is about to get ``error``, if any."""
        # A coroutine that is closed cannot wait any more.
        self.invocation.waited = not isinstance(error, GeneratorExit)
        self.end(outcome)

    def abandoned(self) -> None:
        """Nobody holds the stream any more."""
        self.invocation.waited = False
        self.end(names.OUTCOME_ABANDONED)

    def end(self, outcome: str, error: BaseException | None = None) -> None:
        """The stream is over; only the first call counts."""
        invocation = self.invocation
        if invocation.finished:
            return
        facts: dict[str, Any] = {"stream_outcome": outcome}
        with guarded("stream"):
            clocks = self.clocks
            facts["stream_chunks"] = len(clocks)
            if clocks:
                facts["time_to_first_chunk"] = clocks[0] - invocation.clock
                # Seconds from each chunk to the next, for the metrics.
                facts["chunk_gaps"] = array("d", map(sub, clocks[1:], clocks))
            token = attach(self.context)
            try:
                if not self.attentive:
                    self._feed(self.last)
                facts = {**self._reader.close(outcome == names.OUTCOME_COMPLETE), **facts}
            finally:
                detach(token, self.context)
        with guarded("stream"):
            if outcome == names.OUTCOME_COMPLETE:
                invocation.event(names.EVENT_LAST_CHUNK, {names.STREAM_CHUNKS: len(self.clocks)})
            invocation.error = error
            invocation.finish(**facts)


class StreamProxy(Transparent):
    """Stands for a stream of the library, sync or async. Made by `proxy_for`."""

    def __init__(self, stream: Any, recorder: StreamRecorder) -> None:
        self._self_recorder: StreamRecorder = recorder
        super().__init__(stream)

    def __getattr__(self, name: str) -> Any:
        # `hasattr` must answer as it does for the stream itself, so these are not methods of the class.
        value = getattr(self._self_target, name)
        end = _ENDINGS.get(name)
        return value if end is None else end(value, self._self_recorder)

    def __del__(self) -> None:
        recorder = self._self_recorder
        if not recorder.invocation.finished:
            reaper.add(recorder.abandoned)


def _closing(close: Callable[..., Any], recorder: StreamRecorder, pending: BaseException | None = None) -> Callable[..., Any]:
    """``close``, and then the call is over; ``pending`` is the exception that leaves the block around the stream."""

    @functools.wraps(close)
    def close_and_end(*args: Any, **kwargs: Any) -> Any:
        try:
            result = close(*args, **kwargs)
        except BaseException as error:
            recorder.left(names.OUTCOME_CLOSED_EARLY, error)
            settle_owed(recorder.invocation, error)
            raise
        recorder.left(names.OUTCOME_CLOSED_EARLY, pending)
        settle_owed(recorder.invocation, pending)
        return result

    return close_and_end


def _aclosing(aclose: Callable[..., Any], recorder: StreamRecorder, pending: BaseException | None = None) -> Callable[..., Any]:
    """The same for what is awaited."""

    @functools.wraps(aclose)
    async def aclose_and_end(*args: Any, **kwargs: Any) -> Any:
        try:
            result = await aclose(*args, **kwargs)
        except BaseException as error:
            recorder.left(names.OUTCOME_CLOSED_EARLY, error)
            await asettle_owed(recorder.invocation, error)
            raise
        recorder.left(names.OUTCOME_CLOSED_EARLY, pending)
        await asettle_owed(recorder.invocation, pending)
        return result

    return aclose_and_end


_ENDINGS: Final = {"close": _closing, "aclose": _aclosing}


def _next(self: StreamProxy) -> Any:
    recorder = self._self_recorder
    token = attach(recorder.context)
    try:
        chunk = self._self_target.__next__()
    except BaseException as error:
        detach(token, recorder.context)
        recorder.raised(error)
        settle_owed(recorder.invocation, error)
        raise
    try:  # `release`, without a call for each chunk; on the thread that attached it, before anything else runs there
        reset(token)
    except ELSEWHERE:
        release(token)
    recorder.clocks.append(perf_counter())
    recorder.last = chunk
    if recorder.attentive:
        recorder.saw(chunk)
    if recorder.invocation.owed is not None:
        settle_owed(recorder.invocation)
    return chunk


async def _anext(self: StreamProxy) -> Any:
    recorder = self._self_recorder
    token = attach(recorder.context)
    try:
        chunk = await self._self_target.__anext__()
    except BaseException as error:
        detach(token, recorder.context)
        recorder.raised(error)
        await asettle_owed(recorder.invocation, error)
        raise
    detach(token, recorder.context)
    recorder.clocks.append(perf_counter())
    recorder.last = chunk
    if recorder.attentive:
        recorder.saw(chunk)
    if recorder.invocation.owed is not None:
        await asettle_owed(recorder.invocation)
    return chunk


def _same(self: StreamProxy) -> Any:
    return self


def _enter(self: StreamProxy) -> Any:
    self._self_target.__enter__()
    return self


async def _aenter(self: StreamProxy) -> Any:
    await self._self_target.__aenter__()
    return self


def _exit(self: StreamProxy, *error: Any) -> Any:
    return _closing(self._self_target.__exit__, self._self_recorder, error[1])(*error)


async def _aexit(self: StreamProxy, *error: Any) -> Any:
    return await _aclosing(self._self_target.__aexit__, self._self_recorder, error[1])(*error)


_PROTOCOL: Final[dict[str, Callable[..., Any]]] = {
    "__iter__": _same, "__next__": _next, "__enter__": _enter, "__exit__": _exit,
    "__aiter__": _same, "__anext__": _anext, "__aenter__": _aenter, "__aexit__": _aexit,
}  # fmt: skip


@functools.lru_cache(maxsize=256)
def _proxy_class(name: str, special: tuple[str, ...]) -> type[StreamProxy]:
    """A proxy with just those special methods that the stream's type has: ABCs look for them on the type.

    Never kept by the type itself: LiteLLM's Router makes a class for each call, whose closure holds the stream.
    """
    return subclass(StreamProxy, name, special, _PROTOCOL)


def is_stream(result: Any) -> bool:
    """Whether ``result`` is read by ``next`` or ``anext``."""
    kind = type(result)
    # Whether a model of pydantic has a thing that it does not have takes its metaclass a microsecond to say.
    return not hasattr(kind, "__pydantic_fields__") and (hasattr(kind, "__anext__") or hasattr(kind, "__next__"))


def proxy_for(stream: Any, recorder: StreamRecorder) -> StreamProxy:
    """The proxy that the caller is given instead of ``stream``."""
    kind = type(stream)
    return _proxy_class(kind.__name__, special_methods(kind))(stream, recorder)


settle_left_streams: Final = reaper.settle
after_fork: Final = reaper.after_fork

"""A small driver of LiteLLM's calls, for these tests: what the bridge's own drivers do for callbacks, and no more.

It wraps ``completion`` and ``acompletion`` of ``litellm`` (which the Router calls, too), sees the lifecycle where
LiteLLM dispatches it, and follows streams to their end.
"""

from __future__ import annotations

import contextvars
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import wrapt

from otel_llm_bridge import callbacks
from otel_llm_bridge.callbacks import Call
from otel_llm_bridge.export import lifetime
from otel_llm_bridge.patching import Patch, Target, restore
from otel_llm_bridge.settings import Settings

_current: contextvars.ContextVar[Record | None] = contextvars.ContextVar("call", default=None)


class Record:
    """One call."""

    def __init__(self, is_async: bool) -> None:
        self.call: Call = callbacks.begin(is_async=is_async)
        self.logging: Any = None
        self.chunks: list[Any] = []
        self.kept: list[Any] | None = None

    def ended(self, **how: Any) -> None:
        from otel_llm_bridge.litellm import callback_bridge

        callback_bridge.ended(self.call, self.logging, **how)

    def stream_ended(self, error: BaseException | None) -> None:
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            from otel_llm_bridge.litellm.rescue_calls import assembled

            self.ended(response=assembled(self.kept or self.chunks, self.logging), cache_hit=False)
        elif isinstance(error, Exception):
            self.ended(error=error)
        else:
            self.ended(outcome="cancelled", chunks=self.chunks, error=error)


class Stream(wrapt.ObjectProxy):  # type: ignore[misc]
    """A stream that tells its record."""

    def __init__(self, stream: Any, record: Record) -> None:
        super().__init__(stream)
        self._self_record = record
        # LiteLLM's own list of chunks has the usage that it takes off the ones that the caller gets.
        record.kept = getattr(stream, "chunks", None)
        weakref.finalize(self, _left, record, "abandoned", False).atexit = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        record = self._self_record
        try:
            chunk = next(self.__wrapped__)
        except BaseException as error:
            record.stream_ended(error)
            raise
        record.chunks.append(chunk)
        _tell(record, "stream_chunk", chunk)
        return chunk

    async def __anext__(self) -> Any:
        record = self._self_record
        try:
            chunk = await self.__wrapped__.__anext__()
        except BaseException as error:
            record.stream_ended(error)
            await record.call.asettle()
            raise
        record.chunks.append(chunk)
        _tell(record, "stream_chunk", chunk)
        return chunk

    async def aclose(self) -> None:
        try:
            if hasattr(self.__wrapped__, "aclose"):
                await self.__wrapped__.aclose()
        finally:
            _left(self._self_record, "closed_early", True)
            await self._self_record.call.asettle()


def _left(record: Record, outcome: str, waited: bool) -> None:
    record.ended(outcome=outcome, chunks=record.chunks, waited=waited)


def _tell(record: Record, point: str, response: Any = None) -> None:
    from otel_llm_bridge.litellm import callback_bridge

    callback_bridge.happened(record.call, point, record.logging, response=response)


def _is_stream(result: Any) -> bool:
    return hasattr(type(result), "__anext__") or hasattr(type(result), "__next__")


def _drive(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("acompletion") is True:
        return wrapped(*args, **kwargs)
    record = Record(is_async=False)
    token = _current.set(record)
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        record.ended(error=error)
        record.call.settle()
        raise
    finally:
        _current.reset(token)
    if _is_stream(result):
        return Stream(result, record)
    record.ended(response=result, cache_hit=_cached(result))
    record.call.settle()
    return result


async def _adrive(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    record = Record(is_async=True)
    token = _current.set(record)
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        record.ended(error=error)
        await record.call.asettle()
        raise
    finally:
        _current.reset(token)
    if _is_stream(result):
        return Stream(result, record)
    record.ended(response=result, cache_hit=_cached(result))
    await record.call.asettle()
    return result


def _cached(result: Any) -> bool | None:
    return (getattr(result, "_hidden_params", None) or {}).get("cache_hit")


def _bind(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    result = wrapped(*args, **kwargs)
    record = _current.get()
    if record is not None and record.logging is None:
        record.logging = instance
    return result


def _at(point: str) -> Callable[..., Any]:
    def hook(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        result = wrapped(*args, **kwargs)
        record = _current.get()
        if record is not None and record.logging is instance:
            _tell(record, point)
        return result

    return hook


def start(**options: Any) -> list[Patch]:
    """Drive LiteLLM's calls, and take part in the end of the process."""
    import litellm  # noqa: F401

    from otel_llm_bridge.litellm import callback_bridge
    from otel_llm_bridge.litellm.rescue import wrap_attribute

    settings = Settings.resolve(**options)
    lifetime.install(settings)
    callbacks.install(settings)
    logging = "litellm.litellm_core_utils.litellm_logging"
    wrappers = [
        (Target("litellm", "completion"), _drive),
        (Target("litellm", "acompletion"), _adrive),
        (Target(logging, "Logging.__init__"), _bind),
        (Target(logging, "Logging.pre_call"), _at("pre_call")),
        (Target(logging, "Logging.post_call"), _at("post_call")),
    ]
    patches = [patch for target, wrapper in wrappers if (patch := wrap_attribute(target, wrapper))]
    return patches + callback_bridge.install(settings)


def stop(patches: list[Patch]) -> None:
    """The opposite of `start`."""
    restore(patches)
    callbacks.uninstall()
    lifetime.uninstall()


@contextmanager
def driven(**options: Any) -> Iterator[None]:
    """Drive LiteLLM's calls within the block."""
    patches = start(**options)
    try:
        yield
    finally:
        stop(patches)


if __name__ == "__main__":
    sys.exit("import me")

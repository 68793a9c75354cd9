"""LiteLLM's own callbacks are completed, too: those that users register with LiteLLM in the ordinary way.

LiteLLM runs them in tasks and queues that die with the loop, in children and at exit. Here they are waited for
before a loop cancels its tasks; what nobody would run any more is run on our own loop. What LiteLLM has run it
does not run again: whatever is handed over is taken out of its queue first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Final

import wrapt

from ..callbacks import dispatcher, loops, process_end
from ..callbacks.dispatch import Dispatcher
from ..callbacks.registry import Registration
from ..export import freeze, lifetime
from ..guard import fault, logger
from ..patching import Target, Undo

NAME: Final = "LiteLLM's own callbacks"

_LOGGING: Final = "litellm.litellm_core_utils.litellm_logging"
#: What LiteLLM awaits, queues or starts as a bare task to run its async callbacks.
_ASYNC_HANDLERS: Final = (
    Target(_LOGGING, "Logging.async_success_handler"),
    Target(_LOGGING, "Logging.async_failure_handler"),
    Target(_LOGGING, "Logging.dispatch_success_handlers"),
    Target(_LOGGING, "Logging.dispatch_failure_handlers"),
    Target("litellm.utils", "_client_async_logging_helper"),
)
_WORKER: Final = Target("litellm.litellm_core_utils.logging_worker", "GLOBAL_LOGGING_WORKER")
_EXECUTOR: Final = Target("litellm.litellm_core_utils.thread_pool_executor", "executor")

_POLL: Final = 0.01
#: What a fork may wait for, in seconds.
_REST: Final = 2.0


class Own:
    """LiteLLM's own callbacks: which of them are still to come to their end."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.registration: Registration = dispatcher.registry.make(_finish, on="success", mode="tracked")
        self.registration.name = NAME
        self._handlers: weakref.WeakKeyDictionary[Coroutine[Any, Any, Any], Any] = weakref.WeakKeyDictionary()
        self._worker: Any = _found(_WORKER)
        self._executor: Any = _found(_EXECUTOR)

    def watch(self, coroutine: Any, *_call: Any) -> None:
        """An async handler was called: remembers its coroutine, and its loop."""
        loop = asyncio._get_running_loop()
        if loop is not None and asyncio.iscoroutine(coroutine):
            self._handlers[coroutine] = weakref.ref(loop)
            loops.watch(loop)

    def run(self, coroutine: Coroutine[Any, Any, Any], context: Any = None) -> None:
        """Complete ``coroutine`` on behalf of LiteLLM: on the running loop before that closes, or on ours."""
        self._dispatcher.adopt(self.registration, coroutine, context)

    # Before a loop closes.

    def pending(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether something of LiteLLM's is to be run on ``loop``."""
        return bool(self._unfinished(loop)) or (self._bound_to(loop) and bool(self._queued()))

    async def drain(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Let ``loop`` go on until nothing is pending on it; then take over what has not begun."""
        await self._idle(loop, lifetime.Deadline(seconds))
        if not self.pending(loop):
            return
        self.take_over(loop)
        if cut := len(self._unfinished(loop)):
            logger.warning("%s: %d were cut off when their event loop ended", NAME, cut)

    async def _idle(self, loop: asyncio.AbstractEventLoop, deadline: lifetime.Deadline) -> None:
        while self.pending(loop) and deadline.remaining() > 0:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)  # LiteLLM's queue and tasks have nothing to wait on

    def _unfinished(self, loop: asyncio.AbstractEventLoop) -> list[Coroutine[Any, Any, Any]]:
        return [one for one, its in list(self._handlers.items()) if its() is loop and one.cr_frame is not None]  # type: ignore[attr-defined]

    def _bound_to(self, loop: asyncio.AbstractEventLoop) -> bool:
        return getattr(self._worker, "_bound_loop", None) is loop

    def _queued(self) -> list[Any]:
        queue = getattr(self._worker, "_queue", None)
        waiting = [] if queue is None else list(queue._queue)
        return waiting + [task for task in list(getattr(self._worker, "_dequeued_tasks", {}).values()) if _not_begun(task)]

    # At the end of the process.

    def take_over(self, ending: asyncio.AbstractEventLoop | None = None) -> None:
        """Run what waits in LiteLLM's queue for a loop that will not run any more, or is ``ending``."""
        loop = getattr(self._worker, "_bound_loop", None)
        if loop is not None and loop is not ending and loop.is_running():
            return
        for task in self._queued():
            with contextlib.suppress(ValueError):
                self._worker._queue._queue.remove(task)
            getattr(self._worker, "_dequeued_tasks", {}).pop(id(task), None)
            if _not_begun(task):
                self._background(task)

    def _background(self, task: dict[str, Any]) -> None:
        mode, self.registration.mode = self.registration.mode, "background"
        try:
            self.run(task["coroutine"], task["context"])
        finally:
            self.registration.mode = mode

    def finish(self, deadline: lifetime.Deadline) -> None:
        """Wait for loops that are running in other threads, and for LiteLLM's thread pool."""
        while (self._busy_elsewhere() or self._busy_threads()) and deadline.remaining() > 0:
            time.sleep(_POLL)
        self.take_over()

    def before_freeze(self, deadline: lifetime.Deadline) -> None:
        """The same, of a process that goes on later: a loop that nobody runs now is run for what is pending on it."""
        if asyncio._get_running_loop() is None:
            for loop in self._loops():
                if not loop.is_running() and not loop.is_closed() and self.pending(loop):
                    waiting = self._idle(loop, deadline)
                    try:
                        loop.run_until_complete(waiting)
                    except RuntimeError:  # somebody has begun to run it in this moment
                        waiting.close()
        self.finish(deadline)

    def _loops(self) -> set[asyncio.AbstractEventLoop]:
        return {loop for its in list(self._handlers.values()) if (loop := its()) is not None}

    def _busy_elsewhere(self) -> bool:
        here = asyncio._get_running_loop()  # cannot go on while its thread waits
        return any(self.pending(loop) for loop in self._loops() if loop.is_running() and loop is not here)

    def _busy_threads(self) -> bool:
        # The pool has no public word for it: threads that are not idle, or work that waits. A pool that was shut down, as
        # Python does before the end of the process, keeps a word to its threads in the queue when they are gone.
        pool = self._executor
        idle = getattr(getattr(pool, "_idle_semaphore", None), "_value", None)
        if idle is None or not any(thread.is_alive() for thread in list(pool._threads)):
            return False
        return bool(pool._work_queue.qsize() > 0 or len(pool._threads) > idle)

    def before_fork(self) -> None:
        """Let LiteLLM's threads come to rest: a lock that one of them holds would stay locked in the child."""
        end = time.monotonic() + _REST
        while NAME in process_end.feeders and self._busy_threads() and time.monotonic() < end:
            time.sleep(_POLL)

    def after_fork_in_child(self) -> None:
        """What waits was inherited: the parent runs it."""
        worker = self._worker
        loop = asyncio._get_running_loop()
        if loop is not None:
            inherited = set(self._handlers)
            for task in asyncio.all_tasks(loop):
                if task.get_coro() in inherited or task in getattr(worker, "_running_tasks", ()):
                    task.cancel()
            if getattr(worker, "_worker_task", None) is not None:
                worker._worker_task.cancel()
        for task in self._queued():
            task["coroutine"].close()
        self._handlers.clear()
        if worker is not None and hasattr(worker, "_queue"):
            worker._queue = worker._sem = worker._worker_task = worker._bound_loop = None
            worker._running_tasks.clear()
            getattr(worker, "_dequeued_tasks", {}).clear()
        if hasattr(self._executor, "_idle_semaphore"):
            # Its threads are the parent's. A pool that believes in an idle thread never starts one.
            executor = self._executor
            executor._threads.clear()
            executor._idle_semaphore = threading.Semaphore(0)
            executor._work_queue = type(executor._work_queue)()
            if hasattr(executor, "_pending_slots"):
                executor._pending_slots = threading.Semaphore(executor._max_pending_tasks)


async def _finish(event: Any) -> None:
    await event.details["coroutine"]


def _not_begun(task: dict[str, Any]) -> bool:
    return inspect.getcoroutinestate(task["coroutine"]) == inspect.CORO_CREATED


def _found(target: Target) -> Any:
    try:
        return target.resolve()[2]
    except (ImportError, AttributeError):
        logger.warning("%s is not in this version of LiteLLM: its callbacks are rescued only in part", target)
        return None


def wrap_attribute(target: Target, wrapper: Callable[..., Any]) -> Undo | None:
    """Wrap a method as an attribute of its class; ``None``, and one warning, when this version has no such thing.

    Not in place: these methods may have a wrapper of `otel_llm_bridge.litellm.hooks` in place, which stays inside.
    """
    try:
        owner, name, function = target.resolve()
    except (ImportError, AttributeError):
        logger.debug("%s is not in this version of LiteLLM", target)
        return None
    before = vars(owner).get(name, function)
    setattr(owner, name, wrapt.FunctionWrapper(before, wrapper))
    return lambda: setattr(owner, name, before)


def call_after(target: Target, then: Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], None]) -> Undo | None:
    """Call ``then(result, instance, args, kwargs)`` after each call of a method; a fault in it stops here. See `wrap_attribute`."""

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        try:
            then(result, instance, args, kwargs)
        except Exception as error:
            fault(NAME, error)
        return result

    return wrap_attribute(target, wrapper)


@functools.cache
def own() -> Own:
    """The one of this process. LiteLLM is loaded."""
    one = Own(dispatcher)
    if hasattr(os, "register_at_fork"):  # for good: there is no way to unregister
        os.register_at_fork(before=one.before_fork)
    return one


def install() -> list[Undo]:
    """Rescue what LiteLLM runs from now on."""
    rescued = own()
    undos = [undo for target in _ASYNC_HANDLERS if (undo := call_after(target, rescued.watch))]
    loops.at_loop_end(NAME, rescued.pending, rescued.drain)
    process_end.feeders[NAME] = rescued.take_over
    lifetime.at_end(lifetime.Stage.DRAIN_LITELLM, NAME, rescued.finish)
    freeze.before_freeze(lifetime.Stage.DRAIN_LITELLM, NAME, rescued.before_freeze)
    lifetime.after_fork_in_child(rescued.after_fork_in_child)
    return [_uninstall, *undos]


def _uninstall() -> None:
    loops.forget(NAME)
    process_end.feeders.pop(NAME, None)
    lifetime.remove(NAME)
    freeze.remove(NAME)

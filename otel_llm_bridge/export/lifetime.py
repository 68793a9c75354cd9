"""The end of the process: one bounded routine, whichever way the process ends.

Normal exit, ``sys.exit`` and unhandled exceptions arrive through `atexit`; SIGTERM, SIGINT and SIGHUP through
`otel_llm_bridge.export.signals`; children of `multiprocessing` and `billiard` through their finalizers.

There is one budget for all of it, the setting ``exit_timeout``: for what is done before the routine (`early`), for its
stages, and for processors that are shut down by somebody else afterwards (`left`).
"""

from __future__ import annotations

import atexit
import enum
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from ..guard import guarded, logger
from ..settings import Settings
from . import signals
from .budget import Budget


class Stage(enum.IntEnum):
    """What happens at the end, in this order."""

    DRAIN_LITELLM = 1
    DRAIN_CALLBACKS = 2
    FINISH_SPANS = 3
    TELL_FINISHED = 4
    FLUSH = 5
    SHUTDOWN = 6
    REPORT = 7


#: By which part of the whole budget a stage must be over. What a stage leaves, the next ones have; a
#: callback that hangs cannot take the time that the flush needs. `early` and `freeze` have the time of the first two.
SHARE: Final = {
    Stage.DRAIN_LITELLM: 0.35,
    Stage.DRAIN_CALLBACKS: 0.55,
    Stage.FINISH_SPANS: 0.6,
    Stage.TELL_FINISHED: 0.7,
    Stage.FLUSH: 0.93,
    Stage.SHUTDOWN: 0.97,
    Stage.REPORT: 1.0,
}

#: A stage whose time is used up still gets this many seconds, to hand over what it has.
_LEAST: Final = 0.03

#: Libraries whose children skip `atexit`, and the module in which each keeps its finalizers.
_FINALIZER_MODULES: Final = ("multiprocessing.util", "billiard.util")


class Deadline:
    """A moment by which something must be over."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self._at - time.monotonic())


Hook = Callable[[Deadline], None]

_hooks: dict[str, tuple[Stage, Hook]] = {}
_in_child: list[Callable[[], None]] = []
_settings: Settings | None = None
_fork_hooked = False


def _none() -> None:
    """What a dead weak reference gives, too."""


_last_provider: Callable[[], Any] = _none
_claim = threading.Lock()
_done = threading.Event()
_budget = Budget()
_finalizers: weakref.WeakSet[Any] = weakref.WeakSet()


def at_end(stage: Stage, name: str, hook: Hook) -> None:
    """Run ``hook`` at the end of the process, in ``stage``; the same name replaces the earlier hook.

    The hook runs in a thread of its own and is left behind when its deadline passes.
    """
    _hooks[name] = (stage, hook)


def remove(name: str) -> None:
    """Forget the hook of that name; nothing happens when there is none."""
    _hooks.pop(name, None)


def after_fork_in_child(callback: Callable[[], None]) -> None:
    """Call ``callback`` in each forked child, before any other code of ours runs there."""
    if callback not in _in_child:
        _in_child.append(callback)
    _hook_fork()


def install(settings: Settings) -> None:
    """Take part in the end of this process and of its forked children. Calling it again changes nothing."""
    global _settings
    if _settings is None:
        atexit.register(_at_exit)
    _settings = settings
    _hook_fork()
    _watch_finalizers()
    if settings.handle_signals:
        signals.install(run, _is_running)


def uninstall() -> None:
    """Take no part any longer."""
    global _settings, _last_provider
    _settings = None
    _last_provider = _none
    atexit.unregister(_at_exit)
    signals.uninstall()


def provider_seen(provider: object) -> None:
    """Make sure that our routine runs before ``provider`` shuts itself down. Cheap: call it for every span.

    `atexit` runs the last registered function first, so we register once more whenever a provider appears
    that may be younger than our last registration. The earlier registration stays, and does nothing when its
    turn comes: taking it back while the exit hooks already run would leave us with none.
    """
    global _last_provider
    if _last_provider() is provider or _settings is None:
        return
    try:
        _last_provider = weakref.ref(provider)
    except TypeError:
        _last_provider = lambda: provider  # noqa: E731
    atexit.register(_at_exit)


def left(otherwise: float) -> float:
    """Seconds that are left for the end of the process, once it has begun; until then ``otherwise``."""
    return min(otherwise, _budget.left(_settings.exit_timeout)) if _settings is not None and _budget.touched else otherwise


def early(work: Hook) -> None:
    """Do a part of the end before its time. What it takes is missing later; it gets what the first stages may take."""
    if _settings is None or _claim.locked():
        return
    whole = _settings.exit_timeout
    deadline = Deadline(_budget.left(whole) - whole * (1 - SHARE[Stage.DRAIN_CALLBACKS]))
    with _budget:
        work(deadline)


def run(reason: str) -> bool:
    """Run all stages, once per process, within what is left of the budget.

    A second caller waits for the first one, and extends nothing.

    Returns:
        Whether the routine is over; ``False`` only for a second caller whose time is up.
    """
    if _settings is None:
        return True
    whole = _settings.exit_timeout
    deadline = Deadline(_budget.left(whole))
    if not _claim.acquire(blocking=False):
        return _done.wait(deadline.remaining() + _LEAST * len(Stage))
    logger.debug("end of the process: %s", reason)
    try:
        with _budget:
            for stage in Stage:
                if stage is Stage.FLUSH:
                    signals.hold_main_thread()
                hooks = [(name, hook) for name, (at, hook) in list(_hooks.items()) if at is stage]
                end = Deadline(max(_LEAST, deadline.remaining() - whole * (1 - SHARE[stage])))
                if hooks and not bounded(lambda hooks=hooks, end=end: _call(hooks, end), end.remaining()):  # type: ignore[misc]
                    logger.debug("stage %s was left behind with %.1f s left", stage.name, deadline.remaining())
    except KeyboardInterrupt:
        # The user pressed Ctrl-C again: leave now.
        logger.warning("interrupted before everything was delivered")
    finally:
        _done.set()
    return True


def _call(hooks: list[tuple[str, Hook]], deadline: Deadline) -> None:
    for name, hook in hooks:
        with guarded(f"end of the process: {name}"):
            hook(deadline)


def in_place(function: Callable[[], object], timeout: float) -> bool:
    """Run ``function`` here, however long it takes."""
    function()
    return True


def bounded(
    function: Callable[[], object], timeout: float, otherwise: Callable[[Callable[[], object], float], bool] = in_place
) -> bool:
    """Run ``function`` in a daemon thread and wait for it at most ``timeout`` seconds.

    Where no thread can be started any longer (Python 3.12, late in the exit), that is left to ``otherwise``.

    Returns:
        Whether it came to its end.
    """
    thread = threading.Thread(target=function, name="otel-llm-bridge-end", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return otherwise(function, timeout)
    thread.join(max(0.001, timeout))
    return not thread.is_alive()


def _is_running() -> bool:
    return _claim.locked() and not _done.is_set()


def _at_exit() -> None:
    _end("exit")


def _end(reason: str) -> None:
    run(reason)
    # The program may come to its own end while a signal is being answered: whoever sent it must see that it worked.
    signals.end_if_signalled()


def _hook_fork() -> None:
    # There is no way to unregister, so it is done once and for good.
    global _fork_hooked
    if not _fork_hooked and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
        _fork_hooked = True


def _after_fork() -> None:
    """A forked child has its own end, and none of its parent's threads."""
    global _claim, _done, _budget
    _claim, _done, _budget = threading.Lock(), threading.Event(), Budget()
    signals.after_fork()
    for callback in tuple(_in_child):  # one may add another
        with guarded("after fork"):
            callback()
    if _settings is not None:
        _watch_finalizers()
        _watch_celery()


class _Anchor:
    """Something that a weak registry of finalizers can hold on to for as long as the module lives."""


_anchor = _Anchor()


def _watch_finalizers() -> None:
    """Have our routine run when a child of `multiprocessing` ends.

    Such a child clears the registry of finalizers right after the fork and then calls what was registered
    with ``register_after_fork``: so that is the place from which we register. A child that is already past
    that point (spawned, and importing us now) registers at once.
    """
    for name in _FINALIZER_MODULES:
        util = sys.modules.get(name)
        if util is None:
            continue
        if util not in _finalizers:
            util.register_after_fork(_anchor, lambda _anchor, util=util: _add_finalizer(util))
            _finalizers.add(util)
        process = sys.modules.get(name.rpartition(".")[0] + ".process")
        if process is not None and getattr(process, "_parent_process", None) is not None:
            _add_finalizer(util)


def _watch_celery() -> None:
    """Celery's pool ends its children with ``os._exit`` and no finalizer, but tells them so before."""
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        celery.worker_process_shutdown.connect(_on_celery_shutdown, weak=False, dispatch_uid="otel_llm_bridge")


def _on_celery_shutdown(**_: object) -> None:
    _end("end of a celery worker process")


def _add_finalizer(util: Any) -> None:
    # The lowest priority of those that run at exit: whatever the program registered may still end spans.
    if _settings is not None:
        util.Finalize(None, _end, args=("end of a child process",), exitpriority=-1000)

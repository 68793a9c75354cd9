"""Signals that end the process without running `atexit`.

Only the *default action* is replaced: a handler that a program, uvicorn, gunicorn, celery or asyncio has
set stays what it is, now and later. Where one of them puts the default action back (uvicorn does that and
then raises the signal again), ours takes its place, too: therefore ``signal.signal`` is wrapped.

The handler itself does next to nothing. It runs in the main thread between two bytecodes, where that thread
may hold any lock; a flush in place can deadlock. A helper thread delivers, then the signal is raised again
with its default action: whoever waits for the process sees that the signal ended it. The main thread goes on
meanwhile: callbacks may need its event loop, and it may hold a lock. When only the flush is left it is held for a moment,
so that it makes no more work; should it come to the end of the program, it waits for the helper and ends by the signal, too.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ..guard import logger

#: SIGINT is here for processes that were started with its default action; Python's own handler raises
#: KeyboardInterrupt, which ends in a normal exit and is left alone.
HANDLED: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))

#: How long the main thread has to notice that delivery is over before the process is ended without it.
_GRACE: Final = 1.0

#: Seconds for which the main thread is held, and may go on in between: it may hold a lock that the flush needs.
_HOLD: Final = 0.05
_LET_GO: Final = 0.01

#: Seconds that a busy thread keeps the interpreter while a signal is being answered; usually 0.005.
_SWITCH_INTERVAL: Final = 0.0002

#: Python's own, for which a default action is a default action.
_set_action: Final[Callable[..., Any]] = signal.signal

_deliver: Callable[[str], object] | None = None
_is_delivering: Callable[[], bool] = bool
_wrapped: Callable[..., Any] | None = None
#: The signal that is being answered, and whether everything was done about it.
_number = 0
_finished = False
#: Free when everything is done. Not an event: a second signal may interrupt the wait for the first one, and an event's
#: own lock cannot be taken twice.
_over = _thread.allocate_lock()
_holding = False


def install(deliver: Callable[[str], object], is_delivering: Callable[[], bool]) -> None:
    """Call ``deliver`` in a helper thread when a signal would end the process. Only from the main thread.

    Args:
        deliver: is told the name of the signal.
        is_delivering: whether that is going on already, at the program's own end.
    """
    global _deliver, _is_delivering, _wrapped
    _deliver, _is_delivering = deliver, is_delivering
    if _wrapped is None:
        _wrapped = _wrap(signal.signal)
        setattr(signal, "signal", _wrapped)  # noqa: B010 - a plain assignment is not for type checkers
    for number in HANDLED:
        try:
            if signal.getsignal(number) is signal.SIG_DFL:
                _set_action(number, _on_default_action)
        except ValueError:
            logger.debug("signals cannot be handled: instrument() was not called in the main thread")
            return


def uninstall() -> None:
    """Put the default actions back."""
    global _deliver, _wrapped
    _deliver = None
    if _wrapped is not None and signal.signal is _wrapped:
        setattr(signal, "signal", _wrapped.__wrapped__)  # type: ignore[attr-defined]  # noqa: B010
        _wrapped = None
    for number in HANDLED:
        try:
            if signal.getsignal(number) is _on_default_action:
                _set_action(number, signal.SIG_DFL)
        except ValueError:
            return


def after_fork() -> None:
    """A child has not been signalled yet."""
    global _number, _finished, _over, _holding
    _number, _finished, _over, _holding = 0, False, _thread.allocate_lock(), False


def hold_main_thread() -> None:
    """Keep the main thread from making more work while the rest is delivered; nothing happens without a signal."""
    global _holding
    if _number and not _holding:
        _holding = True
        with contextlib.suppress(RuntimeError):  # too late for a thread: then it is not held
            # A handler is the one thing that can stop the main thread.
            _thread.start_new_thread(_send_again, (_number, lambda: _finished))


def end_if_signalled() -> None:
    """End the process by the signal that it has been sent, if there was one. For the end of the main thread."""
    if _number and _deliver is not None:
        _default_action(_number)


def _wrap(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def set_handler(signalnum: Any, handler: Any) -> Any:
        if handler == signal.SIG_DFL and signalnum in HANDLED and _deliver is not None:
            handler = _on_default_action
        previous = original(signalnum, handler)
        return signal.SIG_DFL if previous is _on_default_action else previous

    return set_handler


def _on_default_action(signum: int, frame: object) -> None:
    global _number
    if _finished or _deliver is None:
        _default_action(signum)
    elif _number:
        if _holding and _over.acquire(timeout=_HOLD):
            _over.release()
    else:
        _number = signum
        _over.acquire(blocking=False)
        # The interrupted thread may be busy: it gives way to those who deliver more often.
        sys.setswitchinterval(_SWITCH_INTERVAL)
        # Not `threading.Thread`: its start takes locks that the interrupted code may hold.
        try:
            _thread.start_new_thread(_deliver_then_raise_again, (signum,))
        except RuntimeError:
            # Too late for a thread (Python 3.12 and later, in an exit hook): if it is ours, it ends by the signal.
            if not _is_delivering():
                _default_action(signum)


def _send_again(signum: int, is_over: Callable[[], bool]) -> None:
    """Again and again: a signal that comes while the last one is still being taken may leave the main thread asleep."""
    while not is_over():
        os.kill(os.getpid(), signum)
        time.sleep(_HOLD + _LET_GO)


def _deliver_then_raise_again(signum: int) -> None:
    global _finished
    try:
        if _deliver is not None:
            _deliver(signal.Signals(signum).name)
    finally:
        _finished = True
        _over.release()
        # Only the main thread may set a signal's action, so it is sent the signal once more.
        until = time.monotonic() + _GRACE
        _send_again(signum, lambda: time.monotonic() >= until)
        logger.debug("the main thread did not act on signal %d", signum)
        os._exit(128 + signum)


def _default_action(signum: int) -> None:
    if threading.current_thread() is threading.main_thread():
        _set_action(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)

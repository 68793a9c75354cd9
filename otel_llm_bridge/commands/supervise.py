"""Start a program, pass signals on to it, and give its exit code back."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
FORWARDED: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_WATCHED: Final = FORWARDED | {signal.SIGCHLD}
#: ``si_code`` of a signal that the kernel made: the terminal's, which the program got as well.
_SI_KERNEL: Final = 0x80


class CannotRun(Exception):
    """The program cannot be started; carries the exit code that a shell gives for it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Supervisor:
    """A context manager to enter before any thread starts: it holds signals back, and only later threads inherit that.

    A signal that is held back waits for `run` to take it, with its origin: Ctrl-C reaches the program by
    the terminal already and must not be passed on a second time.
    """

    def __enter__(self) -> Supervisor:
        # The handler never runs, but where the default is "ignore" some systems throw a blocked signal away.
        self._handler = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.signal(signal.SIGCHLD, self._handler)

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run ``argv`` to its end with our own stdin, stdout and stderr.

        Returns:
            Its exit code, or 128 + n if signal n ended it.

        Raises:
            CannotRun: there is no such program, or it is not executable.
        """
        pid = self._start(argv, environ)
        while True:
            number, from_terminal = _next_signal()
            if number == signal.SIGCHLD:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                    return code if code >= 0 else 128 - code
            elif not from_terminal:
                os.kill(pid, number)

    def _start(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        program = find(argv[0], environ)
        try:
            return os.posix_spawn(
                program,
                list(argv),
                dict(environ),
                setsigmask=self._mask,
                # Python ignores these two for itself; a program expects the default.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
            raise CannotRun(f"cannot run {argv[0]}: {error.strerror}", code) from None


def find(program: str, environ: Mapping[str, str]) -> str:
    """The path of ``program``, looked up as a shell does.

    Raises:
        CannotRun: 127 when there is no such program, 126 when it is there but not executable.
    """
    found = shutil.which(program, path=environ.get("PATH", os.defpath))
    if found is not None:
        return found
    if os.sep in program and os.path.exists(program):
        why = "a folder" if os.path.isdir(program) else "not executable"
        raise CannotRun(f"cannot run {program}: it is {why}", NOT_EXECUTABLE)
    raise CannotRun(f"cannot run {program}: there is no such program", NOT_FOUND)


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether the terminal sent it to the whole process group."""
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(_WATCHED)
        return info.si_signo, info.si_code == _SI_KERNEL
    # macOS cannot tell where a signal comes from.
    number = signal.sigwait(_WATCHED)
    return number, number in (signal.SIGINT, signal.SIGQUIT) and sys.stdin.isatty()

"""What the subcommands share: exit code of a wrong call, lines on stderr, numbers as arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from ..settings import InvalidSetting, number, whole

_T = TypeVar("_T")

#: Exit code for a wrong call, as argparse and the shells have it.
USAGE: Final = 2


def say(message: str) -> None:
    """One line on stderr; stdout belongs to the program that is run, or to what was asked for."""
    print(f"otel-llm-bridge: {message}", file=sys.stderr, flush=True)


def fail(message: str, code: int = USAGE) -> int:
    """Say why nothing comes of it; returns the exit code."""
    say(message)
    return code


def reason(error: Exception) -> str:
    """What is wrong, for a person: of a file its name and the system's words, else the error's own."""
    named = isinstance(error, OSError) and error.filename
    return f"{error.filename}: {error.strerror}" if named else str(error)  # type: ignore[attr-defined]


def accepted_by(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """A parser of the settings as a type for argparse."""

    def convert(text: str) -> _T:
        try:
            return parse(text)
        except InvalidSetting as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def count_from(least: int) -> Callable[[str], int]:
    """A whole number that is no less, and no more than a million, as a type for argparse."""
    return accepted_by(whole(least, 1_000_000))


#: A port number; 0 is a free one.
port: Final = accepted_by(whole(0, 65535))
#: At most a day.
seconds: Final = accepted_by(number(0, 86400))

"""What the doctor says: one record a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what puts it right.

    Attributes:
        check: name of the check that found it.
        message: what is wrong. Never holds the value of a header or of a key.
        fix: what to do.
    """

    check: str
    message: str
    fix: str


#: ``subject -> (message, fix) …``; no pair: nothing is wrong.
Check = Callable[[Any], Iterator[tuple[str, str]]]


class Row(NamedTuple):
    """One row of a table of checks."""

    name: str
    check: Check


def run(rows: tuple[Row, ...], subject: Any) -> list[Finding]:
    """The findings of all ``rows``."""
    return [Finding(row.name, message, fix) for row in rows for message, fix in row.check(subject)]

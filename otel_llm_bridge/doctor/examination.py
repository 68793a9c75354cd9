"""The whole examination: environment, test span, program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import environment, program, sending
from .findings import Finding, run


@dataclass(frozen=True)
class Examination:
    """What was looked at and what was found.

    Attributes:
        facts: JSON types: versions, settings with their origin, the test span, the program.
    """

    findings: tuple[Finding, ...]
    facts: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def examine(
    script: Sequence[str] = (), *, zero_code: bool = False, timeout: float = 60.0, send: bool = True
) -> Examination:
    """Examine this environment, and run ``script`` (a file and its arguments) where one is given.

    Args:
        script: a file and its arguments.
        zero_code: instrument the script from outside.
        timeout: what the script may take, in seconds.
        send: whether a test span is sent.
    """
    seen = environment.Environment.of(os.environ)
    findings = run(environment.CHECKS, seen)
    facts = environment.facts(seen)
    if send:
        sent = sending.send()
        findings += run(sending.CHECKS, sent)
        facts["test_span"] = sending.facts(sent)
    if script:
        facts["program"] = ran = program.run(script, os.environ, zero_code, timeout)
        findings += run(program.CHECKS, ran)
    return Examination(tuple(findings), facts)

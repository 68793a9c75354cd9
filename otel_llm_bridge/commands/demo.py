"""``otel-llm-bridge demo``: the demo's program against the fake provider, through the same code as `run`."""

from __future__ import annotations

import argparse
import sys

from ..demo.provider import FakeProvider
from .run import add_common_arguments, options_of, run_program
from .supervise import Supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    add_common_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run it; the exit code is the demo program's."""
    with Supervisor() as supervisor, FakeProvider() as provider:
        program = [sys.executable, "-m", "otel_llm_bridge.demo.program", "--provider", provider.url]
        return run_program(program, options_of(arguments), supervisor)

"""The command line: one row a subcommand. A module is imported only when its subcommand is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from .versions import DISTRIBUTION, version_of

#: Subcommand, which is a module of `commands` -> what it does.
COMMANDS: Final = {
    "run": "Run a program with LiteLLM instrumented and print its traces.",
    "demo": "About a dozen LiteLLM calls against a fake provider, and their traces.",
    "view": "Receive OTLP on loopback and show it live in the browser.",
    "spool": "Look at the durable spool, deliver what it holds, or delete it.",
    "doctor": "Why there is nothing to see: checks the set-up, each finding with its fix.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments without the program's name; those of the process unless given.

    Returns:
        The exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog=DISTRIBUTION, description="OpenTelemetry for LiteLLM.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {version_of() or '(not installed)'}")
    chosen = argv[0] if argv and argv[0] in COMMANDS else None
    subcommands = parser.add_subparsers(title="subcommands", metavar="", dest="command", required=True)
    for name, meaning in COMMANDS.items():
        row = subcommands.add_parser(name, help=meaning, description=meaning, allow_abbrev=False)
        if name == chosen:
            command = importlib.import_module(f"{__package__}.commands.{name}")
            command.add_arguments(row)
            row.set_defaults(main=command.main)
    try:
        arguments = parser.parse_args(argv)
        return int(arguments.main(arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more while it exits.
        sys.stderr = None
        return 141


if __name__ == "__main__":
    raise SystemExit(main())

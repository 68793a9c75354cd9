"""The command line: one row a subcommand. A module is imported only when its subcommand is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

#: Subcommand -> (module with ``add_arguments`` and ``main``, what it does).
COMMANDS: Final = {
    "run": ("run", "Run a program with LiteLLM instrumented and print its traces."),
    "demo": ("demo", "About a dozen LiteLLM calls against a fake provider, and their traces."),
    "view": ("view", "Receive OTLP on loopback and show it live in the browser."),
    "spool": ("spool", "Look at the durable spool, deliver what it holds, or delete it."),
    "doctor": ("doctor", "Why there is nothing to see: checks the set-up, each finding with its fix."),
}
#: Exit code for a wrong command line, as argparse and the shells have it.
USAGE: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments without the program's name; those of the process unless given.

    Returns:
        The exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="otel-llm-bridge", description="OpenTelemetry for LiteLLM.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=_version())
    chosen = argv[0] if argv and argv[0] in COMMANDS else None
    subcommands = parser.add_subparsers(title="subcommands", metavar="", dest="command", required=True)
    for name, (module, meaning) in COMMANDS.items():
        row = subcommands.add_parser(name, help=meaning, description=meaning, allow_abbrev=False)
        if name == chosen:
            command = importlib.import_module(f"{__package__}.commands.{module}")
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


def _version() -> str:
    from importlib import metadata

    try:
        return f"otel-llm-bridge {metadata.version('otel-llm-bridge')}"
    except metadata.PackageNotFoundError:
        return "otel-llm-bridge, not installed"


if __name__ == "__main__":
    raise SystemExit(main())

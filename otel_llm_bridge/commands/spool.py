"""``otel-llm-bridge spool status|replay|clear``: what waits on disk, and what to do with it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Final

from ..export import spool_admin
from ..settings import Settings
from .common import USAGE, fail, seconds

#: What the spool of a signal holds.
_NOUNS: Final = {"traces": "spans", "logs": "log records"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("action", choices=("status", "replay", "clear"))
    parser.add_argument("--dir", help="folder of the spool; OTEL_LLM_BRIDGE_SPOOL_DIR unless given")
    parser.add_argument("--json", action="store_true", help="status as JSON")
    parser.add_argument("--timeout", metavar="S", type=seconds, default=30.0, help="what a replay may take, in seconds")
    parser.add_argument("--yes", action="store_true", help="clear without this, and nothing is deleted")


def main(arguments: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        0 when it did what was asked; 1 when something is left after a replay; 2 for a mistake in the call.
    """
    settings = Settings.resolve()
    folder = arguments.dir or settings.spool_dir
    if not folder:
        return fail("there is no spool: set OTEL_LLM_BRIDGE_SPOOL_DIR, or give --dir")
    try:
        before = spool_admin.status(folder)
        if arguments.action == "replay":
            return _replay(folder, settings, arguments.timeout)
        if arguments.action == "clear":
            return _clear(folder, before, arguments.yes)
    except OSError as error:
        return fail(f"{folder} holds no spool: {error.strerror}")
    if arguments.json:
        print(json.dumps({signal: dataclasses.asdict(found) for signal, found in before.items()}))
    else:
        print("\n\n".join(_text(_NOUNS[signal], found) for signal, found in before.items()))
    return 0


def _text(nouns: str, found: spool_admin.Status) -> str:
    lines = [
        nouns,
        f"  waiting      {found.waiting} in {found.orphans} segments without a process"
        + (f", the oldest for {found.oldest:.0f} s" if found.waiting else ""),
        f"  in use       {found.live} segments of living processes",
        *([f"  interrupted  {found.interrupted} calls that a crash cut off"] if found.interrupted else []),
        f"  quarantined  {found.quarantined} that the receiver refused",
        f"  corrupt      {found.corrupt} records or files",
        f"  size         {found.bytes / 1e6:.1f} MB",
    ]
    return "\n".join(lines)


def _replay(folder: str, settings: Settings, timeout: float) -> int:
    delivered = spool_admin.replay(folder, settings, timeout)
    after = spool_admin.status(folder)
    status = 0
    for signal, (figures, errors) in delivered.items():
        left = after[signal].left
        print(f"replayed {figures.replayed} {_NOUNS[signal]}, {left} are left")
        if left:
            print("reasons: " + (", ".join(f"{name} ({count})" for name, count in errors.items()) or "the time was up"))
            status = 1
    return status


def _clear(folder: str, before: dict[str, spool_admin.Status], sure: bool) -> int:
    if not sure:
        lost = " and ".join(f"{found.waiting} {_NOUNS[signal]}" for signal, found in before.items())
        interrupted = sum(found.interrupted for found in before.values())
        print(f"{lost} would be lost, and {interrupted} interrupted calls; say --yes to delete them")
        return USAGE
    print(f"deleted {spool_admin.clear(folder)} files")
    return 0

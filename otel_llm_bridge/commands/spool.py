"""``otel-llm-bridge spool status|replay|clear``: what waits on disk, and what to do with it."""

from __future__ import annotations

import argparse
import json

from ..export import spool_admin
from ..settings import Settings
from .common import USAGE, fail, seconds


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
        0 when it did what was asked; 1 when spans are left after a replay; 2 for a mistake in the call.
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
    print(json.dumps(before.as_dict()) if arguments.json else _text(before))
    return 0


def _text(found: spool_admin.Status) -> str:
    lines = [
        f"waiting      {found.waiting} spans in {found.orphans} segments without a process"
        + (f", the oldest for {found.oldest:.0f} s" if found.waiting else ""),
        f"in use       {found.live} segments of living processes",
        f"interrupted  {found.interrupted} calls that a crash cut off",
        f"quarantined  {found.quarantined} spans that the receiver refused",
        f"corrupt      {found.corrupt} records or files",
        f"size         {found.bytes / 1e6:.1f} MB",
    ]
    return "\n".join(lines)


def _replay(folder: str, settings: Settings, timeout: float) -> int:
    figures, errors = spool_admin.replay(folder, settings, timeout)
    left = spool_admin.status(folder)
    print(f"replayed {figures.replayed} spans, {left.waiting + left.interrupted} are left")
    if left.waiting + left.interrupted:
        print("reasons: " + (", ".join(f"{name} ({count})" for name, count in errors.items()) or "the time was up"))
        return 1
    return 0


def _clear(folder: str, before: spool_admin.Status, sure: bool) -> int:
    if not sure:
        print(f"{before.waiting} spans and {before.interrupted} interrupted calls would be lost; say --yes to delete them")
        return USAGE
    print(f"deleted {spool_admin.clear(folder)} files")
    return 0

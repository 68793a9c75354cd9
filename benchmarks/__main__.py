"""The one command: ``python -m benchmarks``. Sets up what it needs, measures, prints the tables."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import report, runner
from .variants import VARIANTS


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, no peers, no memory: does it run?")
    parser.add_argument("--rounds", type=int, default=0, help="blocks of each variant and scenario")
    parser.add_argument("--only", default="", help="variants, separated by semicolons; `none` and `by hand` come with them")
    parser.add_argument("--callee", choices=["trivial", "litellm", "both"], default="both")
    parser.add_argument("--memory-calls", type=int, default=20_000, help="calls of the memory figure; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write all samples to this file; `-` prints them instead of the tables")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (4 if arguments.quick else 25)
    names = [name for name in VARIANTS if not (arguments.quick and VARIANTS[name].packages)]
    if arguments.only:
        wanted = {name.strip() for name in arguments.only.split(";")}
        names = [name for name in names if name in wanted | {"none", "by hand"}]
    result: dict[str, object] = {"rounds": rounds, "versions": report.versions(names)}

    def save() -> None:
        """As it goes: a run takes its time, and may be interrupted."""
        if arguments.json is not None and str(arguments.json) != "-":
            arguments.json.write_text(json.dumps(result), encoding="utf-8")

    for callee in ("trivial", "litellm") if arguments.callee == "both" else (arguments.callee,):
        few = ["mock, sync", "mock, async"] if arguments.quick and callee == "litellm" else None
        result[callee] = runner.measure(callee, names, rounds, _say, few)
        save()
    if not arguments.quick and arguments.memory_calls and "litellm" in result:
        kept = [name for name in ("none", "by hand", "ours") if name in names]
        result["resident"] = runner.resident(kept, arguments.memory_calls, _say)
    if "litellm" in result:
        result["latency"] = runner.latency(1, 4, _say) if arguments.quick else runner.latency(3, 40, _say)
    result["imports"] = runner.imports(3 if arguments.quick else 21)
    save()
    print(json.dumps(result) if str(arguments.json) == "-" else report.text(result))


if __name__ == "__main__":
    main()

"""Samples to tables: what each variant adds, as a ratio to the floor; and the goals beside what was reached."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .runner import ENVIRONMENTS, added, added_in_rounds
from .scenarios import CALLEES
from .variants import VARIANTS

Result = dict[str, Any]


def versions(names: list[str]) -> dict[str, str]:
    """Of what is compared."""
    from importlib import metadata

    found = {name: metadata.version(name) for name in ("litellm", "opentelemetry-sdk", "otel-llm-bridge")}
    found["python"] = sys.version.split()[0]
    for name in names:
        environment = VARIANTS[name].environment
        python = ENVIRONMENTS / environment / "bin" / "python"
        if environment and python.exists():
            code = f"import importlib.metadata as m; print(m.version({environment!r}))"
            done = subprocess.run([str(python), "-c", code], check=False, capture_output=True, text=True)
            found[environment] = done.stdout.strip()
    return found


def us(result: Result, callee: str, scenario: str, name: str, figure: str = "cpu") -> float | None:
    """Added µs a call."""
    samples = result.get(callee, {}).get("samples", {}).get(scenario)
    return added(samples, name, figure) if samples else None


def ratio(result: Result, callee: str, scenario: str, name: str, figure: str = "cpu") -> float | None:
    """Added cost as a ratio to that of the variant's floor in the same scenario: the median of the rounds' ratios.

    What a round compares has run within the same seconds; a machine that is at times slow is so for both.
    """
    samples = result.get(callee, {}).get("samples", {}).get(scenario, {})
    floor = VARIANTS[name].floor
    if not samples.get(name) or not samples.get(floor):
        return None
    pairs = zip(added_in_rounds(samples, name, figure), added_in_rounds(samples, floor, figure), strict=True)
    return statistics.median(mine / by_hand for mine, by_hand in pairs if by_hand)


def per_chunk(result: Result, callee: str, name: str) -> float | None:
    """µs a chunk: the longer stream less the shorter one."""
    short, long = ("100 chunks", "1000 chunks") if callee == "trivial" else ("stream of 100", "stream of 1000")
    a, b = us(result, callee, short, name), us(result, callee, long, name)
    return None if a is None or b is None else (b - a) / 900


class Goal(NamedTuple):
    """One goal: the least, the aim, and how it is read out of a result; what the floor has there, where the goal is no ratio to it."""

    name: str
    least: float
    aim: float
    unit: str
    read: Callable[[Result], float | None]
    by_hand: Callable[[Result], float | None] = lambda _result: None


def _long_prompt(result: Result) -> float | None:
    long, short = us(result, "trivial", "100 kB prompt", "ours"), us(result, "trivial", "wrapper", "ours")
    return long / short if long is not None and short else None


def _latency(result: Result, name: str = "ours", figure: str = "wall") -> float | None:
    found = result.get("latency", {}).get(name)
    return None if found is None else 100 * found[figure]


def _memory(result: Result) -> float | None:
    grown = result.get("resident", {})
    return grown["ours"] - grown["none"] if "ours" in grown and "none" in grown else None


GOALS: Final = (
    Goal("total CPU of a call ÷ floor", 0.90, 0.50, "", lambda r: ratio(r, "trivial", "wrapper", "ours")),
    Goal("the same, in front of the stock pipeline", 0.90, 0.50, "", lambda r: ratio(r, "trivial", "wrapper", "ours on the SDK")),
    Goal("caller's thread ÷ the floor's", 0.60, 0.25, "", lambda r: ratio(r, "trivial", "wrapper", "ours", "thread")),
    Goal("median latency over a mock call", 10, 5, "%", _latency, lambda r: _latency(r, "by hand")),
    Goal("per chunk", 0.10, 0.05, "µs", lambda r: per_chunk(r, "trivial", "ours"), lambda r: per_chunk(r, "trivial", "by hand")),
    Goal("200 messages with content ÷ floor with content", 0.60, 0.45, "", lambda r: ratio(r, "trivial", "200 messages", "ours + content")),
    Goal(
        "100 kB prompt, content off ÷ our short prompt", 1.3, 1.1, "",
        _long_prompt,
    ),
    Goal("sampled out ÷ the floor's sampled out", 1.0, 0.35, "", lambda r: ratio(r, "trivial", "wrapper", "ours, sampled out")),
    Goal("resident memory over 20,000 calls, over none", 1, 0.3, "MB", _memory),
    Goal("import and instrument", 60, 30, "ms", lambda r: r.get("imports", {}).get("with the SDK loaded")),
    Goal("installed but disabled", 2, 1, "µs", lambda r: us(r, "trivial", "wrapper", "ours, disabled")),
)  # fmt: skip


def _verdict(goal: Goal, value: float | None) -> str:
    if value is None:
        return "not measured"
    return "the aim" if value <= goal.aim else "the least" if value <= goal.least else "missed"


def _number(value: float | None, digits: int = 2) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, which is also readable as it is."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines)


def _costs(result: Result, callee: str) -> str:
    scenarios = list(result[callee]["samples"])
    names = [name for name in VARIANTS if name != "none" and any(us(result, callee, s, name) is not None for s in scenarios)]
    streams = [s for s in scenarios if CALLEES[callee][s].chunks]
    head = ["", *scenarios, *(["per chunk, µs"] if len(streams) == 2 else []), "attributes, events"]
    rows = []
    for name in names:
        row = [name]
        for scenario in scenarios:
            mine, relative = us(result, callee, scenario, name), ratio(result, callee, scenario, name)
            if name == VARIANTS[name].floor:
                row.append(f"{_number(mine, 0)} µs")
            else:
                row.append("—" if mine is None else f"{_number(relative)} ({_number(mine, 0)} µs)")
        if len(streams) == 2:
            row.append(_number(per_chunk(result, callee, name)))
        told = result[callee]["recorded"].get(name, {})
        row.append(f"{told['attributes']}, {told['events']}" if told else "—")
        rows.append(row)
    return _table(head, rows)


def _threads(result: Result) -> str:
    rows = [
        [name, _number(us(result, "trivial", "wrapper", name, "thread"), 1), _number(us(result, "trivial", "wrapper", name, "cpu"), 1)]
        for name in VARIANTS
        if us(result, "trivial", "wrapper", name) is not None
    ]
    return _table(["wrapper", "caller's thread, µs", "all threads, µs"], rows)


def _goals(result: Result) -> str:
    rows = []
    for goal in GOALS:
        value = goal.read(result)
        rows.append(
            [
                goal.name, f"{goal.least:g} {goal.unit}", f"{goal.aim:g} {goal.unit}", f"{_number(value)} {goal.unit}",
                f"{_number(goal.by_hand(result))} {goal.unit}", _verdict(goal, value),
            ]
        )
    return _table(["goal", "the least", "the aim", "measured", "by hand", "reached"], rows)


def text(result: Result) -> str:
    """All tables as Markdown."""
    parts = [", ".join(f"{name} {version}" for name, version in result["versions"].items())]
    for callee, title in (
        ("trivial", "On a trivial callee: added CPU of the whole process, as a ratio to the floor"),
        ("litellm", "In LiteLLM: added CPU of the whole process, as a ratio to the floor"),
    ):
        if callee in result:
            parts += [f"## {title}", _costs(result, callee)]
            base = [
                f"{scenario} {1e6 * sorted(v['cpu'] for v in samples['none'])[len(samples['none']) // 2]:.0f} µs"
                for scenario, samples in result[callee]["samples"].items()
                if samples.get("none")
            ]
            parts.append("Without instrumentation: " + ", ".join(base) + ".")
            parts += [f"* {name}: {why}" for name, why in result[callee]["failed"].items()]
    if "trivial" in result:
        parts += ["## Whose time it is", _threads(result)]
    if "resident" in result:
        parts += ["## Memory", ", ".join(f"{name} {grown:.2f} MB" for name, grown in result["resident"].items())]
    if "latency" in result:
        told = [f"{name} {_number(_latency(result, name, 'thread'), 0)} % of the CPU of the caller's thread" for name in result["latency"]]
        parts += ["## Latency", f"{', '.join(told)}; on the clock, see the goals."]
    parts += ["## Goals", _goals(result)]
    return "\n\n".join(parts)

"""Mode by kind by call by end by delay: each cell a process of its own that ends like any program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider

SYNC, ASYNC = ("sync", "router", "stream"), ("async", "arouter", "astream")
ENDS = ("return", "raise", "cancel", "exit", "crash", "term", "fork", "multiprocessing")
STATUS = {"exit": 3, "crash": 1, "term": -15}

#: ``CALLBACK_MATRIX=full``: every call through every end with every delay and both kinds, which takes a quarter of an hour.
FULL = os.environ.get("CALLBACK_MATRIX") == "full"

#: Seconds for all cells of one test; a bound against hanging, not a figure.
LIMIT = 1700 if FULL else 560

#: Unless in full: each call through each end with a delay of 0.2 s, and the most telling of them with none and with 2 s.
FEW = {"call": ("sync", "async", "astream"), "end": ("return", "cancel", "exit", "term", "multiprocessing")}


def run_cells(cells: list[dict[str, Any]], tmp_path: Path, url: str, python: str = sys.executable) -> list[dict[str, Any]]:
    """Run them; each comes back with its exit status and the lines that its callbacks have written."""
    for number, cell in enumerate(cells):
        cell.update(output=str(tmp_path / f"{number}.jsonl"), url=url)
    text = "".join(json.dumps(cell) + "\n" for cell in cells) + "\n"
    results = tmp_path / "results"
    results.touch()
    process = subprocess.Popen(
        [python, "-m", "tests.callbacks.cells", str(results)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, start_new_session=True,
    )  # fmt: skip
    try:
        process.communicate(text, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
    done = [json.loads(line) for line in results.read_text().splitlines()]
    for cell in done:
        path = Path(cell["output"])
        cell["lines"] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return done


def check(cell: dict[str, Any]) -> list[str]:
    """What is wrong with the outcome of a cell; nothing, if all is well."""
    lines = cell["lines"]
    calls = 2 if cell["end"] in ("fork", "multiprocessing") else cell.get("count", 1)
    end = "failure" if cell["end"] in ("raise", "cancel") else "success"
    told: dict[str, dict[Any, list[str]]] = {"ours": {}, "own": {}}
    for who, point, call, _pid in lines:
        if who in told:
            told[who].setdefault(call, []).append(point)
    wrong = []
    if cell["status"] != STATUS.get(cell["end"], 0):
        wrong.append(f"exit status {cell['status']}")
    if sorted(told["ours"].values()) != [["pre_call", end]] * calls:
        wrong.append(f"our callback: {Counter(map(tuple, told['ours'].values()))}")
    if sorted(told["own"].values()) != [[end]] * calls:
        wrong.append(f"LiteLLM's own: {Counter(map(tuple, told['own'].values()))}")
    for _, stats, _, _ in (line for line in lines if line[0] == "stats"):
        rest = stats["completed"] + stats["failed"] + stats["timed_out"] + stats["pending"] + sum(stats["dropped"].values())
        if stats["accepted"] != rest:
            wrong.append(f"the sum does not hold: {stats}")
    return wrong


def reported(cell: dict[str, Any]) -> bool:
    """Whether every run of ours that is missing has been counted with a reason."""
    lines = cell["lines"]
    stats = [line[1] for line in lines if line[0] == "stats"]
    return bool(stats) and sum(sum(one["dropped"].values()) for one in stats) > 0


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 40)
@pytest.mark.parametrize("mode", ["inline", "tracked", "background"])
@pytest.mark.parametrize("delay", [0, 0.2, 2])
def test_matrix(mode: str, delay: float, provider: FakeProvider, tmp_path: Path) -> None:
    """Sync and async, SDK, Router and stream, through each end: once, in order, and LiteLLM's own, too."""
    cells = [
        {"mode": mode, "kind": kind, "call": call, "end": end, "delay": delay, "exit_timeout": 20}
        for number, (call, end) in enumerate((call, end) for call in SYNC + ASYNC for end in ENDS)
        if call in ASYNC or end != "cancel"
        if FULL or delay == 0.2 or (call in FEW["call"] and end in FEW["end"])
        # Unless in full: each pair of call and end with one kind of function, in turn; the kinds have a test of their own.
        for kind in (("sync", "async") if FULL else [("sync", "async")[number % 2]])
    ]
    done = run_cells(cells, tmp_path, provider.url)
    problems = {f"{cell['kind']} {cell['call']} {cell['end']}": wrong for cell in done if (wrong := check(cell))}
    assert len(done) == len(cells)
    assert problems == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["tracked", "background"])
def test_thousand_and_exit(mode: str, provider: FakeProvider, tmp_path: Path) -> None:
    """1,000 concurrent calls with a hook of 0.2 s and then the end: 1,000 of 1,000, ours and LiteLLM's own."""
    cell = {"mode": mode, "kind": "async", "call": "mock", "end": "return", "delay": 0.2, "count": 1000}
    (done,) = run_cells([{**cell, "call": "amock"}], tmp_path, provider.url)
    assert check(done) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inline", "tracked", "background"])
def test_stream_held_at_exit(mode: str, provider: FakeProvider, tmp_path: Path) -> None:
    """A stream that the program still holds when it ends is told, too."""
    cell = {"mode": mode, "kind": "async", "call": "aheld", "end": "return", "delay": 0}
    (done,) = run_cells([cell], tmp_path, provider.url)
    assert check(done) == []


@pytest.mark.slow
def test_out_of_time(provider: FakeProvider, tmp_path: Path) -> None:
    """What the budget of the exit has no time for is counted with its reason."""
    cell = {"mode": "background", "kind": "async", "call": "async", "end": "exit", "delay": 30, "exit_timeout": 1}
    (done,) = run_cells([cell], tmp_path, provider.url)
    assert reported(done)
    assert done["seconds"] < 25


#: Where LiteLLM alone loses its callbacks, in all supported versions. (At ``sys.exit`` newer ones run what is queued.)
LOSSES = [("sync", "return"), ("async", "return"), ("astream", "return"), ("async", "term"), ("async", "cancel"), ("async", "multiprocessing")]


@pytest.mark.slow
def test_control(provider: FakeProvider, tmp_path: Path) -> None:
    """Without us LiteLLM's own callbacks are lost in those ends: the matrix can see loss."""
    cells = [{"mode": "tracked", "kind": "async", "call": call, "end": end, "delay": 0.2, "bridge": False} for call, end in LOSSES]
    done = run_cells(cells, tmp_path, provider.url)
    calls = {(cell["call"], cell["end"]): 2 if cell["end"] == "multiprocessing" else 1 for cell in cells}
    seen = Counter((cell["call"], cell["end"]) for cell in done for line in cell["lines"] if line[0] == "own")
    assert len(done) == len(cells)
    assert [which for which, count in calls.items() if seen[which] >= count] == []

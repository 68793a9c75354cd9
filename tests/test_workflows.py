"""The workflows of GitHub, which run nowhere but there: that what they name exists, and that they may no more than they must."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
#: Job -> what it may beyond reading: the release proves to the index which workflow it is.
MAY = {"publish": {"id-token": "write"}}


def _jobs() -> Iterator[Any]:
    """Every job, as a parameter."""
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text("utf-8"))["jobs"].items():
            yield pytest.param(name, job, id=f"{path.stem}: {name}")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_permissions(path: Path) -> None:
    """A workflow may read; one job may do one thing more."""
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job} == {
        name: may for name, may in MAY.items() if name in workflow["jobs"]
    }


@pytest.mark.parametrize(("name", "job"), list(_jobs()))
def test_jobs(name: str, job: dict[str, Any]) -> None:
    """Every job has an end, every action a version, and no checkout leaves its credentials behind."""
    assert job["timeout-minutes"] <= 120
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])
        if str(step.get("uses")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("name", "job"), list(_jobs()))
def test_commands(name: str, job: dict[str, Any]) -> None:
    """Targets of make, scripts and files that a step names are there."""
    targets = set(re.findall(r"^([\w$()./-][\w$()./ -]*):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    known = {word.replace("$(VENV)", ".venv") for target in targets for word in target.split()}
    for step in job["steps"]:
        program, *words = shlex.split(str(step.get("run", "true")))
        if program == "make":
            assert {word for word in words if "=" not in word} <= known
        elif program.startswith(".") and not program.startswith(".venv/"):
            assert os.access(ROOT / program, os.X_OK), program
        for file in re.findall(r"'([\w./*-]+)'", str(step.get("with", {}).get("key", ""))):  # hashFiles gives nothing for what is not there
            assert list(ROOT.glob(file)), file


def test_every_supported_python() -> None:
    """The versions of the matrix are those that the package says it runs on."""
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]["everything"]
    said = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert job["strategy"]["matrix"]["python"] == said

"""Build the programs that the stack's tests run natively, and print where they are.

Each program is built from Go modules alone, once: the folder it is kept in is named after a hash of what
it is built from (its row of the table below and the Collector's manifest), so that a changed pin is a new
build and an unchanged one takes no time. The folder is under ``$XDG_CACHE_HOME``.

    python deploy/build_stack.py [collector] [jaeger] [compose]   # all of them if none is named
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
#: Two compilers at once, at the lowest priority that still makes progress: a build must not starve its machine.
NICE: Final = ["nice", "-n", "15"]
GO_FLAGS: Final = "-p=2 -buildvcs=false -trimpath"


class CannotBuild(RuntimeError):
    """A program is neither in the cache nor can it be built here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Program:
    """One program: how its executable is called, and the commands that put it into ``{out}``."""

    executable: str
    commands: tuple[tuple[str, ...], ...]
    #: Files of this folder that the commands read; they are copied into ``{src}``.
    sources: tuple[str, ...] = ()


PROGRAMS: Final = {
    # Built by the OpenTelemetry Collector Builder of the components' release. It tidies its module with all that the tests
    # of the components import, not all of which is published: `-e` goes on without these. The compiler checks the rest.
    "collector": Program(
        "otelcol",
        (
            ("env", f"GOFLAGS={GO_FLAGS} -e", "go", "run", "go.opentelemetry.io/collector/cmd/builder@v0.155.0",
             "--config", "{src}/collector/builder.yaml"),
            ("cp", "otelcol/otelcol", "{out}/otelcol"),
        ),
        ("collector/builder.yaml",),
    ),
    # The module path of Jaeger v2 has no /v2, so Go installs none of its v2.N tags; v1.76.0 and v2.13.0 are two tags of
    # one commit, and cmd/jaeger there is Jaeger v2. The module holds no UI assets. `go install` refuses its `replace`.
    "jaeger": Program(
        "jaeger",
        (
            ("go", "mod", "download", "github.com/jaegertracing/jaeger@v1.76.0"),
            ("go", "build", "-C", "{modules}/github.com/jaegertracing/jaeger@v1.76.0", "-o", "{out}/jaeger",
             "-ldflags=-s -w -X github.com/jaegertracing/jaeger/internal/version.latestVersion=v2.13.0", "./cmd/jaeger"),
        ),
    ),
    # The loader of docker compose itself: it resolves a file as `docker compose config` does, without a docker engine.
    "compose": Program(
        "resolve",
        (("go", "build", "-C", "{src}/compose", "-mod=mod", "-ldflags=-s -w", "-o", "{out}/resolve", "."),),
        ("compose/main.go", "compose/go.mod"),
    ),
}  # fmt: skip


def cache_folder() -> Path:
    """Where the programs are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-llm-bridge"


def _go(*arguments: str) -> str:
    if not (go := shutil.which("go")):
        raise CannotBuild("no `go` on the PATH")
    return subprocess.run([go, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def folder_of(name: str) -> Path:
    """The folder of one program, whether it is built or not; it does not depend on the Go that is installed."""
    program = PROGRAMS[name]
    digest = hashlib.sha256(repr((program, GO_FLAGS)).encode())
    for source in program.sources:
        digest.update((HERE / source).read_bytes())
    return cache_folder() / f"{name}-{digest.hexdigest()[:16]}"


def build(name: str) -> Path:
    """The path of the executable, built first if the cache does not have it.

    Args:
        name: a key of `PROGRAMS`.

    Raises:
        CannotBuild: there is no Go, or the build failed (for example because there is no network).
    """
    program, folder = PROGRAMS[name], folder_of(name)
    executable = folder / program.executable
    if executable.exists():
        return executable
    _go("version")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test workers and CI jobs may ask at once
        if executable.exists():
            return executable
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{name}-build-") as scratch:
            _run(program, Path(scratch))
            # The rename makes it visible, complete or not at all.
            (Path(scratch) / "out").rename(folder)
    return executable


def _run(program: Program, scratch: Path) -> None:
    places = {name: scratch / name for name in ("out", "tmp", "src")}
    for place in places.values():
        place.mkdir()
    places["modules"] = Path(_go("env", "GOMODCACHE"))
    for source in program.sources:
        target = places["src"] / source
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / source, target)
    for command in program.commands:
        arguments = [part.format(**places) for part in command]
        done = subprocess.run(
            [*NICE, *arguments], cwd=places["tmp"], env={**os.environ, "GOFLAGS": GO_FLAGS, "CGO_ENABLED": "0"}, capture_output=True, text=True
        )
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise CannotBuild(f"`{' '.join(arguments)}` failed with {done.returncode}:\n{last}")


def main(names: list[str]) -> int:
    """Build the named programs, all of them if none is named."""
    failed = 0
    for name in names or PROGRAMS:
        started = time.monotonic()
        try:
            path = build(name)
        except CannotBuild as reason:
            print(f"{name}: {reason}", file=sys.stderr)
            failed = 1
        else:
            print(f"{name}: {path} ({time.monotonic() - started:.1f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

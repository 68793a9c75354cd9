"""``otel-llm-bridge run -- python app.py``: a program, instrumented without a line of code, and its traces."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from ..export.report import REPORT_URL
from ..viewer.delivery import Delivery
from ..viewer.jsonl import JsonLines
from ..viewer.receiver import Receiver
from ..viewer.store import Store
from ..viewer.terminal import DEFAULT_LIMIT, show
from . import otel_env
from .common import count_from, fail, port, reason, say
from .supervise import CannotRun, Supervisor, find

#: Enough to see a program by; a load test belongs to a Collector.
_MAX_TRACES: Final = 10_000


@dataclass(frozen=True)
class Options:
    """What `run` and `demo` have in common."""

    output: str | None = None
    json: str | None = None
    limit: int = DEFAULT_LIMIT
    http_port: int = 0
    grpc_port: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    parser.usage = "otel-llm-bridge run [options] -- program [arguments]"
    add_common_arguments(parser)
    parser.add_argument("program", nargs=argparse.REMAINDER, help="the program and its arguments")


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run` and `demo`."""
    parser.add_argument("--output", metavar="FILE", help="write the trees to FILE instead of stderr")
    parser.add_argument("--json", metavar="FILE", help="write what was received to FILE, as OTLP JSON lines")
    parser.add_argument("--limit", metavar="N", type=count_from(0), default=DEFAULT_LIMIT, help="trees that are shown, the newest (default: %(default)s)")
    parser.add_argument("--no-tree", dest="limit", action="store_const", const=0, help="print only the closing line")
    parser.add_argument("--http-port", metavar="N", type=port, default=0, help="port for OTLP/HTTP (default: a free one)")
    parser.add_argument("--grpc-port", metavar="N", type=port, default=0, help="port for OTLP/gRPC (default: a free one)")


def options_of(arguments: argparse.Namespace) -> Options:
    """The common options as parsed."""
    return Options(arguments.output, arguments.json, arguments.limit, arguments.http_port, arguments.grpc_port)


def main(arguments: argparse.Namespace) -> int:
    """Run it; the exit code is the program's, unless it could not be started."""
    program = list(arguments.program)
    if program[:1] == ["--"]:
        del program[0]
    with Supervisor() as supervisor:
        return run_program(program, options_of(arguments), supervisor)


def run_program(argv: Sequence[str], options: Options, supervisor: Supervisor) -> int:
    """Run ``argv`` under ``supervisor`` with the embedded receiver, then show what came.

    Returns:
        The program's exit code (128 + n after signal n); 2 for bad input, 126 or 127 for a program that
        cannot be started.
    """
    if not argv:
        return fail("no program is given; try: otel-llm-bridge run -- python app.py")
    if wrong := otel_env.problems(os.environ):
        return fail("\n  ".join(["the environment is not valid:", *wrong]))
    with contextlib.ExitStack() as stack:
        try:
            find(argv[0], os.environ)
            listeners = (stack.enter_context(JsonLines(options.json)),) if options.json else ()
            output: TextIO = stack.enter_context(Path(options.output).open("w", encoding="utf-8")) if options.output else sys.stderr
            receiver = stack.enter_context(
                Receiver(
                    Store(max_traces=_MAX_TRACES),
                    options.http_port,
                    options.grpc_port,
                    listeners=listeners,
                    keep_bytes=0,
                )
            )
        except CannotRun as error:
            return fail(str(error), error.code)
        except OSError as error:
            return fail(reason(error))
        for note in otel_env.notes(os.environ):
            say(note)
        environ = otel_env.child_environment(
            os.environ, argv, receiver.http_endpoint, {REPORT_URL: receiver.report_url}
        )
        try:
            code = supervisor.run(argv, environ)
        except CannotRun as error:
            return fail(str(error), error.code)
        with contextlib.suppress(BrokenPipeError):
            finish(receiver, output, options.limit)
        return code


def finish(receiver: Receiver, output: TextIO, limit: int) -> None:
    """Write the trees and the closing line."""
    counts = receiver.store.counts
    closing = str(Delivery.of(counts, receiver.reports))
    if counts.evicted_spans:
        closing += f"; the oldest {counts.evicted_traces} traces are not shown"
    show(receiver.store, output, closing, limit)

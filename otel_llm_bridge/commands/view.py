"""``otel-llm-bridge view``: OTLP in, a live page out; or a file in, a page or trees out."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import webbrowser
from pathlib import Path
from typing import Final

from ..viewer import jsonl
from ..viewer.otlp_json import InvalidOtlp
from ..viewer.page import Pages, html
from ..viewer.receiver import Receiver
from ..viewer.store import Store
from ..viewer.terminal import show
from .common import count_from, fail, port, reason, say

_MB: Final = 1024 * 1024
_ENDS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `view`."""
    parser.description = (
        "Receive OTLP on 127.0.0.1 and show the traces on a live page, until Ctrl-C. With --file and --html "
        "or --tree, convert the file and end."
    )
    parser.add_argument("--file", metavar="FILE", action="append", default=[], help="show the traces of FILE, in the format of the Collector's file exporter; may be repeated")
    parser.add_argument("--html", metavar="FILE", help="write the page with all traces inside to FILE; without --file when the receiver ends")
    parser.add_argument("--tree", action="store_true", help="print the trees to stdout; without --file when the receiver ends")
    parser.add_argument("--json", metavar="FILE", help="write what is received to FILE, as OTLP JSON lines")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--http-port", metavar="N", type=port, default=4318, help="port for OTLP/HTTP and the page (default: 4318; 0 is a free one)")
    parser.add_argument("--grpc-port", metavar="N", type=port, default=4317, help="port for OTLP/gRPC (default: 4317; 0 is a free one)")
    parser.add_argument("--max-traces", metavar="N", type=count_from(1), default=1000, help="traces that are kept; beyond it the oldest go (default: 1000)")
    parser.add_argument("--max-memory", metavar="MB", type=count_from(1), default=256, help="memory for spans; beyond it the oldest traces go (default: 256)")


def main(arguments: argparse.Namespace) -> int:
    """Serve or convert; 0, or 2 for bad input."""
    store = Store(arguments.max_traces, arguments.max_memory * _MB)
    try:
        for file in arguments.file:
            for signal_, message in _named(file):
                store.add(signal_.name, message)
        if not (arguments.file and (arguments.html or arguments.tree)):
            _serve(store, arguments)
        if arguments.html:
            Path(arguments.html).write_text(html(store), "utf-8")
            say(f"wrote {arguments.html}")
            if arguments.open and arguments.file:
                webbrowser.open(Path(arguments.html).resolve().as_uri())
        if arguments.tree:
            show(store, sys.stdout, limit=arguments.max_traces)
    except (InvalidOtlp, OSError) as error:
        return fail(reason(error))
    return 0


def _named(file: str) -> jsonl.Requests:
    try:
        yield from jsonl.read(file)
    except InvalidOtlp as error:
        raise InvalidOtlp(f"{file}: {error}") from None


def _serve(store: Store, arguments: argparse.Namespace) -> None:
    """Receive and show until a signal ends it."""
    with contextlib.ExitStack() as stack:
        # Held back from every thread that starts below, so that `sigwait` gets them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        listeners = (stack.enter_context(jsonl.JsonLines(arguments.json)),) if arguments.json else ()
        receiver = stack.enter_context(
            Receiver(
                store, arguments.http_port, arguments.grpc_port, pages=Pages(store), listeners=listeners, keep_bytes=0
            )
        )
        say(f"the page is at {receiver.http_endpoint}/")
        say(f"OTLP/HTTP at {receiver.http_endpoint}, OTLP/gRPC at {receiver.grpc_endpoint}; Ctrl-C ends it")
        if arguments.open:
            # The browser must not inherit what is held back here.
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            webbrowser.open(receiver.http_endpoint + "/")
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        signal.sigwait(_ENDS)

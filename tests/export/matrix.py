"""What is lost: each way in which a program ends, with the spool and, as the control, with the plain SDK.

A span counts when its ``end()`` has returned. It is lost when the receiver has not seen it after the program's end and,
with the spool, the end of one later process. ``python -m tests.export.matrix`` prints the table; the tests run a part of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver
from otel_llm_bridge.viewer.store import Store

from .servers import SERVERS, WORKERS, serve, work
from .support import Ended, Program, SpanIds, run

#: What a program may take to its last span, and to its end, in seconds.
_PATIENCE = 1200.0
#: Requests to a server, or tasks of a worker.
_REQUESTS = 10

_MAKE = "[span(i) for i in range(COUNT)]\nsay('ready')\n"
_WAIT = _MAKE + "while True:\n    threading.Event().wait(1)\n"
_CHILD = """
def work():
    [span(i) for i in range(COUNT)]
if __name__ == "__main__":
    import multiprocessing
    child = multiprocessing.get_context("METHOD").Process(target=work)
    child.start()
    child.join()
"""
_FORK = """
if os.fork() == 0:
    [span(i) for i in range(COUNT)]
    os._exit(0)
os.wait()
"""
#: Children that begin while the parent's connection is in use, and that end as any program does.
_WARM_FORK = """
for child in range(4):
    [span(i) for i in range(COUNT // 8)]
    child or provider.force_flush(10_000)
    if os.fork() == 0:
        [span(i) for i in range(COUNT // 8)]
        sys.exit(0)
[os.wait() for _ in range(4)]
"""
_STEADY = """
say("ready")
for i in range(COUNT):
    span(i)
    threading.Event().wait(0.05)
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """One way of ending.

    Attributes:
        body: the program; ``COUNT`` is the number of spans.
        number: the signal that ends it, when it has made its spans.
        fault: what the receiver does meanwhile; ``None``: nothing listens.
        away: seconds after which the receiver is well again; 0 for the end of the program.
        counts: the numbers of spans that the row has a meaning for; blank for all.
        serve: runs a server or a worker instead.
        needs: what has to be installed for it.
        shows: the smallest number of spans of which the plain SDK loses some for certain; 0 for none.
    """

    body: str = ""
    number: int | None = None
    fault: Fault | None = Fault.none
    away: float = 0.0
    counts: tuple[int, ...] = ()
    serve: Callable[..., Ended] | None = None
    needs: str = ""
    shows: int = 10


def _server(name: str) -> Row:
    return Row(serve=lambda *args, **options: serve(SERVERS[name], *args, requests=_REQUESTS, **options), needs=SERVERS[name].needs)


def _worker(name: str) -> Row:
    return Row(serve=lambda *args, **options: work(WORKERS[name], *args, tasks=_REQUESTS, **options), needs=WORKERS[name].needs)


ROWS = {
    "main returns": Row(_MAKE, shows=50_000),
    "SIGTERM": Row(_WAIT, signal.SIGTERM),
    "SIGHUP": Row(_WAIT, signal.SIGHUP),
    "SIGKILL": Row(_WAIT, signal.SIGKILL),
    "os._exit": Row(_MAKE + "os._exit(0)"),
    "multiprocessing fork": Row(_CHILD.replace("METHOD", "fork")),
    "multiprocessing forkserver": Row(_CHILD.replace("METHOD", "forkserver")),
    "multiprocessing spawn": Row(_CHILD.replace("METHOD", "spawn"), shows=0),  # its exit hooks run
    "os.fork and os._exit": Row(_FORK),
    "fork after a warm export": Row(_WARM_FORK, counts=(1_000, 20_000), shows=0),  # what overflows there depends on the machine
    "uvicorn": _server("uvicorn"),
    "uvicorn with uvloop": _server("uvicorn with uvloop"),
    "uvicorn workers": _server("uvicorn workers"),
    "gunicorn uvicorn worker": _server("gunicorn uvicorn worker"),
    "celery recycled children": _worker("celery recycled children"),
    "celery cold shutdown": _worker("celery cold shutdown"),
    "receiver down": Row(_MAKE, fault=None),
    "receiver says 503": Row(_MAKE, fault=Fault.refuse(503)),
    "receiver hangs": Row(_MAKE, fault=Fault.hang),
    "20 spans/s, reset for 45 s": Row(_STEADY, fault=Fault.reset, away=45.0, counts=(1_200,), shows=1_200),
    "Retry-After 30, for 10 s": Row(_STEADY, fault=Fault.refuse(503, retry_after=30), away=10.0, counts=(600,), shows=600),
    "401, for 10 s": Row(_STEADY, fault=Fault.unauthorised, away=10.0, counts=(600,), shows=600),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one program's spans."""

    ended: int
    lost: int
    twice: int
    #: From the last line, or the signal, to the end of the process.
    seconds: float


def measure(name: str, count: int, folder: Path, kind: str = "bridge") -> Result:
    """Run one program of ``count`` spans and, with the spool, one later process that has nothing else to do."""
    row = ROWS[name]
    environ = {"OTEL_LLM_BRIDGE_SPOOL_DIR": str(folder / "spool")}
    arrived = SpanIds()
    with Receiver(Store(max_traces=10), grpc_port=None, keep_bytes=1, listeners=(arrived,)) as receiver:
        receiver.fault = row.fault or Fault.none
        if row.serve is not None:
            ended = row.serve(folder, receiver, each=count // _REQUESTS, kind=kind, environ=environ)
        else:
            nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if row.fault is None else {}
            with Program(f"COUNT = {count}\n{row.body}", folder, receiver, kind=kind, environ={**environ, **nowhere}) as program:
                ended = _to_its_end(row, program, receiver)
        receiver.fault = Fault.none
        if kind == "bridge":
            run("", folder, receiver, _PATIENCE, environ={**environ, "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": str(_PATIENCE)})
    return Result(len(ended.ended), len(set(ended.ended) - arrived.known), arrived.duplicates, ended.seconds)


def _to_its_end(row: Row, program: Program, receiver: Receiver) -> Ended:
    if row.away:
        program.wait_for("ready", _PATIENCE)
        back = threading.Timer(row.away, lambda: setattr(receiver, "fault", Fault.none))
        back.start()
    elif "ready" in row.body:
        program.wait_for("ready", _PATIENCE).stopwatch()
    if row.number is not None:
        program.send(row.number)
    return program.wait(_PATIENCE)


def main() -> None:
    """Print the table, a line for each program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 1_000], help="numbers of spans (10 1000)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="all unless given: " + ", ".join(ROWS))
    parser.add_argument("--kinds", nargs="+", choices=("bridge", "control"), default=["bridge", "control"])
    arguments = parser.parse_args()
    # Under nohup it is ignored, which the programs would inherit.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    print(f"{'':28}{'':10}{'ended':>9}{'lost':>9}{'twice':>8}{'end, s':>9}")
    for name in arguments.rows:
        for count in ROWS[name].counts or arguments.counts:
            for kind in arguments.kinds:
                with tempfile.TemporaryDirectory() as folder:
                    result = measure(name, count, Path(folder), kind)
                who = "spool" if kind == "bridge" else "plain SDK"
                print(f"{name:28}{who:10}{result.ended:9,}{result.lost:9,}{result.twice:8,}{result.seconds:9.2f}", flush=True)


if __name__ == "__main__":
    main()

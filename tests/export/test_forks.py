"""Children: forked, spawned, of pools and of servers; none loses, repeats or corrupts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_llm_bridge.viewer.receiver import Receiver

from .support import missing, received, run

#: Name → (program, spans in all). Each child makes spans of its own, after its parent has exported some.
CHILDREN = {
    "os.fork, then a normal end": (
        """
        [span(i) for i in range(10)]
        line.flush(5)
        for child in range(4):
            if os.fork() == 0:
                [span(100 * child + i) for i in range(10)]
                sys.exit(0)
        [os.wait() for _ in range(4)]
        """,
        50,
    ),
    "a fork in a fork": (
        """
        [span(i) for i in range(10)]
        if os.fork() == 0:
            [span(i) for i in range(10)]
            if os.fork() == 0:
                [span(i) for i in range(10)]
                sys.exit(0)
            os.wait()
            sys.exit(0)
        os.wait()
        """,
        30,
    ),
    "multiprocessing fork": ("CHILDREN('fork')", 50),
    "multiprocessing spawn": ("CHILDREN('spawn')", 50),
    "multiprocessing forkserver": ("CHILDREN('forkserver')", 50),
    "process pool": (
        """
        if __name__ == "__main__":
            from concurrent.futures import ProcessPoolExecutor
            with ProcessPoolExecutor(2) as pool:
                list(pool.map(span, range(20)))
            [span(i) for i in range(10)]
        """,
        30,
    ),
    "multiprocessing.Pool, ended by its own SIGTERM": (
        """
        if __name__ == "__main__":
            import multiprocessing
            with multiprocessing.get_context("fork").Pool(2) as pool:
                pool.map(span, range(20))
            [span(i) for i in range(10)]
        """,
        30,
    ),
    "one task a child": (
        """
        if __name__ == "__main__":
            import multiprocessing
            with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
                pool.map(span, range(10), chunksize=1)
                pool.close()
                pool.join()
        """,
        10,
    ),
}
_CHILDREN = """
def work(child):
    [span(100 * child + i) for i in range(10)]
def CHILDREN(method):
    if __name__ != "__main__":
        return
    import multiprocessing
    context = multiprocessing.get_context(method)
    [span(i) for i in range(10)]
    line.flush(5)
    children = [context.Process(target=work, args=(child,)) for child in range(4)]
    [child.start() for child in children]
    [child.join() for child in children]
"""


def _readable(receiver: Receiver) -> bool:
    """Every request that came in is whole."""
    return all(ExportTraceServiceRequest.FromString(request.body) is not None for request in receiver.requests)


# The protocol matters where a connection is inherited, not where a child begins anew.
_CASES = [(name, "http/protobuf") for name in CHILDREN] + [
    (name, "grpc") for name in CHILDREN if "spawn" not in name and "forkserver" not in name
]


@pytest.mark.parametrize(("name", "protocol"), _CASES)
def test_children_deliver_what_they_made(name: str, protocol: str, tmp_path: Path, receiver: Receiver) -> None:
    """Each span of parent and children arrives exactly once."""
    import textwrap

    body, count = CHILDREN[name]
    ended = run(_CHILDREN + textwrap.dedent(body), tmp_path, receiver, protocol=protocol)
    assert len(ended.ended) == count, ended.errors
    assert missing(ended.ended, receiver) == set(), ended.errors
    assert len(received(receiver)) == count
    assert _readable(receiver)


def test_a_fork_while_the_worker_is_exporting(tmp_path: Path, receiver: Receiver) -> None:
    """20,000 spans and 40 forks in between: no deadlock, no duplicate, no corrupt request, nothing lost."""
    body = """
    def child(number):
        [span(i) for i in range(20)]
        line.flush(10)
        os._exit(0)
    for number in range(40):
        [span(i) for i in range(500)]
        if os.fork() == 0:
            child(number)
    [os.wait() for _ in range(40)]
    """
    ended = run(body, tmp_path, receiver)
    assert len(ended.ended) == 40 * 520
    assert missing(ended.ended, receiver) == set()
    assert len(received(receiver)) == 40 * 520
    assert _readable(receiver)


def test_a_child_is_not_stuck_behind_its_parents_metrics(tmp_path: Path, receiver: Receiver) -> None:
    """A fork in the middle of an export of metrics leaves no lock behind in the child."""
    from otel_llm_bridge.viewer.faults import Fault

    body = """
    line.meter_provider.get_meter("m").create_counter("c").add(1)
    threading.Thread(target=line.meter_provider.force_flush, daemon=True).start()
    while not line._metrics._export_lock.locked():
        pass
    if os.fork() == 0:
        import faulthandler
        faulthandler.dump_traceback_later(30, exit=True)
        span(1)
        line.meter_provider.force_flush(200)
        say("child is through")
        os._exit(0)
    os.wait()
    """
    receiver.fault = Fault.slow(1.0)
    ended = run(body, tmp_path, receiver, environ={"OTEL_METRICS_EXPORTER": "otlp"})
    assert "child is through" in ended.output, ended.errors


@pytest.mark.parametrize("signals", ["metrics", "traces"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_first_export_imports_nothing(protocol: str, signals: str, tmp_path: Path, receiver: Receiver) -> None:
    """A fork while the worker imports would leave that module's lock held in the child, so nothing is left to import."""
    body = """
    line.meter_provider.get_meter("m").create_counter("c").add(1)
    before = set(sys.modules)
    SIGNALS()
    say(json.dumps({"imported": sorted(set(sys.modules) - before)}))
    """
    export = {"metrics": "line.meter_provider.force_flush", "traces": "(lambda: (span(1), line._spans.flush(10)))"}[signals]
    body = body.replace("SIGNALS", export)
    ended = run(body, tmp_path, receiver, protocol=protocol, environ={"OTEL_METRICS_EXPORTER": "otlp"})
    assert ended.figures == {"imported": []}, ended.errors


def test_a_child_measures_although_a_thread_of_its_parent_was_measuring(tmp_path: Path, receiver: Receiver) -> None:
    """Whatever lock of the SDK's metrics another thread held at the fork, the child records and collects."""
    body = """
    import faulthandler, gc
    meter = line.meter_provider.get_meter("m")
    instruments = [meter.create_counter("c"), meter.create_histogram("h"), meter.create_up_down_counter("u")]
    def measure():
        for instrument in instruments:
            getattr(instrument, "add", None) and instrument.add(1) or getattr(instrument, "record", id)(1)
    measure()
    def hold():
        locks = [o._lock for o in gc.get_objects() if str(type(o).__module__).startswith("opentelemetry.sdk.metrics.") and hasattr(o, "_lock")]
        [lock.acquire() for lock in locks]
        say(f"{len(locks)} locks held")
        held.set()
        threading.Event().wait()
    held = threading.Event()
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    if os.fork() == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        measure()
        say(f"collected {line._metrics.flush(10)}")
        os._exit(0)
    os.wait()
    os._exit(0)
    """
    ended = run(body, tmp_path, receiver, environ={"OTEL_METRICS_EXPORTER": "otlp"})
    assert "collected True" in ended.output, ended.errors
    assert int(ended.output.split()[0]) >= 5


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_with_the_spool_a_child_may_even_vanish(how: str, tmp_path: Path, receiver: Receiver) -> None:
    """Children that end without running anything leave their spans on disk; a living process delivers them."""
    body = f"""
    [span(i) for i in range(10)]
    line.flush(5)
    for child in range(4):
        if os.fork() == 0:
            [span(i) for i in range(10)]
            {how}
    [os.wait() for _ in range(4)]
    figures()
    """
    ended = run(body, tmp_path, receiver, environ={"OTEL_LLM_BRIDGE_SPOOL_DIR": str(tmp_path / "spool")})
    assert len(ended.ended) == 50
    assert missing(ended.ended, receiver) == set(), ended.errors


def test_the_plain_sdk_loses_what_a_child_makes(tmp_path: Path, receiver: Receiver) -> None:
    """The control: these tests can see a loss."""
    body = """
    def work():
        [span(i) for i in range(10)]
    if __name__ == "__main__":
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
    """
    ended = run(body, tmp_path, receiver, kind="control")
    assert (len(ended.ended), len(missing(ended.ended, receiver))) == (10, 10)

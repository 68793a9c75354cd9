"""Lifetime × receiver: what arrives, what is reported, and how long the end takes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .matrix import ROWS, measure
from .support import SLACK, Ended, Program, missing, received, run

#: What the end of the process may take in these tests, in seconds.
_BUDGET = 1.0

_MAKE = "[span(i) for i in range(200)]\nlifetime.at_end(lifetime.Stage.REPORT, 'figures', lambda deadline: figures())\nsay('ready')\n"
_WAIT = _MAKE + "while True:\n    threading.Event().wait(1)\n"


def _child(method: str) -> str:
    return f"""
def work():
    [span(i) for i in range(200)]
    lifetime.at_end(lifetime.Stage.REPORT, 'figures', lambda deadline: figures())
    say("ready")
if __name__ == "__main__":
    import multiprocessing
    child = multiprocessing.get_context("{method}").Process(target=work)
    child.start()
    child.join()
"""


#: Name → (program, signal that ends it).
LIFETIMES: dict[str, tuple[str, int | None]] = {
    "returns": (_MAKE, None),
    "exception": (_MAKE + "raise RuntimeError", None),
    "SIGTERM": (_WAIT, signal.SIGTERM),
    "SIGINT": (_WAIT, signal.SIGINT),
    "fork child": (_child("fork"), None),
    "spawn child": (_child("spawn"), None),
}


class Weather:
    """A state of the receiver: what it does, and what is expected of a process without a spool."""

    def __init__(self, fault: Fault | None, expect: Callable[[dict[str, int]], bool], quick: bool = False, reports: bool = True) -> None:
        #: ``None``: nothing listens.
        self.fault = fault
        self.expect = expect
        #: The end must not even use its budget.
        self.quick = quick
        #: The last line on stderr names what was not delivered.
        self.reports = reports

    @property
    def answers(self) -> bool:
        """Whether everything can be settled."""
        return self.quick and self.fault is not None and self.fault.retry_after is None


def _all(state: str) -> Callable[[dict[str, int]], bool]:
    return lambda figures: figures["ended"] == figures[state] == 200


WEATHER = {
    "fine": Weather(Fault.none, _all("exported"), quick=True, reports=False),
    "slow": Weather(Fault.slow(0.3), _all("exported"), quick=True, reports=False),
    "down": Weather(None, _all("pending"), quick=True),
    "hanging": Weather(Fault.hang, _all("pending")),
    "503": Weather(Fault.refuse(503), _all("pending")),
    "429 for a minute": Weather(Fault.too_many_requests(retry_after=60), _all("pending"), quick=True),
    "reset": Weather(Fault.reset, _all("pending")),
    "400": Weather(Fault.refuse(400), _all("failed"), quick=True),
    "partial": Weather(Fault.partial_success(50), lambda f: (f["exported"], f["failed"]) == (150, 50), quick=True),
}


def _run(lifetime: str, weather: Weather, protocol: str, folder: Path, receiver: Receiver, environ: dict[str, str]) -> Ended:
    if weather.fault is None:
        receiver_or_none = None
        environ = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    else:
        receiver.fault = weather.fault
        receiver_or_none = receiver
    # A receiver that answers gets all the time that it wants: the end must come long before.
    budget = 10.0 if weather.answers else _BUDGET
    environ = {"OTEL_LLM_BRIDGE_EXIT_TIMEOUT": str(budget), "OTEL_EXPORTER_OTLP_TIMEOUT": "10", **environ}
    body, number = LIFETIMES[lifetime]
    with Program(body, folder, receiver_or_none, environ=environ, protocol=protocol) as program:
        program.wait_for("ready").stopwatch()
        if number is not None:
            program.send(number)
        return program.wait(30)


# How a process ends does not depend on the protocol; two lifetimes show that.
_CASES = [(name, "http/protobuf") for name in LIFETIMES] + [("returns", "grpc"), ("SIGTERM", "grpc")]


@pytest.mark.slow
@pytest.mark.parametrize("weather", WEATHER)
@pytest.mark.parametrize(("lifetime", "protocol"), _CASES)
def test_delivered_or_reported_within_the_budget(
    lifetime: str, weather: str, protocol: str, tmp_path: Path, receiver: Receiver
) -> None:
    """Each span is confirmed or named in the figures, and the receiver's state cannot delay the end."""
    state = WEATHER[weather]
    ended = _run(lifetime, state, protocol, tmp_path, receiver, {})
    assert len(ended.ended) == 200
    assert state.expect(ended.figures), ended.figures
    # The receiver of the partial success says what it refused, but not which; it keeps none here.
    confirmed = 0 if weather == "partial" else ended.figures["exported"]
    assert len(received(receiver)) >= confirmed and len(missing(ended.ended, receiver)) <= 200 - confirmed
    assert ended.seconds < (0.5 if state.quick else _BUDGET) + SLACK
    assert ("not everything was delivered" in ended.errors) is state.reports


@pytest.mark.slow
@pytest.mark.parametrize("weather", [name for name in WEATHER if name not in ("400", "partial", "fine", "slow")])
@pytest.mark.parametrize("lifetime", ["returns", "SIGTERM", "fork child"])
def test_with_the_spool_the_next_process_delivers(lifetime: str, weather: str, tmp_path: Path, receiver: Receiver) -> None:
    """Whatever the receiver did, everything has arrived after the next start, and the end was quick."""
    spool = {"OTEL_LLM_BRIDGE_SPOOL_DIR": str(tmp_path / "spool")}
    ended = _run(lifetime, WEATHER[weather], "http/protobuf", tmp_path, receiver, spool)
    assert ended.figures["spooled"] == 200
    # A parent tries to deliver what its child left, and has a budget of its own.
    assert ended.seconds < _BUDGET * (2 if "child" in lifetime else 1) + SLACK
    receiver.fault = Fault.none
    run("", tmp_path, receiver, environ=spool)
    assert missing(ended.ended, receiver) == set()
    assert len(received(receiver)) == 200


@pytest.mark.slow
def test_fifty_thousand_fast_spans_and_a_slow_receiver_add_up(tmp_path: Path, receiver: Receiver) -> None:
    """Received + reported = ended, to the span."""
    receiver.fault = Fault.slow(0.05)
    body = "[tracer.start_span('s').end() for _ in range(50_000)]\nlifetime.at_end(lifetime.Stage.REPORT, 'f', lambda deadline: figures())"
    ended = run(body, tmp_path, receiver, environ={"OTEL_LLM_BRIDGE_QUEUE_SIZE": "8192"})
    figures = ended.figures
    reported = figures["failed"] + figures["pending"] + sum(figures["dropped"].values())
    assert figures["ended"] == 50_000
    assert figures["exported"] == len(set(received(receiver)))
    assert len(received(receiver)) + reported == 50_000


@pytest.mark.slow
def test_the_control_loses_and_does_not_say_how_much(tmp_path: Path, receiver: Receiver) -> None:
    """The plain SDK in the same place: most of the burst is gone, and there is no number."""
    receiver.fault = Fault.slow(0.5)
    run("[tracer.start_span('s').end() for _ in range(50_000)]", tmp_path, receiver, kind="control")
    assert len(received(receiver)) < 45_000


#: The rows of `matrix` that no signal, server or timeout makes slow.
_QUICK = ("SIGKILL", "os._exit", "os.fork and os._exit")
_LOSSES = [
    pytest.param(name, count, marks=() if name in _QUICK else pytest.mark.slow)
    for name, row in ROWS.items()
    if not row.away
    for count in row.counts or (10, 1_000)
]


@pytest.mark.parametrize(("name", "count"), _LOSSES)
def test_one_later_process_delivers_what_an_end_left(name: str, count: int, tmp_path: Path) -> None:
    """With the spool no span is lost, however the program ends; the plain SDK loses some, so that the test can see it."""
    row = ROWS[name]
    if row.needs:
        pytest.importorskip(row.needs)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    result = measure(name, count, ours)
    assert (result.ended >= count, result.lost) == (True, 0), result
    if 0 < row.shows <= count:
        assert measure(name, count, theirs, "control").lost > 0

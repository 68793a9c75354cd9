"""Every way in which a process ends, with our pipeline and with the plain SDK as the control."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from otel_llm_bridge.viewer.receiver import Receiver

from ..conftest import THREADS_AT_EXIT
from .storm import storm
from .support import PREAMBLE, SLACK, Program, missing, received, run, until

#: Name → (what the program does, its exit status).
ENDINGS = {
    "returns": ("[span(i) for i in range(20)]", 0),
    "sys.exit": ("[span(i) for i in range(20)]\nsys.exit(7)", 7),
    "unhandled exception": ("[span(i) for i in range(20)]\nraise RuntimeError('as planned')", 1),
    "KeyboardInterrupt": ("[span(i) for i in range(20)]\nraise KeyboardInterrupt", -signal.SIGINT),
    "many loops": (
        """
        import asyncio
        async def main(i):
            span(i)
        for i in range(20):
            asyncio.run(main(i))
        """,
        0,
    ),
    "loops in threads": (
        """
        import asyncio
        async def main(i):
            span(i)
        threads = [threading.Thread(target=lambda i=i: asyncio.run(main(i))) for i in range(20)]
        [thread.start() for thread in threads]
        """,
        0,
    ),
    "cancelled at the end of a loop": (
        """
        import asyncio
        async def work(i):
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                span(i)
        async def main():
            tasks = [asyncio.create_task(work(i)) for i in range(20)]
            while not all(task.get_coro().cr_frame.f_lasti > 0 for task in tasks):
                await asyncio.sleep(0)
        asyncio.run(main())
        """,
        0,
    ),
    "a thread outlives main": (
        """
        main = threading.current_thread()
        def work():
            main.join()
            [span(i) for i in range(20)]
        threading.Thread(target=work).start()
        """,
        0,
    ),
    "the first provider is seen in an exit hook": (
        "import atexit\natexit.register(lambda: (lifetime.provider_seen(provider), [span(i) for i in range(20)]))",
        0,
    ),
    "an exit hook makes spans": (
        "import atexit\natexit.register(lambda: [span(i) for i in range(20)])",
        0,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_nothing_is_lost_at_a_normal_end(name: str, tmp_path: Path, receiver: Receiver) -> None:
    """Whatever ends the program from within, every span arrives once and the exit status is its own."""
    body, status = ENDINGS[name]
    ended = run(body, tmp_path, receiver)
    assert len(ended.ended) == 20, ended.errors
    assert (ended.status, missing(ended.ended, receiver)) == (status, set()), ended.errors
    assert len(received(receiver)) == 20
    assert "otel_llm_bridge:" not in ended.errors


#: What a program has done about SIGTERM before the signal comes → its exit status.
SIGNALS = {
    "default": ("", -signal.SIGTERM),
    "own handler that exits": ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))", 9),
    "own handler set before us": ("", 9),
    "handler that raises again": (
        """
        def handler(number, frame):
            span(99)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        signal.signal(signal.SIGTERM, handler)
        """,
        -signal.SIGTERM,
    ),
}
_WAIT = """
[span(i) for i in range(50)]
say("ready")
while True:
    threading.Event().wait(1)
"""


@pytest.mark.parametrize("name", SIGNALS)
def test_sigterm_delivers_and_does_what_was_there(name: str, tmp_path: Path, receiver: Receiver) -> None:
    """Every span arrives, and the process ends as it would have ended without us."""
    body, status = SIGNALS[name]
    preamble = PREAMBLE
    if name == "own handler set before us":
        preamble = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n" + PREAMBLE
    import textwrap

    with Program(textwrap.dedent(body) + _WAIT, tmp_path, receiver, preamble=preamble) as program:
        ended = program.wait_for("ready").send(signal.SIGTERM).wait()
    assert (ended.status, missing(ended.ended, receiver)) == (status, set()), ended.errors
    assert ended.seconds < 5.0 + SLACK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", ["bridge", "control"])
def test_a_signal_with_the_default_action(kind: str, number: signal.Signals, tmp_path: Path, receiver: Receiver) -> None:
    """The exit status says which signal it was; we lose nothing, the plain SDK everything (but SIGINT)."""
    with Program(_WAIT, tmp_path, receiver, kind=kind) as program:
        ended = program.wait_for("ready").send(number).wait()
    assert ended.status == -number
    expected = 50 if kind == "control" and number is not signal.SIGINT else 0
    assert len(missing(ended.ended, receiver)) == expected


def test_an_asyncio_signal_handler_is_left_alone(tmp_path: Path, receiver: Receiver) -> None:
    """``add_signal_handler`` works with us installed before it, and after its removal the default action still delivers."""
    body = """
    import asyncio
    async def main(again):
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        span(1)
        say("ready")
        await stop.wait()
        loop.remove_signal_handler(signal.SIGTERM)
        span(2)
    asyncio.run(main(False))
    say("second")
    while True:
        threading.Event().wait(1)
    """
    with Program(body, tmp_path, receiver) as program:
        program.wait_for("ready").send(signal.SIGTERM)
        ended = program.wait_for("second").send(signal.SIGTERM).wait()
    assert (ended.status, len(ended.ended), missing(ended.ended, receiver)) == (-signal.SIGTERM, 2, set())


def test_a_signal_while_the_main_thread_flushes_or_holds_locks(tmp_path: Path, receiver: Receiver) -> None:
    """SIGTERM in the middle of flushes, log lines and thread starts neither deadlocks nor loses a span."""
    body = """
    import logging
    logging.basicConfig(level=logging.DEBUG, stream=open(os.devnull, "w"))
    say("ready")
    number = 0
    while True:
        number += 1
        span(number)
        threading.Thread(target=lambda: None).start()
        logging.info("x")
        if number % 5 == 0:
            line.flush(1)
    """
    for _ in range(3):
        with Program(body, tmp_path, receiver) as program:
            ended = program.wait_for("ready").send(signal.SIGTERM).wait(20)
        assert ended.status == -signal.SIGTERM and ended.seconds < 5.0 + SLACK
        # The main thread goes on until the end, so what it made after the last flush cannot be known to us.
        assert len(missing(ended.ended[:-200], receiver)) == 0


def test_a_second_signal_does_not_extend_or_cut_the_end(tmp_path: Path, receiver: Receiver) -> None:
    """Three signals in a row with a hanging receiver: the end comes within the budget, once."""
    from otel_llm_bridge.viewer.faults import Fault

    receiver.fault = Fault.hang
    with Program(_WAIT, tmp_path, receiver, environ={"OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "2"}) as program:
        program.wait_for("ready").send(signal.SIGTERM)
        program.process.send_signal(signal.SIGTERM)
        receiver.wait_for_requests(1)
        program.process.send_signal(signal.SIGTERM)
        ended = program.wait()
    assert ended.status == -signal.SIGTERM
    assert ended.seconds < 2.0 + SLACK
    assert ended.errors.count("not everything was delivered") == 1
    assert "pending 50" in ended.errors


def test_a_program_that_ends_while_a_signal_is_answered_ends_by_the_signal(tmp_path: Path, receiver: Receiver) -> None:
    """The main thread goes on after SIGTERM; should it come to its end, it waits, and the exit status is the signal's."""
    body = """
    import atexit
    answering, leaving = threading.Event(), threading.Event()
    atexit.register(leaving.set)
    def answer(deadline):
        answering.set()
        leaving.wait(deadline.remaining())
    lifetime.at_end(lifetime.Stage.DRAIN_CALLBACKS, "answer", answer)
    # The helper thread is slow to raise the signal again: the main thread is at its end long before.
    kill = os.kill
    os.kill = lambda *to: (threading.Event().wait(0.5), kill(*to))
    [span(i) for i in range(20)]
    say("ready")
    answering.wait()
    span(99)
    sys.exit(0)
    """
    with Program(body, tmp_path, receiver) as program:
        ended = program.wait_for("ready").send(signal.SIGTERM).wait()
    assert (ended.status, len(ended.ended), missing(ended.ended, receiver)) == (-signal.SIGTERM, 21, set()), ended.errors


def test_everything_at_the_end_has_one_budget(tmp_path: Path) -> None:
    """What the early part takes is missing later: no deadline that is handed down is beyond the whole budget."""
    body = """
    began = time.monotonic()
    ends = {}
    def use_it_up(deadline):
        ends["early"] = time.monotonic() + deadline.remaining() - began
        threading.Event().wait(deadline.remaining())
    def note(stage):
        return lambda deadline: ends.__setitem__(stage.name, time.monotonic() + deadline.remaining() - began)
    for stage in lifetime.Stage:
        lifetime.at_end(stage, stage.name, note(stage))
    lifetime.early(use_it_up)
    lifetime.run("by hand")
    ends["left"] = time.monotonic() + lifetime.left(99) - began
    say(json.dumps(ends))
    """
    ends = run(body, tmp_path, environ={"OTEL_TRACES_EXPORTER": "none", "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "4"}).figures
    # Two budgets would be 6.2 s. What is not ours, between the two parts, does not count: hence the second of slack.
    assert set(ends) == {"early", "DRAIN_LITELLM", "DRAIN_CALLBACKS", "FINISH_SPANS", "TELL_FINISHED", "FLUSH", "SHUTDOWN", "REPORT", "left"}
    assert max(ends.values()) < 4.0 + 1.0
    assert 1.2 < ends["early"] < ends["FLUSH"]


def test_signals_are_tried_beside_each_other_at_the_end(tmp_path: Path, receiver: Receiver) -> None:
    """While the spans' last request hangs, log records are on their way as well: one budget serves both."""
    from otel_llm_bridge.viewer.faults import Fault

    body = """
    from opentelemetry._logs import LogRecord
    span(1)
    line.logger_provider.get_logger("l").emit(LogRecord(timestamp=time.time_ns(), body="x"))
    """
    receiver.fault = Fault.hang
    environ = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BLRP_SCHEDULE_DELAY": "60000", "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "60"}
    with Program(body, tmp_path, receiver, environ=environ) as program:
        until(lambda: {request.signal for request in receiver.requests} == {"traces", "logs"}, 20)
        assert program.process.poll() is None


def test_a_providers_own_shutdown_afterwards_extends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    """Our processor in a provider of the user's is shut down by that provider's exit hook, with what is left of the budget."""
    from otel_llm_bridge.viewer.faults import Fault

    body = """
    from opentelemetry.sdk.trace import TracerProvider
    from otel_llm_bridge.export.providers import span_processor
    processor = span_processor(settings)
    flush = processor.delivery.flush
    def told(timeout, final=False):
        say(f"timeout {timeout}")
        return flush(timeout, final)
    processor.delivery.flush = told
    theirs = TracerProvider()
    theirs.add_span_processor(processor)
    lifetime.provider_seen(theirs)
    line.attach(theirs)
    theirs.get_tracer("t").start_span("s").end()
    """
    receiver.fault = Fault.hang
    ended = run(body, tmp_path, receiver, environ={"OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "2"})
    first, second = [float(line.split()[1]) for line in ended.output.splitlines() if line.startswith("timeout")]
    assert first > 1.0 and second < 0.3, ended.output


def test_a_storm_of_signals_loses_nothing_with_the_spool(tmp_path: Path) -> None:
    """Programs that are ended at a random moment leave nothing behind that the next start does not deliver."""
    result = storm(tmp_path, seed=1, runs=10)
    assert (result.lost, result.otherwise) == (0, 0)
    assert result.ended > 10


def test_the_provider_may_be_younger_than_every_exit_hook(tmp_path: Path, receiver: Receiver) -> None:
    """A user's provider that appears after us is still flushed before its own exit hook closes it."""
    body = """
    import atexit
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    theirs = TracerProvider()
    theirs.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    late = theirs.get_tracer("late")
    for _ in range(3):
        lifetime.provider_seen(theirs)
    line.attach(theirs)
    lifetime.at_end(lifetime.Stage.DRAIN_LITELLM, "late", lambda deadline: [late.start_span(f"l{i}").end() for i in range(5)])
    lifetime.at_end(lifetime.Stage.REPORT, "say", lambda deadline: figures())
    """
    ended = run(body, tmp_path, receiver)
    assert [span.name for span in receiver.store.spans()] == [f"l{i}" for i in range(5)], ended.errors
    assert (ended.figures["ended"], ended.figures["exported"]) == (5, 5)


@THREADS_AT_EXIT
@pytest.mark.parametrize("hang", ["DRAIN_LITELLM", "DRAIN_CALLBACKS", "FINISH_SPANS", "TELL_FINISHED"])
def test_a_hook_that_hangs_cannot_take_the_time_of_the_flush(hang: str, tmp_path: Path, receiver: Receiver) -> None:
    """A drain that never returns is left behind; the spans are delivered and the end is in time."""
    body = f"""
    [span(i) for i in range(20)]
    lifetime.at_end(lifetime.Stage.{hang}, "hang", lambda deadline: threading.Event().wait())
    """
    ended = run(body, tmp_path, receiver, environ={"OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "2"})
    assert missing(ended.ended, receiver) == set()
    assert ended.seconds < 2.0 + SLACK


def test_hooks_run_in_order_once_and_can_be_removed(tmp_path: Path) -> None:
    """Stages run in their order, a name registered twice runs once, a removed one and a failing one do no harm."""
    body = """
    for stage in reversed(lifetime.Stage):
        lifetime.at_end(stage, stage.name, lambda deadline, stage=stage: say(stage.name))
        lifetime.at_end(stage, stage.name, lambda deadline, stage=stage: say(f"{stage.name} {deadline.remaining() > 0}"))
    lifetime.at_end(lifetime.Stage.FLUSH, "gone", lambda deadline: say("gone"))
    lifetime.remove("gone")
    lifetime.remove("never there")
    lifetime.at_end(lifetime.Stage.FINISH_SPANS, "bad", lambda deadline: 1 / 0)
    for _ in range(5):
        lifetime.install(settings)
    lifetime.run("by hand")
    lifetime.run("again")
    """
    ended = run(body, tmp_path, environ={"OTEL_TRACES_EXPORTER": "none"})
    stages = ["DRAIN_LITELLM", "DRAIN_CALLBACKS", "FINISH_SPANS", "TELL_FINISHED", "FLUSH", "SHUTDOWN", "REPORT"]
    assert ended.output.split("\n")[:-1] == [f"{stage} True" for stage in stages], ended.errors


def test_uninstall_puts_everything_back(tmp_path: Path) -> None:
    """Afterwards the signal's action and ``signal.signal`` are Python's own, and no hook runs."""
    body = """
    lifetime.at_end(lifetime.Stage.FLUSH, "x", lambda deadline: say("ran"))
    lifetime.uninstall()
    lifetime.uninstall()
    say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and os.path.basename(signal.signal.__code__.co_filename) == "signal.py")
    """
    ended = run(body, tmp_path, environ={"OTEL_TRACES_EXPORTER": "none"})
    assert ended.output.split() == ["True"], ended.output + ended.errors

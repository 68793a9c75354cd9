"""Running: modes, order, exactly once, limits of time and number, errors, spans, figures."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import logging
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_llm_bridge import callbacks
from otel_llm_bridge.callbacks import hosts
from otel_llm_bridge.callbacks.dispatch import Dispatcher

from .conftest import told

MODES = ("inline", "tracked", "background")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Recorder:
    """A callback, sync and async, that notes what it sees and where."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.seen: list[Any] = []
        self.threads: set[int] = set()
        self.variables: set[str] = set()

    def note(self, event: Any) -> None:
        self.seen.append((event.kwargs["n"], event.point))
        self.threads.add(threading.get_ident())
        self.variables.add(variable.get())

    def sync(self) -> Any:
        def callback(event: Any) -> None:
            threading.Event().wait(self.delay)
            self.note(event)

        return callback

    def asynchronous(self) -> Any:
        async def callback(event: Any) -> None:
            await asyncio.sleep(self.delay)
            self.note(event)

        return callback

    def of_kind(self, kind: str) -> Any:
        return self.sync() if kind == "sync" else self.asynchronous()


POINTS = ("pre_call", "post_call", "success")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_in_async_code(dispatcher: Dispatcher, mode: str, kind: str) -> None:
    """In order for each call, once, and by the promised moment: before the call returns, the loop ends, or a drain."""
    recorder = Recorder(0.05)
    callbacks.register(recorder.of_kind(kind), on=POINTS, mode=mode)
    before_return: list[int] = []

    async def one(number: int) -> None:
        variable.set("set")
        call = callbacks.begin(is_async=True)
        for point in POINTS:
            call.emit(point, told(n=number))
        await call.asettle()
        before_return.append(sum(1 for n, _ in recorder.seen if n == number))

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(5)))

    asyncio.run(main())
    after_loop = len(recorder.seen)
    assert callbacks.drain(10).complete
    for number in range(5):
        assert [point for n, point in recorder.seen if n == number] == list(POINTS)
    assert recorder.variables == {"set"}
    if mode == "inline":
        assert set(before_return) == {3}
    if mode != "background":
        assert after_loop == 15
    else:
        assert threading.get_ident() not in recorder.threads


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_in_sync_code(dispatcher: Dispatcher, mode: str, kind: str) -> None:
    """Without a loop coroutines run on ours; inline ones before the call goes on."""
    recorder = Recorder(0.02)
    callbacks.register(recorder.of_kind(kind), on=POINTS, mode=mode)
    variable.set("here")
    call = callbacks.begin(is_async=False)
    seen = []
    for point in POINTS:
        call.emit(point, told(n=1))
        seen.append(len(recorder.seen))
    if mode == "inline":
        assert seen == [1, 2, 3]
    assert callbacks.drain(10).complete
    assert [point for _, point in recorder.seen] == list(POINTS)
    assert recorder.variables == {"here"}


async def test_sync_call_in_a_loop(dispatcher: Dispatcher) -> None:
    """A sync call inside a running loop still waits for an inline coroutine."""
    recorder = Recorder(0.02)
    callbacks.register(recorder.asynchronous(), on="success")
    call = callbacks.begin(is_async=False)
    call.emit("success", told(n=1))
    assert recorder.seen == [(1, "success")]


async def test_inline_order_across_callbacks(dispatcher: Dispatcher) -> None:
    """Inline callbacks of one point run in the order of registration, sync and async mixed."""
    order: list[str] = []

    async def slow(event: Any) -> None:
        await asyncio.sleep(0.05)
        order.append("slow")

    callbacks.register(lambda event: order.append("first"))
    callbacks.register(slow)
    callbacks.register(lambda event: order.append("last"))
    call = callbacks.begin(is_async=True)
    call.emit("success", told())
    assert order == ["first"]
    await call.asettle()
    assert order == ["first", "slow", "last"]


def test_one_end(dispatcher: Dispatcher) -> None:
    """Of the points that end a call only the first one is told, whatever comes after."""
    recorder = Recorder()
    callbacks.register(recorder.sync(), on="both")
    call = callbacks.begin(is_async=False)
    for point in ("failure", "success", "failure"):
        call.emit(point, told(n=1))
    assert recorder.seen == [(1, "failure")]


async def test_nobody_waits(dispatcher: Dispatcher) -> None:
    """Where the driver cannot wait, inline callbacks run in the background."""
    recorder = Recorder()
    callbacks.register(recorder.asynchronous())
    callbacks.register(recorder.sync())
    callbacks.begin(is_async=True).emit("success", told(n=1), waited=False)
    assert (await callbacks.adrain(10)).complete
    assert len(recorder.seen) == 2
    assert threading.get_ident() not in recorder.threads


async def test_cancelled_while_waiting(dispatcher: Dispatcher) -> None:
    """A caller that is cancelled while it waits for an inline callback does not cancel the callback."""
    recorder = Recorder(0.05)
    callbacks.register(recorder.asynchronous())

    async def work() -> None:
        call = callbacks.begin(is_async=True)
        call.emit("success", told(n=1))
        await call.asettle()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await callbacks.adrain(10)).complete
    assert len(recorder.seen) == 1


class TestTrouble:
    """Callbacks that fail, hang or are too many."""

    @pytest.mark.parametrize("kind", ["sync", "async"])
    @pytest.mark.parametrize("mode", ["tracked", "background"])
    def test_timeout(self, dispatcher: Dispatcher, mode: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """What takes too long is counted as such and named once, and what comes after it in the call still runs."""
        release = threading.Event()
        late: list[int] = []

        async def hang_async(event: Any) -> None:
            if event.kwargs["n"] == 1:
                await asyncio.Event().wait()
            late.append(event.kwargs["n"])

        def hang(event: Any) -> None:
            if event.kwargs["n"] == 1:
                release.wait(30)
            late.append(event.kwargs["n"])

        callbacks.register(hang if kind == "sync" else hang_async, on=["pre_call", "success"], mode=mode, timeout=0.1)
        with caplog.at_level(logging.WARNING):
            call = callbacks.begin(is_async=False)
            call.emit("pre_call", told(n=1))
            call.emit("success", told(n=2))
            report = callbacks.drain(10)
        release.set()
        assert (report.complete, report.timed_out, report.completed) == (True, 1, 1)
        assert late[0] == 2
        assert "hang" in caplog.text

    def test_queue_full(self, make_dispatcher: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Beyond the bound new runs are dropped and counted; those that were accepted are completed."""
        make_dispatcher(callbacks_queue_size=3)
        release = threading.Event()
        callbacks.register(lambda event: release.wait(30), mode="background")
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                callbacks.begin(is_async=False).emit("success", told())
        release.set()
        report = callbacks.drain(10)
        stats = callbacks.stats()
        assert (stats["accepted"], stats["completed"], stats["dropped"]) == (5, 3, {"queue_full": 2})
        assert report.complete
        assert "queue_full" in caplog.text

    @pytest.mark.parametrize("mode", MODES)
    def test_errors(self, dispatcher: Dispatcher, mode: str, caplog: pytest.LogCaptureFixture) -> None:
        """Errors are counted, logged once by the callback's name without their text, and handed to ``on_error``."""
        handed: list[str] = []

        def broken(event: Any) -> None:
            raise ValueError("a secret prompt")

        callbacks.register(broken, mode=mode, on_error=lambda error, event: handed.append(str(error)))
        with caplog.at_level(logging.INFO):
            for _ in range(3):
                callbacks.begin(is_async=False).emit("success", told())
            callbacks.drain(10)
        assert callbacks.stats()["failed"] == 3
        assert handed == ["a secret prompt"] * 3
        assert caplog.text.count("ValueError") == 1
        assert "broken" in caplog.text
        assert "secret" not in caplog.text

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_raise(self, dispatcher: Dispatcher, kind: str) -> None:
        """An inline callback that was registered for it can stop the caller, in sync and async code."""

        class Stop(Exception):
            pass

        def guard(event: Any) -> None:
            raise Stop

        async def guard_async(event: Any) -> None:
            raise Stop

        callbacks.register(guard if kind == "sync" else guard_async, on="pre_call", on_error="raise")
        call = callbacks.begin(is_async=False)
        call.emit("pre_call", told())
        assert isinstance(call.raised, Stop), "known at once: the request is not sent"
        with pytest.raises(Stop):
            call.settle()
        call = callbacks.begin(is_async=True)
        call.emit("pre_call", told())
        with pytest.raises(Stop):
            await call.asettle()
        call.settle()  # once

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_raise_is_no_end_for_the_others(self, dispatcher: Dispatcher, kind: str) -> None:
        """Those that come after one that raises are called all the same; the caller gets the first error."""
        recorder = Recorder()

        def strict(event: Any) -> None:
            raise KeyError("first")

        async def strict_async(event: Any) -> None:
            raise KeyError("first")

        def strict_too(event: Any) -> None:
            raise KeyError("second")

        callbacks.register(strict if kind == "sync" else strict_async, on_error="raise")
        callbacks.register(recorder.sync())
        callbacks.register(strict_too, on_error="raise")
        callbacks.register(recorder.asynchronous(), mode="background")
        call = callbacks.begin(is_async=False)
        call.emit("success", told(n=1))
        with pytest.raises(KeyError, match="first"):
            call.settle()
        assert callbacks.drain(10).complete
        assert recorder.seen == [(1, "success")] * 2
        assert (callbacks.stats()["completed"], callbacks.stats()["failed"]) == (2, 2)

    @pytest.mark.parametrize("error", [RuntimeError, MemoryError])
    @pytest.mark.parametrize("mode", MODES)
    def test_no_thread(self, dispatcher: Dispatcher, mode: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no thread can be started a run is dropped with that reason, and the call goes on; later ones are run again."""
        recorder = Recorder()
        callbacks.register(recorder.asynchronous(), mode=mode, on_error="raise" if mode == "inline" else None)
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name.startswith("otel-llm-bridge"):
                raise error("can't start new thread")
            start(thread)

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            call = callbacks.begin(is_async=False)
            call.emit("success", told(n=1))
            call.settle()
            (registration,) = dispatcher.registry.all()

            async def adopted() -> None:
                pytest.fail("there is nobody to run it")

            dispatcher.adopt(registration, adopted())
        assert (callbacks.stats()["dropped"], callbacks.stats()["pending"]) == ({"no_thread": 2}, 0)
        callbacks.begin(is_async=False).emit("success", told(n=2))
        assert callbacks.drain(10).complete
        assert recorder.seen == [(2, "success")]

    def test_no_loop(self, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no loop can be made, as all file descriptors are in use, a run is dropped with that reason, and the call goes on."""
        recorder = Recorder()
        callbacks.register(recorder.asynchronous())

        def refuse() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "SelectorEventLoop", refuse)
            callbacks.begin(is_async=False).emit("success", told(n=1))
        assert (callbacks.stats()["dropped"], callbacks.stats()["pending"]) == ({"no_loop": 1}, 0)
        callbacks.begin(is_async=False).emit("success", told(n=2))
        assert callbacks.drain(10).complete
        assert recorder.seen == [(2, "success")]

    @pytest.mark.parametrize("refuses", ["a mark", "calls, with an error of its own"])
    def test_a_loop_of_another_make(self, dispatcher: Dispatcher, refuses: str) -> None:
        """What cannot run on the loop of its call, for whatever reason, runs on ours."""

        class Loop(asyncio.SelectorEventLoop):
            def __setattr__(self, name: str, value: object) -> None:
                if refuses == "a mark" and name.startswith("_otel_llm_bridge"):
                    raise TypeError("immutable")
                super().__setattr__(name, value)

            def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:
                if refuses != "a mark":
                    raise LookupError("no such loop")
                return super().call_soon_threadsafe(*args, **options)

        recorder = Recorder()
        callbacks.register(recorder.asynchronous(), mode="tracked")
        loop = Loop()

        async def begin() -> callbacks.Call:
            return callbacks.begin(is_async=True)

        call = loop.run_until_complete(begin())
        call.emit("success", told(n=1))
        assert callbacks.drain(10).complete
        assert recorder.seen == [(1, "success")]
        assert recorder.threads != {threading.get_ident()}
        loop.close()

    @pytest.mark.parametrize("error", [LookupError, RuntimeError])
    @pytest.mark.parametrize("mode", ["inline", "tracked"])
    async def test_a_task_factory_that_fails(self, dispatcher: Dispatcher, mode: str, error: type[Exception]) -> None:
        """A callback runs on the loop of its call all the same."""
        recorder = Recorder()
        callbacks.register(recorder.asynchronous(), mode=mode)

        def refuse(_loop: object, _coroutine: object, **_options: Any) -> Any:
            raise error("no tasks today")

        loop = asyncio.get_running_loop()
        loop.set_task_factory(refuse)
        try:
            call = callbacks.begin(is_async=True)
            call.emit("success", told(n=1))
            await call.asettle()
        finally:
            loop.set_task_factory(None)
        assert (await callbacks.adrain(10)).complete
        assert recorder.seen == [(1, "success")]
        assert recorder.threads == {threading.get_ident()}

    def test_no_task(self, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run for which not even a task can be made is counted."""

        def refuse(_host: object, _run: object) -> None:
            raise MemoryError

        monkeypatch.setattr(hosts.Host, "_task", refuse)
        callbacks.register(Recorder().asynchronous(), mode="tracked")

        async def main() -> None:
            callbacks.begin(is_async=True).emit("success", told(n=1))

        asyncio.run(main())
        assert (callbacks.stats()["dropped"], callbacks.stats()["pending"]) == ({"loop_closed": 1}, 0)

    def test_no_thread_to_move_to(self, dispatcher: Dispatcher) -> None:
        """Whoever waits for callbacks of a loop that has closed goes on, also when there is nowhere to run them."""
        registration = callbacks.register(Recorder().asynchronous())
        loop = asyncio.new_event_loop()
        run = dispatcher.accept(registration, callbacks.Event("success", told(n=1)), is_async=True)
        assert run is not None
        lane = dispatcher.queue(run, None, "inline", loop)
        assert lane is not None
        over: list[bool] = []
        lane.when_idle(lambda: over.append(True))

        def nowhere() -> Any:
            raise RuntimeError("can't start new thread")

        lane.host.close(nowhere)
        loop.close()
        assert over == [True]
        assert callbacks.stats()["dropped"] == {"no_thread": 1}

    @pytest.mark.parametrize("mode", ["inline", "background"])
    def test_a_call_in_a_callback(self, dispatcher: Dispatcher, mode: str) -> None:
        """A sync call of a coroutine on our own loop does not wait for what only that loop can run: it runs afterwards."""
        order: list[str] = []

        def call(number: int) -> None:
            one = callbacks.begin(is_async=False)
            one.emit("success", told(n=number))
            one.settle()

        async def judge(event: Any) -> None:
            if event.kwargs["n"] == 1:
                call(2)
                order.append("its call has returned")

        async def audit(event: Any) -> None:
            order.append(f"audit of {event.kwargs['n']}")

        callbacks.register(judge, mode=mode)
        callbacks.register(audit)
        thread = threading.Thread(target=call, args=(1,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        assert callbacks.drain(20).complete
        assert sorted(order) == ["audit of 1", "audit of 2", "its call has returned"]
        assert order.index("its call has returned") < order.index("audit of 2")

    async def test_a_loop_that_nobody_runs(self, dispatcher: Dispatcher) -> None:
        """A caller in sync code does not wait for a loop that is not running; what it owes runs when that goes on."""
        recorder = Recorder()
        callbacks.register(recorder.asynchronous(), on=POINTS)
        loop = asyncio.new_event_loop()

        async def begin() -> callbacks.Call:
            return callbacks.begin(is_async=True)

        def work() -> None:
            call = loop.run_until_complete(begin())
            call.emit("success", told(n=1))
            call.settle()
            assert recorder.seen == []
            loop.close()

        await asyncio.wait_for(asyncio.to_thread(work), 20)
        assert recorder.seen == [(1, "success")]

    def test_unplugged(self, make_dispatcher: Any, caplog: pytest.LogCaptureFixture) -> None:
        """A callback that fails over and over is called no more, by name; one success in between starts again."""
        make_dispatcher(callbacks_unplug_after=3)
        fail = [True, True, False, True, True, True, True]

        def shaky(event: Any) -> None:
            if fail.pop(0):
                raise OSError

        callbacks.register(shaky)
        with caplog.at_level(logging.ERROR):
            for _ in range(7):
                callbacks.begin(is_async=False).emit("success", told())
        assert len(fail) == 1
        assert "shaky is unplugged: it has failed 3 times in a row (OSError)" in caplog.text
        assert list(callbacks.stats()["unplugged"].values()) == ["OSError"]

    def test_never_unplugged(self, make_dispatcher: Any) -> None:
        """With the setting at 0 a callback stays, however often it fails."""
        make_dispatcher(callbacks_unplug_after=0)
        called: list[int] = []

        def broken(event: Any) -> None:
            called.append(1)
            raise OSError

        callbacks.register(broken)
        for _ in range(150):
            callbacks.begin(is_async=False).emit("success", told())
        assert (len(called), callbacks.stats()["unplugged"]) == (150, {})

    async def test_exit_in_a_callback(self, dispatcher: Dispatcher) -> None:
        """``sys.exit`` in a callback that nobody waits for is an error of that callback, and ends nothing."""

        async def leave(event: Any) -> None:
            raise SystemExit(3)

        callbacks.register(leave, mode="tracked")
        callbacks.begin(is_async=True).emit("success", told())
        assert (await callbacks.adrain(10)).failed == 1


def test_drain_reports_what_is_pending(dispatcher: Dispatcher) -> None:
    """A drain whose time is up says what is pending, by name; a second one completes it."""
    release = threading.Event()

    def waits(event: Any) -> None:
        release.wait(30)

    callbacks.register(waits, mode="background")
    callbacks.begin(is_async=False).emit("success", told())
    report = callbacks.drain(0.1)
    assert not report.complete
    assert list(report.pending.values()) == [1]
    assert "waits" in next(iter(report.pending))
    release.set()
    assert callbacks.drain(10).completed == 1


def _left_pending(loop: asyncio.AbstractEventLoop, callback: Any) -> None:
    callbacks.register(callback, mode="tracked")

    async def begin() -> None:
        callbacks.begin(is_async=True).emit("success", told(n=1))

    loop.run_until_complete(begin())


@pytest.mark.parametrize("is_async", [False, True])
def test_drain_of_a_loop_that_nobody_runs(dispatcher: Dispatcher, is_async: bool) -> None:
    """In a thread with a loop of its own, too, a drain completes what is pending on another loop, which nobody runs."""
    recorder = Recorder(0.05)
    loop = asyncio.new_event_loop()
    _left_pending(loop, recorder.asynchronous())

    async def main() -> callbacks.DrainReport:
        return await callbacks.adrain(10) if is_async else callbacks.drain(10)

    report = asyncio.run(main())
    assert (report.complete, report.completed, recorder.seen) == (True, 1, [(1, "success")])
    loop.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_drain_without_a_thread(dispatcher: Dispatcher, is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that takes a thread, and none can be started, a drain waits without looking over and over, and says what is left."""
    looked: list[int] = []

    class Loop(asyncio.SelectorEventLoop):
        def is_running(self) -> bool:
            looked.append(1)
            return super().is_running()

    recorder = Recorder(0.01)
    loop = Loop()
    _left_pending(loop, recorder.asynchronous())

    async def main() -> callbacks.DrainReport:
        return await callbacks.adrain(0.2) if is_async else callbacks.drain(0.2)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    looked.clear()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        report = asyncio.run(main())
    assert (report.complete, list(report.pending.values())) == (False, [1])
    assert len(looked) < 20
    assert callbacks.drain(10).complete
    assert recorder.seen == [(1, "success")]
    loop.close()


async def test_spans(make_dispatcher: Any) -> None:
    """When asked for, each run is a span that is linked to the call's, with mode, point, and the error's type."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    dispatcher = make_dispatcher(callback_spans=True)
    dispatcher.configure(dispatcher.settings, lambda: tracer)

    async def good(event: Any) -> None:
        assert trace.get_current_span().is_recording()

    def bad(event: Any) -> None:
        raise ValueError("a secret prompt")

    callbacks.register(good, mode="tracked")
    callbacks.register(bad)
    with tracer.start_as_current_span("call") as span:
        call = callbacks.begin(is_async=True, span_context=span.get_span_context())
        call.emit("success", told())
    await callbacks.adrain(10)
    spans = {str((one.attributes or {}).get("litellm.callback.mode")): one for one in exporter.get_finished_spans()}
    for mode in ("tracked", "inline"):
        assert spans[mode].name.startswith("litellm.callback ")
        assert spans[mode].links[0].context == span.get_span_context()
        assert (spans[mode].attributes or {})["litellm.callback.point"] == "success"
    assert (spans["inline"].attributes or {})["error.type"] == "ValueError"
    assert "secret" not in str([one.to_json() for one in exporter.get_finished_spans()])
    assert spans["tracked"].status.is_ok or spans["tracked"].status.status_code is trace.StatusCode.UNSET


@pytest.mark.slow
def test_thousand(dispatcher: Dispatcher) -> None:
    """A thousand concurrent calls with a hook of 0.2 s, in each mode and kind: a thousand runs, within the budget."""
    for mode in MODES:
        for kind in ("sync", "async"):
            if (mode, kind) == ("inline", "sync"):
                continue  # the caller itself waits, a thousand times 0.2 s
            recorder = Recorder(0.2)
            registration = callbacks.register(recorder.of_kind(kind), mode=mode)

            async def one(number: int) -> None:
                call = callbacks.begin(is_async=True)
                call.emit("success", told(n=number))
                await call.asettle()

            async def main() -> None:
                await asyncio.gather(*(one(number) for number in range(1000)))

            asyncio.run(main())
            assert callbacks.drain(5).complete, (mode, kind)
            assert sorted(n for n, _ in recorder.seen) == list(range(1000)), (mode, kind)
            registration.remove()

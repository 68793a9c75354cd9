"""Callbacks that are registered with LiteLLM itself are completed, once; what they are told is what LiteLLM tells."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from packaging.version import Version

from otel_llm_bridge import callbacks, invocation, streams
from otel_llm_bridge.demo.provider import FakeProvider

from ..conftest import cancelled_on_its_way
from ..export.support import run as run_program
from .switch import clean, switched_on

MESSAGES = [{"role": "user", "content": "Is there anybody?"}]


@pytest.fixture(autouse=True)
def clean_lists() -> Iterator[None]:
    """LiteLLM's callback lists are empty before and after each test."""
    clean()
    yield
    clean()


@pytest.fixture
def driven(the_dispatcher: Any) -> Iterator[None]:
    """The bridge's part in callbacks is on."""
    with switched_on():
        yield


class Own(CustomLogger):
    """A user's logger with only async hooks, as most have."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self.seen: list[Any] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        await asyncio.sleep(self.delay)
        self.seen.append(("success", kwargs, response_obj))

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        await asyncio.sleep(self.delay)
        self.seen.append(("failure", kwargs, response_obj))

    @property
    def points(self) -> list[str]:
        return [point for point, _, _ in self.seen]


class Calls:
    """Calls that end in the ways in which LiteLLM loses its callbacks."""

    def __init__(self, provider: FakeProvider) -> None:
        self.provider = provider

    def arguments(self, behaviour: str = "", **more: Any) -> dict[str, Any]:
        path = f"/as/{behaviour}" if behaviour else ""
        return {
            "model": "openai/gpt-4o-mini", "messages": MESSAGES, "api_base": f"{self.provider.url}{path}/v1", "api_key": "sk-test",
            "max_retries": 0, **more,
        }  # fmt: skip

    async def plain(self) -> None:
        await litellm.acompletion(**self.arguments())
        for _ in range(5):
            await asyncio.sleep(0)

    async def three(self) -> None:
        for _ in range(3):
            await litellm.acompletion(**self.arguments())

    async def concurrent(self) -> None:
        await asyncio.gather(*(litellm.acompletion(**self.arguments(mock_response="hello")) for _ in range(300)))

    async def stream(self) -> None:
        async for _chunk in await litellm.acompletion(**self.arguments(stream=True)):
            pass

    async def stream_left(self) -> None:
        async for _chunk in await litellm.acompletion(**self.arguments(stream=True)):
            break
        gc.collect()

    async def stream_closed(self) -> None:
        stream = await litellm.acompletion(**self.arguments(stream=True))
        await stream.__anext__()
        await stream.aclose()

    async def cancelled(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled_on_its_way(self.provider, litellm.acompletion(**self.arguments("timeout")))

    async def failed(self) -> None:
        with contextlib.suppress(litellm.InternalServerError):
            await litellm.acompletion(**self.arguments("error-500"))

    async def exits(self) -> None:
        await litellm.acompletion(**self.arguments())
        raise SystemExit(3)

    async def routed(self) -> None:
        arguments = self.arguments()
        arguments.pop("messages")
        router = litellm.Router([{"model_name": "group", "litellm_params": arguments}])
        await router.acompletion(model="group", messages=MESSAGES)
        await asyncio.sleep(0)

    def sync(self) -> None:
        litellm.completion(**self.arguments())

    def sync_stream(self) -> None:
        for _chunk in litellm.completion(**self.arguments(stream=True)):
            pass

    def sync_stream_left(self) -> None:
        for _chunk in litellm.completion(**self.arguments(stream=True)):
            break
        gc.collect()

    def sync_failed(self) -> None:
        with contextlib.suppress(litellm.InternalServerError):
            litellm.completion(**self.arguments("error-500"))


#: The call -> what LiteLLM's callbacks are told.
CASES = {
    "plain": ["success"], "three": ["success"] * 3, "concurrent": ["success"] * 300, "stream": ["success"],
    "stream_left": ["success"], "stream_closed": ["success"], "cancelled": ["failure"], "failed": ["failure"],
    "exits": ["success"], "routed": ["success"], "sync": ["success"], "sync_stream": ["success"],
    "sync_stream_left": ["success"], "sync_failed": ["failure"],
}  # fmt: skip


def run(function: Callable[[], Any]) -> None:
    """Run it to the end of its loop, if it needs one."""
    if asyncio.iscoroutinefunction(function):
        with contextlib.suppress(SystemExit):
            asyncio.run(function())
    else:
        function()


def wait_for_threads() -> None:
    """Until streams that were left have been ended, and LiteLLM's thread pool has nothing to do."""
    from otel_llm_bridge.export.lifetime import Deadline
    from otel_llm_bridge.litellm.rescue import own

    streams.settle_left_streams(10)
    own().finish(Deadline(10))


@pytest.mark.usefixtures("driven")
@pytest.mark.parametrize("delay", [0, 0.2])
@pytest.mark.parametrize("case", CASES)
def test_completed(case: str, delay: float, provider: FakeProvider) -> None:
    """Each state in which LiteLLM loses its callbacks: they have run, once each, when the loop is closed and drained."""
    if case == "stream_closed" and not hasattr(litellm.CustomStreamWrapper, "aclose"):
        pytest.skip("this LiteLLM's streams cannot be closed")
    own = Own(delay)
    litellm.callbacks = [own]
    run(getattr(Calls(provider), case))
    wait_for_threads()
    assert callbacks.drain(10).complete
    assert own.points == CASES[case]
    assert len({kwargs["litellm_call_id"] for _, kwargs, _ in own.seen}) == len(own.seen)


@pytest.mark.parametrize("case", ["concurrent", "cancelled", "stream_left", "sync"])
def test_control(case: str, provider: FakeProvider) -> None:
    """Without us LiteLLM loses them: the test above can see loss."""
    own = Own(0.2)
    litellm.callbacks = [own]
    run(getattr(Calls(provider), case))
    assert len(own.points) < len(CASES[case])


@pytest.mark.usefixtures("driven")
class TestTold:
    """What callbacks are told."""

    def test_same_as_litellm(self, provider: FakeProvider) -> None:
        """An inline callback, before the call returns, is told what LiteLLM tells its own later."""
        own, ours = Own(), []
        litellm.callbacks = [own]
        callbacks.register(lambda event: ours.append((event.kwargs, event.response_obj)))
        for stream in (False, True):
            arguments = Calls(provider).arguments(stream=stream, user="jane", metadata={"team": "search"}, temperature=0.5)

            async def main(arguments: Any = arguments, stream: bool = stream) -> None:
                result = await litellm.acompletion(**arguments)
                if stream:
                    async for _chunk in result:
                        pass

            asyncio.run(main())
        assert len(own.seen) == len(ours) == 2
        for (_, theirs, their_response), (mine, my_response) in zip(own.seen, ours, strict=True):
            for name in ("model", "messages", "user", "litellm_call_id", "optional_params", "call_type", "stream",
                         "custom_llm_provider", "response_cost", "cache_hit", "log_event_type"):  # fmt: skip
                assert mine.get(name) == theirs.get(name), name
            assert mine["litellm_params"]["metadata"]["team"] == "search"
            assert mine["response_cost"] > 0 or mine["stream"]
            assert mine["standard_logging_object"]["total_tokens"] == theirs["standard_logging_object"]["total_tokens"]
            assert my_response.choices[0].message.content == their_response.choices[0].message.content
            assert my_response.usage.total_tokens == their_response.usage.total_tokens
            marks = {"has_logged_async_success", "has_dispatched_final_stream_success", "complete_streaming_response"}
            assert set(theirs) - set(mine) <= marks

    def test_failure(self, provider: FakeProvider) -> None:
        """Exception and traceback are there, in sync and async code, and the exception is the caller's own."""
        ours: list[Any] = []
        callbacks.register(lambda event: ours.append(event.kwargs), on="failure")
        with pytest.raises(litellm.InternalServerError) as raised:
            litellm.completion(**Calls(provider).arguments("error-500"))
        assert ours[0]["exception"] is raised.value
        assert "InternalServerError" in ours[0]["traceback_exception"]
        run(Calls(provider).failed)
        assert isinstance(ours[1]["exception"], litellm.InternalServerError)

    def test_redaction(self, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        """What LiteLLM was asked to keep out of logs is kept out here, too."""
        monkeypatch.setattr(litellm, "turn_off_message_logging", True)
        ours: list[Any] = []
        callbacks.register(lambda event: ours.append(event.response_obj.model_dump_json()))
        answer = litellm.completion(**Calls(provider).arguments())
        assert answer.choices[0].message.content not in ours[0]
        assert "redacted" in ours[0]

    def test_stream_outcome(self, provider: FakeProvider) -> None:
        """A stream that was left says so, to our callbacks and to LiteLLM's own, and its cost is that of what was read."""
        own, ours = Own(), []
        litellm.callbacks = [own]
        callbacks.register(lambda event: ours.append(event.kwargs))
        run(Calls(provider).stream_left)
        wait_for_threads()
        callbacks.drain(10)
        assert ours[0]["litellm_bridge_stream_outcome"] == "abandoned"
        assert own.seen[0][1]["litellm_bridge_stream_outcome"] == "abandoned"
        assert ours[0]["response_cost"] > 0

    @pytest.mark.parametrize("end", ["left", "held until exit"])
    @pytest.mark.parametrize(("listener", "count"), [("nobody", 0), ("ours, of failures", 0), ("ours", 1), ("LiteLLM's", 1)])
    def test_only_for_listeners(
        self, listener: str, count: int, end: str, the_dispatcher: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The chunks of a stream that is not read to its end are put together once where somebody is told, else not at all."""
        built: list[Any] = []
        build = litellm.stream_chunk_builder

        def counted(*args: Any, **kwargs: Any) -> Any:
            built.append(build(*args, **kwargs))
            return built[-1]

        monkeypatch.setattr(litellm, "stream_chunk_builder", counted)
        answers: list[Any] = []
        if listener.startswith("ours"):
            callbacks.register(lambda event: answers.append(event.response_obj), on="failure" if "fail" in listener else "success")
        if listener == "LiteLLM's":
            litellm.callbacks = [own := Own()]
            own.seen = answers
        stream = litellm.completion(**Calls(provider).arguments(), stream=True)
        said = [next(stream).choices[0].delta.content for _ in range(3)]
        if end == "left":
            del stream
            gc.collect()
            streams.settle_left_streams()
        else:
            assert invocation.finish_open("process_exit") == 1
        assert callbacks.drain(10).complete
        wait_for_threads()
        assert len(built) == len(answers) == count
        assert all(answer.choices[0].message.content == "".join(filter(None, said)) for answer in built)

    def test_lifecycle(self, provider: FakeProvider) -> None:
        """The points of one call come in their order, with LiteLLM's data at each."""
        points: list[str] = []

        def see(event: Any) -> None:
            points.append(event.point)
            assert event.kwargs["litellm_call_id"]

        callbacks.register(see, on="all")
        for _chunk in litellm.completion(**Calls(provider).arguments(stream=True)):
            pass
        assert points[:2] == ["input", "pre_call"]
        assert points[-1] == "success"
        assert set(points) == {"input", "pre_call", "post_call", "stream_chunk", "success"}


def test_switched_off(the_dispatcher: Any, provider: FakeProvider) -> None:
    """With the setting off LiteLLM's own callbacks are left to LiteLLM."""
    own = Own()
    litellm.callbacks = [own]
    with switched_on(callbacks_rescue=False):
        before = callbacks.stats()["accepted"]
        run(Calls(provider).sync)
        wait_for_threads()
        assert (callbacks.stats()["accepted"], own.points) == (before, [])


def test_restored(the_dispatcher: Any) -> None:
    """Every method of LiteLLM that the rescue wraps is the very same object afterwards."""
    from litellm.litellm_core_utils.litellm_logging import Logging
    from litellm.litellm_core_utils.logging_callback_manager import LoggingCallbackManager

    def methods() -> list[Any]:
        return [value for owner in (Logging, LoggingCallbackManager) for value in vars(owner).values() if callable(value)]

    before = methods()
    with switched_on():
        assert any(one is not other for one, other in zip(before, methods(), strict=True))
    assert all(one is other for one, other in zip(before, methods(), strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("driven")
def test_routers(provider: FakeProvider) -> None:
    """After 300 Routers no Router is alive, and a callback that comes then fires: ours, and LiteLLM's own."""
    arguments = Calls(provider).arguments()
    arguments.pop("messages")
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    for _ in range(300):
        alive.add(litellm.Router([{"model_name": "group", "litellm_params": arguments}]))
    gc.collect()
    assert len(alive) == 0
    own, ours = Own(), []
    litellm.callbacks = [own]
    callbacks.register(lambda event: ours.append(1))
    run(Calls(provider).routed)
    assert (own.points, ours) == (["success"], [1])


@pytest.mark.usefixtures("driven")
def test_router_still_told(provider: FakeProvider) -> None:
    """The Router's own bookkeeping, which is a callback, goes on: it cools the deployment that has failed."""
    from litellm.router_utils.cooldown_handlers import _async_get_cooldown_deployments

    arguments = Calls(provider).arguments("error-500")
    arguments.pop("messages")
    router = litellm.Router(
        [{"model_name": "group", "litellm_params": arguments, "model_info": {"id": str(number)}} for number in range(2)],
        num_retries=0, allowed_fails=0, cooldown_time=60,
    )  # fmt: skip

    async def main() -> None:
        with contextlib.suppress(litellm.InternalServerError):
            await router.acompletion(model="group", messages=MESSAGES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # since LiteLLM 1.109 a Router's own context is wanted
            cooled = await _async_get_cooldown_deployments(litellm_router_instance=router, parent_otel_span=None)
        assert len(cooled) == 1

    asyncio.run(main())


_KEEPS_ROUTERS = Version(version("litellm")) < Version("1.109")


class TestLists:
    """What LiteLLM's own callback lists do, which the bridge's registry does not; each with its control."""

    MANY = 150

    def test_full(self, the_dispatcher: Any, provider: FakeProvider, caplog: pytest.LogCaptureFixture) -> None:
        """LiteLLM ignores what comes when its list is full; the bridge calls all, and names the one that LiteLLM leaves out."""

        def make(seen: list[int], number: int) -> Any:
            def callback(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
                seen.append(number)

            return callback

        theirs: list[int] = []
        ours: list[int] = []
        with switched_on(), caplog.at_level("WARNING"):
            for number in range(self.MANY):
                litellm.logging_callback_manager.add_litellm_success_callback(make(theirs, number))
                callbacks.register(make(ours, number))
            litellm.completion(**Calls(provider).arguments())
            wait_for_threads()
        assert len(theirs) < self.MANY
        assert ours == list(range(self.MANY))
        assert "LiteLLM leaves out the callback" in caplog.text
        assert "make.<locals>.callback" in caplog.text

    def test_same_class(self, the_dispatcher: Any, provider: FakeProvider, caplog: pytest.LogCaptureFixture) -> None:
        """LiteLLM drops a second object of a class, whatever its sink; the bridge calls both, and names the one that LiteLLM drops."""
        theirs, ours = [Own(), Own()], [Own(), Own()]
        for one in ours:
            callbacks.register(one)
        with switched_on(), caplog.at_level("WARNING"):
            litellm.callbacks = list(theirs)
            asyncio.run(litellm.acompletion(**Calls(provider).arguments()))
        assert [len(one.seen) for one in theirs] == [1, 0]
        assert [len(one.seen) for one in ours] == [1, 1]
        assert "LiteLLM leaves out the callback Own: it takes it for another one" in caplog.text

    def test_one_request(self, the_dispatcher: Any, provider: FakeProvider) -> None:
        """LiteLLM calls a callback of one request for all later ones, too; the bridge does not."""
        theirs, ours = Own(), Own()

        async def main() -> None:
            arguments = Calls(provider).arguments()
            with callbacks.registered(ours, local=True):
                await litellm.acompletion(**arguments, callbacks=[theirs])
            await litellm.acompletion(**arguments)

        with switched_on():
            asyncio.run(main())
        assert (theirs.points, ours.points) == (["success"] * 2, ["success"])

    @pytest.mark.parametrize("bridge", [False, True])
    def test_dead_routers(self, bridge: bool, the_dispatcher: Any, provider: FakeProvider) -> None:
        """LiteLLM's lists keep dropped Routers alive, until 1.109; with the bridge on they do not."""
        arguments = Calls(provider).arguments()
        arguments.pop("messages")
        alive: weakref.WeakSet[Any] = weakref.WeakSet()
        with switched_on() if bridge else contextlib.nullcontext():
            for _ in range(20):
                alive.add(litellm.Router([{"model_name": "group", "litellm_params": arguments}]))
            gc.collect()
            assert len(alive) == (0 if bridge or not _KEEPS_ROUTERS else 20)


@pytest.mark.slow
def test_a_thread_pool_that_python_has_shut_down(tmp_path: Path, provider: FakeProvider) -> None:
    """At the end of the process nobody waits for LiteLLM's logging threads, which Python has joined before that."""
    body = f"""
    import otel_llm_bridge
    otel_llm_bridge.instrument()
    import litellm
    litellm.completion(**{Calls(provider).arguments()!r})
    """
    environ = {"OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "3600", "OTEL_TRACES_EXPORTER": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ended = run_program(body, tmp_path, preamble="", environ=environ, timeout=150)
    assert ended.status == 0, ended.errors
    assert "is ignored" not in ended.errors

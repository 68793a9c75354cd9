"""Registering: once, checked, bounded, and gone when it should be."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge import callbacks
from otel_llm_bridge.callbacks import CallbackLimitReached, CallbackSignatureError, UnknownPoint
from otel_llm_bridge.callbacks.dispatch import Dispatcher

from .conftest import told


def plain(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
    """A callback as LiteLLM's guide has it."""


class Logger:
    """An object with LiteLLM's hook methods."""

    def __init__(self, sink: list[Any] | None = None, level: int = 1) -> None:
        self.sink = sink
        self.level = level

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if self.sink is not None:
            self.sink.append(kwargs)


class Owner:
    """Something like a Router: it registers a method of its own."""

    def on_success(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A bound method as a callback."""


def count(point: str = "success") -> int:
    return len(callbacks.dispatcher.registry.at(point))


@pytest.mark.usefixtures("dispatcher")
class TestSame:
    """What is one callback, and what is two."""

    sink: list[Any] = []

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            (plain, plain, 1),
            (plain, lambda *_: None, 2),
            ("langsmith", "langsmith", 1),
            ("langsmith", "lunary", 2),
            (Logger(), Logger(), 1),
            (Logger(level=1), Logger(level=2), 2),
            (Logger(sink), Logger([]), 2),
        ],
    )
    def test_deduplication(self, first: Any, second: Any, expected: int) -> None:
        """The same function, name, or class with its configuration is one; another sink makes it another."""
        callbacks.register(first)
        callbacks.register(second)
        assert count() == expected

    def test_keys_keep_both(self) -> None:
        """Two instances that look the same both live when each has a key."""
        a, b = Logger(), Logger()
        callbacks.register(a, key="a")
        callbacks.register(b, key="b")
        assert [one.callback for one in callbacks.dispatcher.registry.at("success")] == [a, b]

    def test_replacement_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        """An object that takes another one's place is named in a warning, and is the one that is called."""
        first, second = Logger(), Logger()
        callbacks.register(first)
        with caplog.at_level(logging.WARNING):
            registration = callbacks.register(second)
        assert registration.callback is second
        assert "Logger" in caplog.text

    def test_points_add_up(self) -> None:
        """Registering again for another point adds it."""
        callbacks.register(plain, on="success")
        callbacks.register(plain, on="failure")
        assert (count("success"), count("failure")) == (1, 1)

    def test_hot_reload(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module that is loaded again replaces its function and its object; nothing is called twice."""
        (tmp_path / "reloaded_callbacks.py").write_text(
            "from otel_llm_bridge import callbacks\n"
            "def log(kwargs, response_obj, start_time, end_time): pass\n"
            "class Handler:\n"
            "    def log_success_event(self, kwargs, response_obj, start_time, end_time): pass\n"
            "handler = Handler()\n"
            "callbacks.register(log)\n"
            "callbacks.register(handler)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        module = importlib.import_module("reloaded_callbacks")
        importlib.reload(module)
        assert [one.callback for one in callbacks.dispatcher.registry.at("success")] == [module.log, module.handler]
        del sys.modules["reloaded_callbacks"]


@pytest.mark.usefixtures("dispatcher")
class TestChecked:
    """What cannot be called is refused when it is registered."""

    @pytest.mark.parametrize(
        ("callback", "on", "says"),
        [
            (lambda: None, "success", "kwargs, response_obj, start_time, end_time"),
            (lambda a, b, c, d, e: None, "failure", "must take"),
            (lambda a, b: None, "pre_call", "model, messages, kwargs"),
            (Logger(), "failure", "log_failure_event"),
            (type("Wrong", (), {"log_success_event": lambda self, a, b, c, d: None})(), "success", "names"),
        ],
    )
    def test_signatures(self, callback: Any, on: str, says: str) -> None:
        """The error says what would fit."""
        with pytest.raises(CallbackSignatureError, match=says):
            callbacks.register(callback, on=on)

    @pytest.mark.parametrize(
        "options",
        [
            {"on": "sucess"}, {"on": []}, {"mode": "async"}, {"on_error": "ignore"},
            {"on_error": "raise", "mode": "tracked"},
        ],
    )  # fmt: skip
    def test_options(self, options: dict[str, Any]) -> None:
        """A value that there is not is an error."""
        with pytest.raises(ValueError):
            callbacks.register(plain, **options)

    def test_no_hooks(self) -> None:
        """An object that is no logger is refused."""
        with pytest.raises(UnknownPoint):
            callbacks.register(object())

    def test_unknown_name(self, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
        """The name of an integration that there is not is reported when it is to be called."""
        callbacks.register("no-such-integration")
        with caplog.at_level(logging.WARNING):
            callbacks.begin(is_async=False).emit("success", told())
        assert dispatcher.stats()["failed"] == 1
        assert "no-such-integration" in caplog.text

    def test_names_are_resolved(self, dispatcher: Dispatcher) -> None:
        """The name of an integration is resolved once, when it is first to be called."""
        asked: list[str] = []
        sink: list[Any] = []

        def resolve(name: str) -> Any:
            asked.append(name)
            return Logger(sink)

        dispatcher.registry.resolver = resolve
        callbacks.register("integration", on="success")
        assert not asked
        for _ in range(2):
            callbacks.begin(is_async=False).emit("success", told())
        assert (asked, len(sink)) == (["integration"], 2)


def test_limit(make_dispatcher: Any) -> None:
    """One callback too many is refused by its name; the others stay, and removing one makes room."""
    make_dispatcher(callbacks_max=2)
    first = callbacks.register(plain)
    callbacks.register(Logger())
    with pytest.raises(CallbackLimitReached, match="on_success"):
        callbacks.register(Owner().on_success)
    callbacks.register(plain, on="failure")  # the same callback is no further one
    first.remove()
    callbacks.register(Owner().on_success)
    assert count() == 2


@pytest.mark.usefixtures("dispatcher")
class TestGone:
    """Ways to remove."""

    def test_identity_owner_type_key(self) -> None:
        """By the callback itself, by its owner, by its class and by its key."""
        owner, logger = Owner(), Logger()
        callbacks.register(plain)
        callbacks.register(owner.on_success)
        callbacks.register(logger)
        callbacks.register(Logger(level=3), key="k")
        assert callbacks.remove(plain) == 1
        assert callbacks.remove(owner=owner) == 1
        assert callbacks.remove(type=Logger) == 2
        assert count() == 0
        callbacks.register(plain, key="k")
        assert callbacks.remove(key="k") == 1
        callbacks.register(owner.on_success)
        assert callbacks.remove(owner.on_success) == 1
        assert callbacks.remove(plain) == 0

    def test_owner_dies(self) -> None:
        """A callback goes with its owner, and does not keep it alive."""
        owner = Owner()
        callbacks.register(owner.on_success, owner=owner)
        kept = Owner()
        callbacks.register(plain, owner=kept)
        assert count() == 2
        del owner
        gc.collect()
        assert [one.callback for one in callbacks.dispatcher.registry.at("success")] == [plain]

    def test_no_weak_owner(self) -> None:
        """What cannot be referred to weakly cannot be an owner."""
        with pytest.raises(TypeError, match="owner"):
            callbacks.register(plain, owner=(1, 2))

    def test_removal_twice(self) -> None:
        """Removing again changes nothing, also after another registration of the same callback."""
        registration = callbacks.register(plain)
        registration.remove()
        again = callbacks.register(plain)
        registration.remove()
        assert count() == 1
        again.remove()


@pytest.mark.usefixtures("dispatcher")
class TestScopes:
    """Callbacks for a while, or for one request."""

    def test_scope(self) -> None:
        """A scoped callback is gone after the block, also when that raises."""
        with pytest.raises(KeyError), callbacks.registered(plain):
            assert count() == 1
            raise KeyError
        assert count() == 0

    async def test_request(self) -> None:
        """A callback for one request sees that request only, with others at the same time, and leaves nothing."""
        seen: dict[str, list[Any]] = {"a": [], "b": []}

        async def request(name: str) -> None:
            with callbacks.registered(lambda kwargs, *_: seen[name].append(kwargs["n"]), local=True):
                await asyncio.sleep(0)
                call = callbacks.begin(is_async=True)
                call.emit("success", told(n=name))
                await call.asettle()

        await asyncio.gather(request("a"), request("b"))
        call = callbacks.begin(is_async=True)
        call.emit("success", told(n="later"))
        assert seen == {"a": ["a"], "b": ["b"]}
        assert count() == 0

    async def test_requests_cost_no_memory(self, dispatcher: Dispatcher) -> None:
        """The figures of callbacks that are gone are kept by name, not by registration."""
        for _ in range(50):
            with callbacks.registered(plain, local=True):
                callbacks.begin(is_async=True).emit("success", told())
        assert dispatcher.stats()["completed"] == 50
        assert len(dispatcher._known) == 0


def test_threads(dispatcher: Dispatcher) -> None:
    """Threads that register, call and remove at the same time leave an empty registry and all runs accounted for."""

    def work() -> None:
        for number in range(50):
            registration = callbacks.register(lambda *_: None, key=(threading.get_ident(), number))
            callbacks.begin(is_async=False).emit("success", told())
            registration.remove()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    stats = dispatcher.stats()
    assert count() == 0
    assert stats["accepted"] == stats["completed"] >= 400


def test_unused_point(dispatcher: Dispatcher) -> None:
    """Where nobody listens nothing is loaded and nothing is accounted for."""
    callbacks.register(plain, on="failure")
    callbacks.begin(is_async=False).emit("success", lambda: pytest.fail("loaded for nobody"))
    assert dispatcher.stats()["accepted"] == 0

"""A provider of ours stands in as the global one, whatever OpenTelemetry's private names are."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.util._once import Once

from otel_llm_bridge import guard, set_once

_once: Any = Once()
_provider: Any = None


def _get() -> Any:
    return _provider


def _set(provider: Any) -> None:
    def keep() -> None:
        global _provider
        _provider = provider

    _once.do_once(keep)


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set."""
    monkeypatch.setitem(globals(), "_once", Once())
    monkeypatch.setitem(globals(), "_provider", None)


class _Follower:
    told = 0

    def forget(self) -> None:
        self.told += 1


def test_it_stands_in_until_the_program_sets_its_own() -> None:
    """The program's takes its place, once, and whoever follows is told."""
    follower = _Follower()
    set_once.follow(follower)
    set_once.stand_in(set_once.Signal(_get, _set, "_once"), "ours")
    assert (_get(), follower.told) == ("ours", 0)
    _set("theirs")
    _set("another one")
    assert (_get(), follower.told) == ("theirs", 1)


def test_where_the_program_was_faster_its_provider_stays() -> None:
    """What the program has set is not to be replaced, by ours or by anybody."""
    _set("theirs")
    set_once.stand_in(set_once.Signal(_get, _set, "_once"), "ours")
    _set("another one")
    assert _get() == "theirs"


def test_a_fault_of_a_follower_is_not_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sets a provider gets no exception of ours."""
    monkeypatch.setattr(guard, "_strict", False)

    class Faulty(_Follower):
        def forget(self) -> None:
            raise ValueError

    faulty = Faulty()
    set_once.follow(faulty)
    set_once.stand_in(set_once.Signal(_get, _set, "_once"), "ours")
    _set("theirs")
    assert _get() == "theirs"


def test_without_the_private_name_ours_stays() -> None:
    """As OpenTelemetry has it: the second one is refused."""
    set_once.stand_in(set_once.Signal(_get, _set, "_another_name"), "ours")
    _set("theirs")
    assert _get() == "ours"


@pytest.mark.parametrize("signal", [set_once.TRACES, set_once.METRICS, set_once.LOGS])
def test_the_names_are_those_of_this_opentelemetry(signal: set_once.Signal) -> None:
    """In each version that is supported; else a late provider is refused."""
    assert hasattr(signal.set.__globals__[signal.once], "do_once")

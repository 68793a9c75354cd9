"""The two switches, `instrument()` and `LiteLLMInstrumentor`, are of one bridge: what one does the other sees, and can undo."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import litellm
import pytest

import otel_llm_bridge
from otel_llm_bridge import LiteLLMInstrumentor
from otel_llm_bridge.patching import is_patched
from otel_llm_bridge.settings import InvalidSetting

from ..conftest import MESSAGES, Bridge

_OPTIONS = {"handle_signals": False, "strict": True}

#: Switch -> how it switches on, and off.
_SWITCHES: dict[str, tuple[Callable[..., None], Callable[[], None]]] = {
    "function": (otel_llm_bridge.instrument, otel_llm_bridge.uninstrument),
    "instrumentor": (lambda **options: LiteLLMInstrumentor().instrument(**options), lambda: LiteLLMInstrumentor().uninstrument()),
}


@pytest.fixture(autouse=True)
def off_again() -> Iterator[None]:
    """Off after each test, whatever came of it."""
    yield
    otel_llm_bridge.uninstrument()


def _is_on() -> bool:
    on = LiteLLMInstrumentor().is_instrumented_by_opentelemetry
    assert is_patched(litellm.completion) is on
    assert (LiteLLMInstrumentor().providers is not None) is on
    return bool(on)


@pytest.mark.parametrize("off_by", _SWITCHES)
@pytest.mark.parametrize("on_by", _SWITCHES)
def test_one_bridge(on_by: str, off_by: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever switches it on, both find it on and change nothing, silently; whichever switches it off, both find it off."""
    caplog.set_level(logging.INFO)
    for _ in range(2):
        assert not _is_on()
        _SWITCHES[on_by][0](**_OPTIONS, exit_timeout=2.5)
        for again, _ in _SWITCHES.values():
            again(exit_timeout=1)
        assert _is_on()
        settings = LiteLLMInstrumentor().settings
        assert settings is not None and settings.exit_timeout == 2.5
        for _ in range(2):
            _SWITCHES[off_by][1]()
    assert not _is_on()
    assert caplog.records == []


def test_one_span(make_bridge: Callable[..., Bridge]) -> None:
    """Switched on by both, a call has one span, of the provider that came first."""
    bridge = make_bridge()
    LiteLLMInstrumentor().instrument(**_OPTIONS)
    litellm.completion(model="gpt-4o-mini", messages=MESSAGES, mock_response="Hi")
    assert bridge.span().name == "chat gpt-4o-mini"


@pytest.mark.parametrize("switch", _SWITCHES)
def test_a_bad_option_leaves_it_off(switch: str) -> None:
    """An option that is not accepted raises, nothing is patched, and the next call may be right."""
    with pytest.raises(InvalidSetting):
        _SWITCHES[switch][0](exit_timeout="soon")
    assert not _is_on()
    _SWITCHES[switch][0](**_OPTIONS)
    assert _is_on()


def test_a_version_that_is_not_supported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Which version of LiteLLM is there is looked at where it is asked for: then the base class says what it misses, once."""
    monkeypatch.setattr(LiteLLMInstrumentor, "instrumentation_dependencies", lambda self: ("litellm >= 999",))
    LiteLLMInstrumentor().instrument(**_OPTIONS, skip_dep_check=False)
    assert not _is_on()
    (record,) = caplog.records
    assert "litellm >= 999" in record.getMessage()
    assert record.name == "opentelemetry.instrumentation.instrumentor"
    LiteLLMInstrumentor().instrument(**_OPTIONS)
    assert _is_on()


#: What takes long to import, and is not needed before LiteLLM comes, which brings most of it.
_LATER = ("opentelemetry", "wrapt", "litellm", "asyncio", "dataclasses", "inspect", "importlib.metadata")


def test_what_to_instrument_imports() -> None:
    """A program that instruments, and makes no call, imports neither OpenTelemetry nor what else belongs to calls."""
    code = f"import sys, otel_llm_bridge; otel_llm_bridge.instrument(); print([name for name in {_LATER} if name in sys.modules])"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}  # which imports some of them
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"

"""Options: one table, blank is unset, a bad value warns and names what is accepted."""

from __future__ import annotations

import logging
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_llm_bridge
from otel_llm_bridge.content import ContentPolicy
from otel_llm_bridge.guard import logger
from otel_llm_bridge.propagation import Traceparent
from otel_llm_bridge.settings import TABLE, InvalidSetting, Setting, Settings
from otel_llm_bridge.who import Who

#: What a shell, a container or a person may have put there: any text, bytes that are no UTF-8, and what is nearly right.
_TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), min_size=1, max_size=5),
    st.text(string.digits + "-+._eEx, ", max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", " ", "\t\n", "true", "TRUE", "0", "-1", "1e400", "nan", "9" * 5000, "both", "none", "No_Content", "block", "*", ",", ":", "a:b", "%s %(x)s"]),
)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TABLE])
@given(text=_TEXTS)
def test_any_text(row: Setting, text: str) -> None:
    """Whatever stands in an option's variable: blank is unset, what is accepted holds, all else is one warning that says what is."""
    said = _Said()
    with said:
        settings = Settings.resolve({row.variable: text})
    value, origin = settings.values[row.name], settings.origins[row.name]
    others = {one.name: one.default for one in TABLE if one is not row}
    assert {name: settings.values[name] for name in others} == others
    if not text.strip():
        assert (value, origin, said.messages) == (row.default, "default", [])
    elif origin == "environment":
        assert said.messages == []
        assert value == row.parse(text.strip())
        assert value == value, "a NaN is no setting"
    else:
        with pytest.raises(InvalidSetting) as refused:
            row.parse(text.strip())
        (message,) = said.messages
        assert (value, origin) == (row.default, "default")
        assert message.startswith(f"{row.variable}=")
        assert "accepted: " in message
        assert message.endswith(str(refused.value))
        assert "\n" not in message


@given(st.dictionaries(st.sampled_from([row.variable for row in TABLE]), _TEXTS))
def test_any_environment(environ: dict[str, str]) -> None:
    """All of them together resolve; and what is made of them (the content policy, names of redactors and hooks) is made, too."""
    with _Said():
        settings = Settings.resolve(environ)
        ContentPolicy.of(settings)
        Who(settings, ContentPolicy())
        Traceparent(settings.traceparent_hosts).is_for("example.com")
    assert set(settings.origins.values()) <= {"default", "environment"}
    assert pickle.loads(pickle.dumps(settings)) == settings


class _Said(logging.Handler):
    """The bridge's log lines within the block, formatted as any handler would."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> None:
        logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        logger.removeHandler(self)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TABLE])
def test_rows(row: Setting) -> None:
    """Variables are ours or OpenTelemetry's own, and the meaning is a sentence for the manual."""
    assert row.variable.startswith(("OTEL_LLM_BRIDGE_", "OTEL_INSTRUMENTATION_GENAI_"))
    assert row.meaning.endswith(".")


def test_a_bad_value_is_named() -> None:
    """By its variable, as it was written, with what holds and what is accepted."""
    said = _Said()
    with said:
        assert Settings.resolve({"OTEL_LLM_BRIDGE_METRICS": "all\nof them"}).metrics == "released"
    assert said.messages == [
        "OTEL_LLM_BRIDGE_METRICS='all\\nof them' is ignored, 'released' holds; accepted: released, latest, both, none"
    ]


def test_arguments_win_and_are_checked() -> None:
    """An argument beats the environment; a wrong name or value is an error that names the right ones."""
    assert Settings.resolve({"OTEL_LLM_BRIDGE_METRICS": "both"}, metrics="latest").metrics == "latest"
    with pytest.raises(InvalidSetting, match="released, latest, both"):
        Settings.resolve({}, metrics="all")
    with pytest.raises(InvalidSetting, match="unknown option metrix; known: .*metrics"):
        Settings.resolve({}, metrix="all")
    with pytest.raises(InvalidSetting, match="unknown option"):
        otel_llm_bridge.instrument(nonsense=1)
    otel_llm_bridge.uninstrument()

"""Options: one table, blank is unset, a bad value warns and names what is accepted."""

from __future__ import annotations

import logging
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_llm_bridge
from otel_llm_bridge.settings import TABLE, InvalidSetting, Settings

_VARIABLES = [row.variable for row in TABLE]
_TEXTS = st.one_of(
    st.text(string.printable + "äß€", max_size=20),
    st.sampled_from(["", " ", "true", "0", "-1", "1e400", "nan", "both", "none", "NO_CONTENT", "block", "*"]),
)


@given(st.dictionaries(st.sampled_from(_VARIABLES), _TEXTS))
def test_no_environment_raises(environ: dict[str, str]) -> None:
    """Whatever stands in the variables, the options resolve, and each value comes from somewhere known."""
    settings = Settings.resolve(environ)
    assert set(settings.origins.values()) <= {"default", "environment", "argument"}
    for row in TABLE:
        if not environ.get(row.variable, "").strip():
            assert getattr(settings, row.name) == row.default


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TABLE])
def test_rows(row: object, caplog: pytest.LogCaptureFixture) -> None:
    """Blank is the default; what is not accepted is one warning that names the variable, and the default."""
    setting = next(one for one in TABLE if one is row)
    assert setting.variable.startswith(("OTEL_LLM_BRIDGE_", "OTEL_INSTRUMENTATION_GENAI_"))
    assert setting.meaning.endswith(".")
    assert getattr(Settings.resolve({setting.variable: "  "}), setting.name) == setting.default
    try:
        setting.parse("\x01 not a value")
    except InvalidSetting:
        with caplog.at_level(logging.WARNING, logger="otel_llm_bridge"):
            assert getattr(Settings.resolve({setting.variable: "\x01 not a value"}), setting.name) == setting.default
        (record,) = caplog.records
        assert setting.variable in record.getMessage()
        assert "accepted" in record.getMessage()


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

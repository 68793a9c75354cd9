"""JSON text of content, with orjson and without it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm_bridge import json_text
from otel_llm_bridge.content.conversation import TextMessage

_texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(["\ud83d", "a\ude00b", "🙂", "\x00\x1f\x7f\u2028", '"\\/'])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_it_says_the_same_with_orjson(value: Any) -> None:
    """What one cannot write the other does, and both mean what the standard library means."""
    said = json_text.dump(value)
    assert json.loads(said) == value == json.loads(json.dumps(value))
    assert type(said) is str


def test_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs it."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    json_text._orjson.cache_clear()
    try:
        assert json_text._orjson() is None
        assert json_text.dump(TextMessage("user", "ü🙂")) == '{"role":"user","parts":[{"type":"text","content":"ü🙂"}]}'
    finally:
        json_text._orjson.cache_clear()


def test_with_orjson() -> None:
    """The same text, of a message of ours as of any mapping."""
    pytest.importorskip("orjson")
    json_text._orjson.cache_clear()
    assert json_text._orjson() is not None
    assert json_text.dump(TextMessage("user", "ü🙂")) == '{"role":"user","parts":[{"type":"text","content":"ü🙂"}]}'


def test_what_is_no_json() -> None:
    """As the standard library says it."""
    with pytest.raises(TypeError):
        json_text.dump({"a": object()})

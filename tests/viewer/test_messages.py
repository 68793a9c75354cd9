"""Captured messages read as a conversation; what has another shape is still shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm_bridge.viewer.messages import conversation

ASKED = {"role": "user", "parts": [{"type": "text", "content": "How is it\nin Paris?"}]}
CALLED = {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "weather", "arguments": {"city": "Paris"}}], "finish_reason": "tool_call"}
ANSWERED = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "18 degrees"}]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([ASKED], "user:\nHow is it\nin Paris?"),
        (json.dumps([CALLED]), 'assistant:\n→ weather({"city": "Paris"})\n[tool_call]'),
        ([ANSWERED, ASKED], "tool:\n← 18 degrees\n\nuser:\nHow is it\nin Paris?"),
        ([{"type": "text", "content": "Be brief."}], "Be brief."),
        ([{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}]}], "assistant:\n(thinking) hm"),
        ([{"role": "user", "parts": [{"type": "blob", "size": 1}, "odd"]}], 'user:\n{\n  "type": "blob",\n  "size": 1\n}\nodd'),
        ("plain text", "plain text"),
        ('{"cut', '{"cut'),
        ({"a": 1}, '{\n  "a": 1\n}'),
        ("17", "17"),
    ],
)
def test_conversation(value: Any, text: str) -> None:
    """Texts, tool calls and their answers are lines; an unknown part is JSON; a text that is no JSON is itself."""
    assert conversation(value) == text


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "parts", "type", "content", "x"]), inner)))
def test_any_shape(value: Any) -> None:
    """Whatever an instrumentation sends, a text comes back."""
    assert isinstance(conversation(value), str)
    assert isinstance(conversation(json.dumps(value)), str)

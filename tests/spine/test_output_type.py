"""What kind of output a request asks for, in the words of each API."""

from __future__ import annotations

import enum
from typing import Any

import litellm
import pydantic
import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import reading
from otel_llm_bridge.semconv import gen_ai

from ..conftest import Bridge
from ..demo.calls import make
from ..demo.families import BY_NAME


class _Answer(pydantic.BaseModel):
    word: str


class _Modality(enum.Enum):
    IMAGE = "IMAGE"


_JSON = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("operation", "arguments", "said"),
    [
        (gen_ai.CHAT, {"response_format": {"type": "json_object"}}, "json"),
        (gen_ai.CHAT, {"response_format": _JSON}, "json"),
        (gen_ai.CHAT, {"response_format": _Answer}, "json"),
        (gen_ai.CHAT, {"response_format": {"type": "text"}}, "text"),
        (gen_ai.CHAT, {"modalities": ["text", "audio"]}, "speech"),
        (gen_ai.CHAT, {"modalities": ["text"]}, "text"),
        (gen_ai.CHAT, {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {}}}}, "json"),
        (gen_ai.CHAT, {"text_format": _Answer}, "json"),
        (gen_ai.GENERATE_CONTENT, {"config": {"response_modalities": ["TEXT", "IMAGE"]}}, "image"),
        (gen_ai.GENERATE_CONTENT, {"config": {"responseModalities": [_Modality.IMAGE]}}, "image"),
        (gen_ai.GENERATE_CONTENT, {"response_modalities": ["audio"]}, "speech"),
        (gen_ai.GENERATE_CONTENT, {"response_format": {"type": "text", "mime_type": "application/json", "schema": {}}}, "json"),
        (gen_ai.GENERATE_CONTENT, {"config": {"response_modalities": ["IMAGE"], "response_mime_type": "text/plain"}}, "image"),
        # Two of them at once have no word, and nothing is made of what is odd.
        (gen_ai.CHAT, {"modalities": ["image", "audio"]}, None),
        (gen_ai.CHAT, {"modalities": 7}, None),
        (gen_ai.CHAT, {"modalities": [{"no": "word"}]}, None),
        (gen_ai.CHAT, {"response_format": "json"}, None),
        (gen_ai.CHAT, {"text": "a text"}, None),
    ],
)  # fmt: skip
def test_what_is_asked_for(operation: str, arguments: dict[str, Any], said: str | None) -> None:
    """``gen_ai.output.type`` has one of its four words, or is not there."""
    assert reading.read_request(operation, {"model": "gpt-4o-mini", **arguments}, litellm).get("output_type") == said


def test_of_the_responses_api(bridge: Bridge, provider: FakeProvider) -> None:
    """The argument has another name there."""
    _, error = make(BY_NAME["responses"], provider, text={"format": {"type": "json_object"}})
    assert error is None
    assert (bridge.span().attributes or {})["gen_ai.output.type"] == "json"

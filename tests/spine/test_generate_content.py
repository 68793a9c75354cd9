"""Google's generateContent: what its configuration asks for."""

from __future__ import annotations

import enum
from typing import Any

import pydantic
import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import reading
from otel_llm_bridge.semconv import gen_ai

from ..conftest import Bridge
from ..demo.calls import make
from ..demo.families import BY_NAME

_SNAKE = {
    "temperature": 1, "top_p": 0.9, "top_k": 40, "max_output_tokens": 77, "stop_sequences": ["END"], "seed": 7, "candidate_count": 2,
    "presence_penalty": 0.5, "frequency_penalty": 0.25, "response_mime_type": "application/json", "thinking_config": {"thinking_level": "low"},
}  # fmt: skip
_CAMEL = {
    "temperature": 1, "topP": 0.9, "topK": 40, "maxOutputTokens": 77, "stopSequences": ["END"], "seed": 7, "candidateCount": 2,
    "presencePenalty": 0.5, "frequencyPenalty": 0.25, "responseMimeType": "application/json", "thinkingConfig": {"thinkingLevel": "low"},
}  # fmt: skip
_SAID = {
    "gen_ai.request.temperature": 1.0, "gen_ai.request.top_p": 0.9, "gen_ai.request.top_k": 40, "gen_ai.request.max_tokens": 77,
    "gen_ai.request.stop_sequences": ("END",), "gen_ai.request.seed": 7, "gen_ai.request.choice.count": 2,
    "gen_ai.request.presence_penalty": 0.5, "gen_ai.request.frequency_penalty": 0.25, "gen_ai.output.type": "json",
    "gen_ai.request.reasoning.level": "low",
}  # fmt: skip


def _said(bridge: Bridge) -> dict[str, Any]:
    """What the span says of the request's parameters."""
    said = bridge.span().attributes or {}
    return {name: value for name, value in said.items() if name in _SAID}


@pytest.mark.parametrize("name", [f"{a}generate_content{stream}" for a in ("", "a") for stream in ("", "_stream")])
@pytest.mark.parametrize("config", [_SNAKE, _CAMEL], ids=["snake", "camel"])
def test_a_configuration(name: str, config: dict[str, Any], bridge: Bridge, provider: FakeProvider) -> None:
    """All that is asked for is on the span, in either spelling, of all four functions."""
    _, error = make(BY_NAME[name], provider, config=config)
    assert error is None
    assert _said(bridge) == _SAID


def test_its_older_name(bridge: Bridge, provider: FakeProvider) -> None:
    """LiteLLM also takes ``generationConfig``."""
    make(BY_NAME["generate_content"], provider, generationConfig=_CAMEL)
    assert _said(bridge) == _SAID


def test_only_one_of_the_two_counts(bridge: Bridge, provider: FakeProvider) -> None:
    """Where both are given, the older name is ignored, as LiteLLM does."""
    provider.reset()
    make(BY_NAME["generate_content"], provider, config={"temperature": 0.5}, generationConfig=_CAMEL)
    assert provider.requests[0].json["generationConfig"] == {"temperature": 0.5}
    assert _said(bridge) == {"gen_ai.request.temperature": 0.5}


class _Level(str, enum.Enum):
    LOW = "low"


class _Thinking(pydantic.BaseModel):
    thinking_level: _Level | None = None


class _Config(pydantic.BaseModel):
    """In the form of the types of Google's own client."""

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    thinking_config: _Thinking | None = None


def test_a_typed_configuration() -> None:
    """An object of a type, as Google's client has them, says the same; what is not set is not there."""
    config = _Config(temperature=0.5, max_output_tokens=77, thinking_config=_Thinking(thinking_level=_Level.LOW))
    facts = reading.read_request(gen_ai.GENERATE_CONTENT, {"model": "gemini/gemini-2.5-flash", "config": config}, _defaults())
    found = {name: facts[name] for name in ("temperature", "max_tokens", "reasoning_level")}
    assert found == {"temperature": 0.5, "max_tokens": 77, "reasoning_level": "low"}
    assert type(found["reasoning_level"]) is str
    assert "top_p" not in facts


def _defaults() -> Any:
    import litellm

    return litellm


@pytest.mark.parametrize(
    "config",
    [
        7, "temperature", ["temperature"], object(), {7: 7},
        {"temperature": "warm", "topK": [], "maxOutputTokens": float("inf"), "stopSequences": 7, "responseMimeType": ["a"], "thinkingConfig": 7},
        {"temperature": {}, "seed": object(), "candidateCount": "two", "thinking_config": {"thinking_level": 7}},
    ],
    ids=["number", "text", "list", "object", "odd name", "odd values", "more odd values"],
)  # fmt: skip
def test_odd_configurations(config: Any) -> None:
    """What does not fit is left out, and nothing is raised."""
    request = {"model": "gemini/gemini-2.5-flash", "config": config, "top_p": 0.5}
    facts = reading.read_request(gen_ai.GENERATE_CONTENT, request, _defaults())
    kept = {"operation", "model", "provider", "server_address", "server_port", "top_p"}
    assert {name for name, value in facts.items() if value is not None} == kept


def test_elsewhere_the_name_means_something_else() -> None:
    """Only Google's API has a configuration under this name."""
    facts = reading.read_request(gen_ai.CHAT, {"model": "gpt-4o-mini", "config": {"temperature": 0.5}}, _defaults())
    assert "temperature" not in facts

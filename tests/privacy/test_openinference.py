"""OpenInference's vocabulary: its names exactly, alone or beside the GenAI ones, with content only where it is on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from openinference.semconv import trace as published

from otel_llm_bridge.semconv import openinference
from tests.conftest import Bridge
from tests.demo.families import BY_NAME, PROMPT


def _names() -> frozenset[str]:
    classes = [value for name, value in vars(published).items() if name.endswith("Attributes") and isinstance(value, type)]
    return frozenset(str(value) for one in classes for name, value in vars(one).items() if name.isupper())


NAMES: Final = _names()


def is_published(attribute: str) -> bool:
    """Whether each piece of a flat name between the indexes is a name of the package."""
    return all(piece.strip(".") in NAMES for piece in re.split(r"\.\d+(?:\.|$)", attribute) if piece.strip("."))


def foreign(attributes: Any) -> list[str]:
    """Attributes that are neither ours nor those of the core conventions nor OpenInference's."""
    own = ("litellm.", "server.", "error.", "gen_ai.")
    return [name for name in attributes if not name.startswith(own) and not is_published(name) and not _nested(name)]


def _nested(attribute: str) -> bool:
    """``message_content.image`` holds an ``image.url``."""
    return attribute.endswith(f"{openinference.CONTENT_IMAGE}.{openinference.IMAGE_URL}")


@pytest.mark.parametrize("name", ["completion", "completion-tool", "completion-stream", "embedding", "rerank", "moderation", "responses", "image_generation"])
def test_names(name: str, provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Every attribute outside our own namespaces is one that the package publishes, for each kind of span."""
    bridge = make_bridge(vocabulary="openinference", capture_content="SPAN_ONLY")
    family = BY_NAME[name]
    result = family.callable()(**family.kwargs(provider))
    if family.streams:
        list(result)
    attributes = dict(bridge.span().attributes or {})
    assert foreign(attributes) == []
    assert not [attribute for attribute in attributes if attribute.startswith("gen_ai.")]
    kinds = {kind.value for kind in published.OpenInferenceSpanKindValues}
    assert attributes["openinference.span.kind"] in kinds
    wanted = {"embedding": "EMBEDDING", "rerank": "RERANKER", "moderation": "GUARDRAIL"}.get(name, "LLM")
    assert attributes["openinference.span.kind"] == wanted


def test_a_chat(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Model, tokens, cost, parameters and both messages are where Phoenix looks for them."""
    bridge = make_bridge(vocabulary="openinference", capture_content="SPAN_ONLY")
    family = BY_NAME["completion"]
    answer = family.callable()(**family.kwargs(provider, temperature=0.5))
    said = dict(bridge.span().attributes or {})
    usage = answer.usage
    assert said["llm.model_name"] == answer.model
    assert (said["llm.token_count.prompt"], said["llm.token_count.completion"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert said["llm.token_count.total"] == usage.total_tokens
    assert said["llm.cost.total"] == answer._hidden_params["response_cost"]
    assert json.loads(str(said["llm.invocation_parameters"])) == {"temperature": 0.5}
    assert said["llm.input_messages.0.message.role"] == "user"
    assert said["llm.input_messages.0.message.content"] == PROMPT
    assert said["llm.output_messages.0.message.content"] == answer.choices[0].message.content


def test_a_tool_call(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Tool calls are flat attributes; the tools that were offered are JSON."""
    bridge = make_bridge(vocabulary="openinference", capture_content="SPAN_ONLY")
    family = BY_NAME["completion-tool"]
    answer = family.callable()(**family.kwargs(provider))
    said = dict(bridge.span().attributes or {})
    call = answer.choices[0].message.tool_calls[0]
    at = "llm.output_messages.0.message.tool_calls.0.tool_call"
    assert said[f"{at}.id"] == call.id and said[f"{at}.function.name"] == "get_weather"
    assert json.loads(str(said[f"{at}.function.arguments"])) == json.loads(call.function.arguments)
    assert json.loads(str(said["llm.tools.0.tool.json_schema"]))["name"] == "get_weather"


@pytest.mark.parametrize("vocabulary", ["openinference", "both"])
def test_no_content_by_default(vocabulary: str, provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Without capture there is no message, no input and no output in either vocabulary."""
    bridge = make_bridge(vocabulary=vocabulary)
    family = BY_NAME["completion"]
    family.callable()(**family.kwargs(provider))
    span = bridge.span()
    assert PROMPT not in span.to_json()
    names = list(span.attributes or {})
    assert ("gen_ai.operation.name" in names) == (vocabulary == "both")
    assert "llm.model_name" in names and "input.value" not in names


async def test_a_router(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """The logical call is a CHAIN without tokens; who it is for is on both spans."""
    import litellm

    import otel_llm_bridge

    bridge = make_bridge(vocabulary="both")
    to = {"api_base": provider.api_base, "api_key": "sk-test"}
    router = litellm.Router([{"model_name": "group", "litellm_params": {"model": "openai/gpt-4o-mini", **to}}])
    with otel_llm_bridge.attributes(user="u-1", session="s-1", tags=["beta"]):
        await router.acompletion(model="group", messages=[{"role": "user", "content": PROMPT}])
    kinds = []
    for span in bridge.all():
        said = dict(span.attributes or {})
        kinds.append(said["openinference.span.kind"])
        assert (said["user.id"], said["session.id"], said["tag.tags"]) == ("u-1", "s-1", ("beta",))
        assert ("llm.token_count.prompt" in said) == (said["openinference.span.kind"] == "LLM")
    assert kinds == ["CHAIN", "LLM"]

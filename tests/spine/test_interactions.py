"""The Interactions API: its own shapes of requests, answers and streams."""

from __future__ import annotations

import gc
import json
from typing import Any

import litellm
import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.litellm import answers, interactions, reading
from otel_llm_bridge.streams import settle_left_streams

from ..conftest import Bridge
from ..demo.calls import make
from ..demo.families import BY_NAME

_STEPS = [
    {"type": "user_input", "content": [{"type": "text", "text": "Look"}, {"type": "image", "data": "aGk=", "mime_type": "image/png"}]},
    {"type": "thought", "summary": [{"type": "text", "text": "An image"}]},
    {"type": "function_call", "id": "c1", "name": "look", "arguments": {"at": "it"}},
    {"type": "function_result", "call_id": "c1", "name": "look", "result": {"seen": True}},
    {"type": "model_output", "content": [{"type": "text", "text": "Seen"}]},
    {"type": "user_input", "content": "And now?"},
]


def _content(bridge: Bridge, name: str) -> Any:
    return json.loads(str((bridge.span().attributes or {})[name]))


def test_the_request(make_bridge: Any, provider: FakeProvider) -> None:
    """What is asked for within the configuration is on the span, and each step is a message of who said it."""
    bridge = make_bridge(capture_content="SPAN_ONLY")
    configured = {"temperature": 0.5, "max_output_tokens": 77, "thinking_level": "low", "stop_sequences": ["x"], "seed": "no number"}
    make(BY_NAME["interactions"], provider, input=_STEPS, generation_config=configured, previous_interaction_id="v1_0", system_instruction="Be brief")
    said = dict(bridge.span().attributes or {})
    assert said["gen_ai.operation.name"] == "generate_content"
    assert (said["gen_ai.request.temperature"], said["gen_ai.request.max_tokens"], said["gen_ai.request.stop_sequences"]) == (0.5, 77, ("x",))
    assert (said["gen_ai.request.reasoning.level"], said["gen_ai.request.previous_response.id"]) == ("low", "v1_0")
    assert "gen_ai.request.seed" not in said
    assert _content(bridge, "gen_ai.system_instructions") == [{"type": "text", "content": "Be brief"}]
    messages = _content(bridge, "gen_ai.input.messages")
    assert [message["role"] for message in messages] == ["user", "assistant", "assistant", "tool", "assistant", "user"]
    assert [part["type"] for message in messages for part in message["parts"]] == [
        "text", "blob", "reasoning", "tool_call", "tool_call_response", "text", "text",
    ]  # fmt: skip
    assert messages[2]["parts"] == [{"type": "tool_call", "name": "look", "arguments": {"at": "it"}, "id": "c1"}]


@pytest.mark.parametrize("behaviour", ["reasoning", "tool+reasoning"])
def test_a_stream_says_what_the_answer_says(behaviour: str, make_bridge: Any, provider: FakeProvider) -> None:
    """Content, tokens, cost and finish reason of a stream are those of the whole answer; reasoning counts as output."""
    bridge = make_bridge(capture_content="SPAN_ONLY")
    for name in ("interactions", "interactions-stream"):
        make(BY_NAME[name], provider, behaviour)
    whole, stream = (dict(span.attributes or {}) for span in bridge.inference())
    of_both = [name for name in whole if name.startswith(("gen_ai.usage", "gen_ai.output", "gen_ai.response.finish", "litellm.usage"))]
    assert len(of_both) >= 6
    assert {name: stream[name] for name in of_both} == {name: whole[name] for name in of_both}
    assert whole["gen_ai.usage.output_tokens"] > whole["gen_ai.usage.reasoning.output_tokens"] > 0
    assert whole["gen_ai.response.finish_reasons"] == (("tool_calls",) if "tool" in behaviour else ("stop",))


def test_a_stream_that_is_left(bridge: Bridge, provider: FakeProvider) -> None:
    """It has no finish reason and no state; its tokens are an estimate of what was read."""
    stream = litellm.interactions.create(**BY_NAME["interactions-stream"].kwargs(provider))
    for _ in range(3):
        next(stream)
    del stream
    gc.collect()
    settle_left_streams()
    said = dict(bridge.span().attributes or {})
    assert said["litellm.usage.source"] == "litellm_estimate" and said["gen_ai.usage.output_tokens"] > 0
    assert "gen_ai.response.finish_reasons" not in said and "gen_ai.response.status" not in said


async def test_through_a_router(bridge: Bridge, provider: FakeProvider) -> None:
    """It is an attempt of the Router's logical call."""
    family = BY_NAME["ainteractions"]
    router = litellm.Router([{"model_name": "group", "litellm_params": family.kwargs(provider, input=None)}])
    await router.acreate_interaction(model="group", input="Is there anybody?")
    logical, attempt = bridge.all()
    assert (attempt.name, logical.name) == ("generate_content gemini-2.5-flash", "litellm.router group")
    assert attempt.parent is not None and attempt.parent.span_id == logical.context.span_id


def test_the_form_before_steps() -> None:
    """Outputs, and the events of content, say the same."""
    outputs = [{"type": "thought", "summary": [{"type": "text", "text": "Well"}]}, {"type": "text", "text": "Yes"}]
    parts = [{"type": "reasoning", "content": "Well"}, {"type": "text", "content": "Yes"}]
    assert interactions.said({"outputs": outputs}) == parts
    pieces = answers.Pieces()
    for event in (
        {"event_type": "content.start", "index": 0, "content": {"type": "thought"}},
        {"event_type": "content.delta", "index": 0, "delta": {"type": "thought_summary", "content": {"type": "text", "text": "Well"}}},
        {"event_type": "content.delta", "index": 1, "delta": {"type": "text", "text": "Yes"}},
        {"event_type": "content.delta", "index": 2, "delta": {"type": "function_call", "id": "c1", "name": "look", "arguments": {"at": "it"}}},
        {"event_type": "interaction.complete", "interaction": {"id": "v1_1", "status": "requires_action"}},
    ):
        interactions.collect(pieces, event)
    (message,) = pieces.messages()
    assert message["parts"] == [*parts, {"type": "tool_call", "name": "look", "arguments": {"at": "it"}, "id": "c1"}]
    assert message["finish_reason"] == "tool_call"


_AGENT = "deep-research-pro-preview-12-2025"
_OF_AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": _AGENT, "gen_ai.provider.name": "gcp.gemini"}


@pytest.mark.parametrize("name", ["interactions", "ainteractions", "interactions-stream", "ainteractions-stream"])
def test_an_agent(name: str, bridge: Bridge, provider: FakeProvider) -> None:
    """An agent takes the place of the model: it is invoked, and its id is the provider's, no name that an application gave."""
    provider.reset()
    _, error = make(BY_NAME[name], provider, model=None, agent=_AGENT)
    assert error is None and provider.requests[0].json["agent"] == _AGENT
    said = dict(bridge.span().attributes or {})
    assert bridge.span().name == "invoke_agent"
    assert said.items() >= _OF_AGENT.items()
    assert not said.keys() & {"gen_ai.request.model", "gen_ai.response.model", "gen_ai.agent.name"}
    assert said["gen_ai.usage.output_tokens"] > 0 and said["gen_ai.response.finish_reasons"] == ("stop",)


def test_an_agent_that_fails(bridge: Bridge, provider: FakeProvider) -> None:
    """What is known of it is known from the start."""
    _, error = make(BY_NAME["interactions"], provider, "error-429", model=None, agent=_AGENT)
    assert error is not None and bridge.span().name == "invoke_agent"
    assert dict(bridge.span().attributes or {}).items() >= {**_OF_AGENT, "error.type": type(error).__name__}.items()


def test_an_agent_in_openinference(make_bridge: Any, provider: FakeProvider) -> None:
    """There it is a kind of span of its own."""
    bridge: Bridge = make_bridge(vocabulary="openinference")
    make(BY_NAME["interactions"], provider, model=None, agent=_AGENT)
    assert (bridge.span().attributes or {})["openinference.span.kind"] == "AGENT"


def test_a_model_beside_an_agent(bridge: Bridge, provider: FakeProvider) -> None:
    """LiteLLM asks the model then, and the agent is not invoked."""
    provider.reset()
    make(BY_NAME["interactions"], provider, agent=_AGENT)
    assert "agent" not in provider.requests[0].json
    assert bridge.span().name == "generate_content gemini-2.5-flash"
    assert "gen_ai.agent.id" not in (bridge.span().attributes or {})


@pytest.mark.parametrize("agent", ["", 7, ["deep-research"]])
def test_odd_agents(agent: Any) -> None:
    """What is no agent's id is none, and nothing is raised."""
    facts = reading.read_request("generate_content", {"agent": agent}, litellm)
    assert facts["operation"] == "generate_content" and "agent_id" not in facts

"""Google's Interactions API (https://ai.google.dev/api/interactions-api): what an interaction says, whole or event by event.

An interaction is a list of steps: of thinking, of the model's words, of calls of tools. Before May 2026 it was a list of
outputs, and its events had other names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..content import conversation as parts
from .access import Facts, first, get
from .blocks import content, part
from .usage import read_usage

if TYPE_CHECKING:
    from ..content.conversation import Part
    from .pieces import Pieces

#: States in which an interaction may be at its end -> the finish reason, in the words of the chat API.
_FINISHED: Final = {"completed": "stop", "requires_action": "tool_calls", "incomplete": "length"}
#: States of an answer that is being made, as in the Responses API.
UNFINISHED: Final = ("queued", "in_progress")
#: What was said before, which a stored interaction repeats.
_SAID_BEFORE: Final = frozenset({"user_input", "function_result"})

#: LiteLLM's name of the provider whose agents they are, unless it is told another.
PROVIDER: Final = "gemini"


def agent_of(request: Mapping[str, Any]) -> str | None:
    """Id of the agent that ``request`` is for, in the place of a model. Beside a model, unless it has the same name, it does not count."""
    agent, model = request.get("agent"), request.get("model")
    return agent if isinstance(agent, str) and agent and (not model or model == agent) else None


def read_facts(interaction: Any) -> Facts:
    """What ``interaction`` says of itself as a whole."""
    status = get(interaction, "status")
    finish = _FINISHED.get(str(status))
    return {
        "response_id": get(interaction, "id"),
        "response_model": get(interaction, "model"),
        "finish_reasons": [finish] if finish else None,
        # The finish reason says the same of one that has one.
        "response_status": None if finish else status,
        **read_usage(get(interaction, "usage")),
    }


def of_event(event: Any) -> Any:
    """The interaction that an event of a stream tells of, or ``None``; what LiteLLM makes of another API's stream is its own."""
    inner = get(event, "interaction")
    return inner if inner is not None or get(event, "id") is None else event


def said(interaction: Any) -> list[Part]:
    """What the model has said."""
    found: list[Part] = []
    for step in first(interaction, ("steps", "outputs")) or ():
        kind = get(step, "type")
        if kind not in _SAID_BEFORE:
            found += content(get(step, "content")) if kind == "model_output" else [part(step)]
    return found


def piece(event: Any) -> str | None:
    """The words, thoughts or arguments that an event brings."""
    found = first(event, ("delta.text", "delta.content.text", "delta.arguments"))
    return json.dumps(parts.plain(found)) if isinstance(found, dict) else found


#: Kind of a delta -> of which it is a piece.
_DELTAS: Final = {"text": "text", "thought_summary": "reasoning", "arguments_delta": "tool_call", "function_call": "tool_call"}


def collect(pieces: Pieces, event: Any) -> None:
    """Put what ``event`` brings to the ``pieces`` of the answer."""
    place, delta = get(event, "index"), get(event, "delta")
    started = first(event, ("step", "content"))
    if get(started, "type") == "function_call":
        pieces.add(0, place, "tool_call", "", get(started, "name"), get(started, "id"))
    kind = _DELTAS.get(str(get(delta, "type")))
    if kind is not None:
        pieces.add(0, place, kind, piece(event), get(delta, "name"), get(delta, "id"))
    status = get(of_event(event), "status")
    if status not in UNFINISHED:
        pieces.finish(0, status)

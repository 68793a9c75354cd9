"""Output messages of the GenAI schemas, and how those of a stream are put together from its pieces."""

from __future__ import annotations

from typing import Any, Final

from ..content import conversation as parts
from ..content.conversation import Message, Part

#: Finish reasons of the APIs -> those that the schema names.
_FINISH: Final = {
    "tool_calls": "tool_call", "function_call": "tool_call", "tool_use": "tool_call",
    "end_turn": "stop", "stop_sequence": "stop", "completed": "stop", "pause_turn": "stop", "eos": "stop",
    "max_tokens": "length", "incomplete": "length", "model_context_window_exceeded": "length",
    "safety": "content_filter", "refusal": "content_filter", "recitation": "content_filter",
    "prohibited_content": "content_filter", "blocklist": "content_filter",
    "failed": "error", "cancelled": "error", "requires_action": "tool_call", "budget_exceeded": "length",
}  # fmt: skip
#: The answer ended before the model said why.
_UNFINISHED: Final = "unknown"


def message(found: list[Part], finish: Any) -> Message:
    """An output message with the parts ``found``; ``finish`` is the API's reason, or ``None`` where it said none."""
    reason = str(getattr(finish, "value", finish) or _UNFINISHED).lower()
    return {"role": "assistant", "parts": found, "finish_reason": _FINISH.get(reason, reason)}


class _Block:
    """One block of an answer while its pieces come in."""

    __slots__ = ("call_id", "kind", "name", "pieces")

    def __init__(self, kind: str, name: Any, call_id: Any) -> None:
        self.kind, self.name, self.call_id = kind, name, call_id
        self.pieces: list[str] = []

    def part(self) -> Part:
        said = "".join(self.pieces)
        if self.kind == "tool_call":
            return parts.tool_call(self.name, said, self.call_id)
        return (parts.reasoning if self.kind == "reasoning" else parts.text)(said)


class Pieces:
    """Puts the pieces of a streamed answer together: blocks by place, within choices by place."""

    def __init__(self) -> None:
        self._choices: dict[Any, list[_Block]] = {}
        self._at: dict[tuple[Any, Any], _Block] = {}
        self._finish: dict[Any, Any] = {}
        self._whole: list[Message] | None = None

    def add(self, choice: Any, place: Any, kind: str, piece: Any = "", name: Any = None, call_id: Any = None) -> None:
        """One piece of one block. A call with a name and an id of its own is another one: some APIs number all of them 0."""
        block = self._at.get((choice, place))
        if block is None or (name and call_id and block.call_id not in (None, call_id)):
            block = self._at[choice, place] = _Block(kind, name, call_id)
            self._choices.setdefault(choice, []).append(block)
        block.name, block.call_id = block.name or name, block.call_id or call_id
        if piece:
            block.pieces.append(str(piece))

    def new_place(self) -> int:
        """A place that no block has."""
        return sum(map(len, self._choices.values()))

    def finish(self, choice: Any, reason: Any) -> None:
        """Why a choice ended."""
        if reason:
            self._choices.setdefault(choice, [])
            self._finish[choice] = reason

    def replace(self, whole: list[Message]) -> None:
        """The API has repeated the whole answer at its end."""
        self._whole = whole

    def messages(self) -> list[Message]:
        """The answer as far as it came."""
        if self._whole:
            return self._whole
        return [
            message([block.part() for block in blocks if block.pieces or block.name], self._finish.get(choice))
            for choice, blocks in self._choices.items()
        ]

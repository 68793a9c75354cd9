"""Which attributes hold content: what was said to a model, what it said, and texts that may quote either."""

from __future__ import annotations

from typing import Final

from . import gen_ai
from .vocabulary import Fact

_TYPE: Final = "JSON, or the same as a structured value"

#: Documents of one conversation: on the span as JSON text, on the event as structured values.
CONTENT: Final = (
    Fact("system_instructions", gen_ai.SYSTEM_INSTRUCTIONS, _TYPE, "Instructions that the API takes apart from the messages."),
    Fact("input_messages", gen_ai.INPUT_MESSAGES, _TYPE, "What the model was given, in order."),
    Fact("output_messages", gen_ai.OUTPUT_MESSAGES, _TYPE, "What it answered, one message for each choice."),
    Fact("tool_definitions", gen_ai.TOOL_DEFINITIONS, _TYPE, "Tools that the model was offered."),
)  # fmt: skip

_NAMES: Final = frozenset({
    "exception.message", "exception.stacktrace",
    "input.value", "output.value",
    "llm.prompts", "llm.completions", "llm.prompt_template.template", "llm.prompt_template.variables",
    "llm.function_call", "tool.description", "tool.parameters",
})  # fmt: skip
_PREFIXES: Final = (
    # GenAI conventions, and their older names that other instrumentations still use.
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.tool.description",
    "gen_ai.prompt.", "gen_ai.completion.", "gen_ai.request.instructions", "gen_ai.event.content",
    "gen_ai.retrieval.query", "gen_ai.retrieval.documents", "gen_ai.content.",
    # OpenInference.
    "llm.input_messages.", "llm.output_messages.", "llm.tools.", "embedding.embeddings.", "reranker.query",
    "reranker.input_documents.", "reranker.output_documents.", "retrieval.documents.",
    # Traceloop.
    "traceloop.entity.input", "traceloop.entity.output", "llm.request.functions.",
)  # fmt: skip


def is_content(attribute: str) -> bool:
    """Whether an attribute of this name holds content."""
    return attribute in _NAMES or attribute.startswith(_PREFIXES)

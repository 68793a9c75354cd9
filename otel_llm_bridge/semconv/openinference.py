"""OpenInference's names for the same facts, for back ends that know them natively (Phoenix and others).

Source: openinference-semantic-conventions 0.1.42, ``SpanAttributes`` and the classes beside it.
"""

from __future__ import annotations

from typing import Final

from . import gen_ai

SPAN_KIND: Final = "openinference.span.kind"
LLM, EMBEDDING, RERANKER, GUARDRAIL, AGENT, CHAIN = "LLM", "EMBEDDING", "RERANKER", "GUARDRAIL", "AGENT", "CHAIN"

#: Operation -> kind of span; every other operation is a model's work as well.
KINDS: Final = {gen_ai.EMBEDDINGS: EMBEDDING, gen_ai.RERANK: RERANKER, gen_ai.MODERATION: GUARDRAIL, gen_ai.INVOKE_AGENT: AGENT}

#: Fact -> attribute: who a call is for, on every span.
WHO: Final = {"end_user": "user.id", "conversation_id": "session.id", "tags": "tag.tags"}
#: Fact -> attribute: of the LLM span.
FACTS: Final = {
    "provider": "llm.provider",
    "input_tokens": "llm.token_count.prompt",
    "output_tokens": "llm.token_count.completion",
    "cache_read_tokens": "llm.token_count.prompt_details.cache_read",
    "cache_write_tokens": "llm.token_count.prompt_details.cache_write",
    "reasoning_tokens": "llm.token_count.completion_details.reasoning",
    "cost": "llm.cost.total",
    **WHO,
}
TOKENS_TOTAL: Final = "llm.token_count.total"
FINISH_REASON: Final = "llm.finish_reason"
METADATA: Final = "metadata"

#: Kind of span -> attribute of the model's name.
MODEL_NAMES: Final = {
    LLM: "llm.model_name",
    EMBEDDING: "embedding.model_name",
    RERANKER: "reranker.model_name",
    GUARDRAIL: "llm.model_name",
}
#: Kind of span -> attribute of the request's parameters, as JSON.
INVOCATION_PARAMETERS: Final = {
    LLM: "llm.invocation_parameters",
    EMBEDDING: "embedding.invocation_parameters",
}
#: Facts that are parameters, by the names that APIs give them.
PARAMETERS: Final = {
    "max_tokens": "max_tokens", "choice_count": "n", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
    "stop_sequences": "stop", "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
    "seed": "seed", "stream": "stream", "reasoning_level": "reasoning_effort", "encoding_formats": "encoding_format",
    "dimensions": "dimensions", "output_type": "output_type",
}  # fmt: skip
#: Well-known provider -> OpenInference's word for it; every other name goes out as it is.
PROVIDERS: Final = {
    "mistral_ai": "mistralai", "gcp.vertex_ai": "google", "gcp.gemini": "google", "aws.bedrock": "aws",
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "x_ai": "xai", "moonshot_ai": "moonshot",
    "together_ai": "together",
}  # fmt: skip

# Content.
INPUT_VALUE, INPUT_MIME_TYPE = "input.value", "input.mime_type"
OUTPUT_VALUE, OUTPUT_MIME_TYPE = "output.value", "output.mime_type"
JSON: Final = "application/json"
INPUT_MESSAGES, OUTPUT_MESSAGES = "llm.input_messages", "llm.output_messages"
TOOLS, TOOL_SCHEMA = "llm.tools", "tool.json_schema"
EMBEDDINGS, EMBEDDING_TEXT = "embedding.embeddings", "embedding.text"
MESSAGE_ROLE, MESSAGE_NAME, MESSAGE_CONTENT = "message.role", "message.name", "message.content"
MESSAGE_CONTENTS, MESSAGE_TOOL_CALLS, MESSAGE_TOOL_CALL_ID = "message.contents", "message.tool_calls", "message.tool_call_id"
CONTENT_TYPE, CONTENT_TEXT = "message_content.type", "message_content.text"
CONTENT_IMAGE, IMAGE_URL = "message_content.image", "image.url"
TOOL_CALL_ID, TOOL_CALL_NAME, TOOL_CALL_ARGUMENTS = (
    "tool_call.id", "tool_call.function.name", "tool_call.function.arguments",
)  # fmt: skip

"""The table of LiteLLM's call families, and what is left out on purpose.

A new family is one row. ``targets`` are all wrapped where they exist: the public name and the function
under it are different objects since LiteLLM 1.106, and LiteLLM's own callers use the inner one. A call
that reaches several of them is one call: see `calls.begin`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..patching import Target
from ..semconv import gen_ai


class Family(NamedTuple):
    """One family of calls.

    Attributes:
        operation: value of ``gen_ai.operation.name``.
        targets: ``module:path`` of each function, separated by blanks.
        reader: how the response is read, a name in `reading.RESPONSES`.
        chunks: how the chunks of a stream are read, a name in `chunks.READERS`.
        delegates: LiteLLM may answer it by another family's call, with a record of its own; that call is
            a part of this one.
        streams: every call streams, without an argument that says so.
    """

    operation: str
    targets: str
    reader: str = "chat"
    chunks: str = "chat"
    delegates: bool = False
    streams: bool = False


_MESSAGES = "litellm.llms.anthropic"

FAMILIES: Final = (
    Family(gen_ai.CHAT, "litellm:completion litellm:acompletion litellm.main:completion litellm.main:acompletion"),
    Family(gen_ai.TEXT_COMPLETION, "litellm:text_completion litellm:atext_completion", delegates=True),
    Family(
        gen_ai.EMBEDDINGS,
        "litellm:embedding litellm:aembedding litellm.main:embedding litellm.main:aembedding",
        reader="embedding",
    ),
    Family(
        gen_ai.CHAT,
        "litellm:responses litellm:aresponses litellm.responses.main:responses litellm.responses.main:aresponses",
        reader="responses",
        chunks="responses",
        delegates=True,
    ),
    Family(
        gen_ai.CHAT,
        "litellm:anthropic_messages litellm.messages.dispatch:anthropic_messages "
        f"{_MESSAGES}.experimental_pass_through.messages.handler:anthropic_messages "
        f"{_MESSAGES}.pass_through.messages.handler:anthropic_messages "
        f"{_MESSAGES}.experimental_pass_through.messages.handler:anthropic_messages_handler "
        f"{_MESSAGES}.pass_through.messages.handler:anthropic_messages_handler",
        reader="messages",
        chunks="messages",
        delegates=True,
    ),
    Family(
        gen_ai.GENERATE_CONTENT,
        "litellm.google_genai:generate_content litellm.google_genai:agenerate_content",
        reader="generate_content",
        delegates=True,
    ),
    Family(
        gen_ai.GENERATE_CONTENT,
        "litellm.google_genai:generate_content_stream litellm.google_genai:agenerate_content_stream",
        chunks="generate_content",
        delegates=True,
        streams=True,
    ),
    Family(gen_ai.IMAGE_GENERATION, "litellm:image_generation litellm:aimage_generation", reader="image", delegates=True),
    Family(
        gen_ai.IMAGE_EDIT,
        "litellm:image_edit litellm:aimage_edit litellm:image_variation litellm:aimage_variation",
        reader="image",
        delegates=True,
    ),
    Family(gen_ai.TRANSCRIPTION, "litellm:transcription litellm:atranscription", reader="plain"),
    Family(gen_ai.SPEECH, "litellm:speech litellm:aspeech", reader="plain", delegates=True),
    Family(gen_ai.RERANK, "litellm:rerank litellm:arerank", reader="rerank"),
    Family(gen_ai.MODERATION, "litellm:moderation litellm:amoderation", reader="plain"),
    Family(gen_ai.OCR, "litellm:ocr litellm:aocr", reader="plain"),
)

#: The functions under the wrappers that LiteLLM itself repeats: one attempt each time they run.
REPEATED: Final = ("acompletion", "completion", "responses", "aresponses")


def targets(family: Family) -> list[Target]:
    """The row's targets."""
    return [Target(*name.split(":")) for name in family.targets.split()]


#: Public functions of ``litellm`` that make a request and get no inference span, each group with its reason.
#: A name that is in neither table fails the drift test.
EXCLUDED: Final = {
    "another call of the table does the work": (
        "acompletion_with_retries completion_with_retries aresponses_with_retries responses_with_retries "
        "batch_completion batch_completion_models batch_completion_models_all_responses abatch_completion "
        "completion_with_fallbacks acompletion_with_fallbacks async_completion_with_fallbacks "
        "adapter_completion aadapter_completion adapter_generate_content aadapter_generate_content"
    ),
    "health checks are silent": "ahealth_check health_check ahealth_check_wildcard_models",
}

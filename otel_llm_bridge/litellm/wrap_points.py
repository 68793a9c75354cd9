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
        headers: the argument whose headers go out with the request, and with nothing else of it; empty where
            LiteLLM sends none, or puts them into the body.
    """

    operation: str
    targets: str
    reader: str = "chat"
    chunks: str = "chat"
    delegates: bool = False
    streams: bool = False
    headers: str = "extra_headers"


#: The newest name first, see `Target`.
_MESSAGES: Final = "|".join(
    f"litellm.llms.anthropic.{package}.handler" for package in ("messages.native", "pass_through.messages", "experimental_pass_through.messages")
)

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
        f"{_MESSAGES}:anthropic_messages {_MESSAGES}:anthropic_messages_handler",
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
    Family(
        gen_ai.GENERATE_CONTENT,
        "litellm.interactions:create litellm.interactions:acreate",
        reader="interactions",
        chunks="interactions",
        delegates=True,
    ),
    Family(gen_ai.IMAGE_GENERATION, "litellm:image_generation litellm:aimage_generation", reader="image", delegates=True, headers="headers"),
    Family(
        gen_ai.IMAGE_EDIT,
        "litellm:image_edit litellm:aimage_edit litellm:image_variation litellm:aimage_variation",
        reader="image",
        delegates=True,
    ),
    Family(gen_ai.TRANSCRIPTION, "litellm:transcription litellm:atranscription", reader="plain", headers=""),
    Family(gen_ai.SPEECH, "litellm:speech litellm:aspeech", reader="plain", delegates=True, headers=""),
    Family(gen_ai.RERANK, "litellm:rerank litellm:arerank", reader="rerank", headers="headers"),
    Family(gen_ai.MODERATION, "litellm:moderation litellm:amoderation", reader="plain", headers=""),
    Family(gen_ai.OCR, "litellm:ocr litellm:aocr", reader="plain"),
    Family(gen_ai.EXTRACTION, "litellm:extraction litellm:aextraction", reader="plain"),
)

#: The functions under the wrappers that LiteLLM itself repeats: one attempt each time they run.
REPEATED: Final = ("acompletion", "completion", "responses", "aresponses")


def targets(family: Family) -> list[Target]:
    """The row's targets."""
    return [Target(*name.split(":")) for name in family.targets.split()]


#: Public functions of ``litellm`` that make a request and get no inference span: reason -> names, with the module below
#: ``litellm`` where there is one. The async form of a name, with a leading ``a``, is left out with it. A function of any
#: public module that is nowhere fails the drift test.
EXCLUDED: Final = {
    "another call of the table does the work": (
        "completion_with_retries responses_with_retries batch_completion batch_completion_models "
        "batch_completion_models_all_responses completion_with_fallbacks adapter_completion adapter_generate_content"
    ),
    "health checks are silent": "health_check health_check_wildcard_models",
    "manages things at the provider, infers nothing": (
        "cancel_batch create_batch list_batches retrieve_batch create_file file_content file_delete file_list file_retrieve "
        "cancel_fine_tuning_job create_fine_tuning_job list_fine_tuning_jobs retrieve_fine_tuning_job "
        "cancel_responses delete_responses get_responses list_input_items "
        "create_container delete_container list_containers retrieve_container delete_container_file list_container_files "
        "retrieve_container_file retrieve_container_file_content upload_container_file "
        "create_skill delete_skill get_skill list_skills create_agent delete_agent get_agent list_agent_versions list_agents "
        "create_eval delete_eval get_eval list_evals cancel_eval create_run delete_run get_run list_runs cancel_run "
        "create_sandbox delete_sandbox create_realtime_client_secret create_realtime_transcription_session "
        "video_content video_get_character video_list video_status get_interaction delete_interaction cancel_interaction "
        "interactions.get interactions.delete interactions.cancel evals.update_eval"
    ),
    "stores and searches documents; the conventions' retrieval span is not built yet": (
        "ingest query search vector_store_create vector_store_delete vector_store_list vector_store_retrieve "
        "vector_store_search vector_store_update vector_store_file_content vector_store_file_create vector_store_file_delete "
        "vector_store_file_list vector_store_file_retrieve vector_store_file_update "
        "vector_stores.create vector_stores.search vector_stores.main.retrieve vector_stores.main.list vector_stores.main.update "
        "vector_stores.main.delete"
    ),
    "agents and assistants: the conventions have other spans for them, not built yet": (
        "create_assistants delete_assistant get_assistants create_thread get_thread get_messages run_thread a_add_message "
        "compact_responses decisions systemone code_interpreter_tool run_code "
        "a2a_protocol.send_message"
    ),
    "videos are jobs: asked for now, made later": (
        "video_create_character video_edit video_extension video_generation video_remix"
    ),
    "a connection that stays open, or bytes passed through: not a call with an answer": (
        "_arealtime _aresponses_websocket realtime_calls llm_passthrough_route"
    ),
}

#: Async methods of a Router that are no request of their own, besides those named above.
ROUTER_EXCLUDED: Final = {
    "each request in it is a call of the table": (
        "abatch_completion abatch_completion_fastest_response abatch_completion_one_model_multiple_requests "
        "schedule_acompletion aanthropic_messages aadapter_completion create_interaction acreate_interaction call"
    ),
    "runs a guardrail, not a model": "aguardrail",
    "the Router's own machinery": (
        "arefresh_model_info async_callback_filter_deployments async_deployment_callback_on_failure "
        "async_function_with_fallbacks async_function_with_fallbacks_common_utils async_function_with_retries "
        "async_get_available_deployment async_get_available_deployment_for_pass_through "
        "async_get_fully_unhealthy_model_names async_get_healthy_deployments async_pre_routing_hook "
        "async_routing_strategy_pre_call_checks deployment_callback_on_success get_model_group_io_token_usage "
        "get_model_group_usage get_remaining_model_group_usage increment_deployment_usage_for_response make_call "
        "set_response_headers select aapply async_admit_deployment_turn"
    ),
}

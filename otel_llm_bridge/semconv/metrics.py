"""The metrics that we emit: one table, from which the instruments are made and the manual's page is written.

Two generations of names exist. ``released``: those of the released Python packages
(opentelemetry-util-genai 1.3). ``latest``: those of the conventions' main branch of 2026-10-09, which
has taken the token histogram apart and renamed the rest. What neither has is ours, under ``litellm.``.

Source: open-telemetry/semantic-conventions-genai, model/gen-ai/metrics.yaml (2026-08-15) and
model/gen-ai/token-metrics.yaml (2026-10-09).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import gen_ai, litellm

#: Boundaries that the conventions advise, in seconds and in tokens.
SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = tuple(4**power for power in range(14))

#: What takes the place of a name once a metric has as many series as it may have.
OTHER: Final = "other"

TOKEN_TYPE: Final = "gen_ai.token.type"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
INPUT: Final = "input"
OUTPUT: Final = "output"
TEXT: Final = "text"
IMAGE: Final = "image"
AUDIO: Final = "audio"
UNKNOWN: Final = "unknown"

#: Why a callback was not run.
DROP_REASON: Final = "litellm.callback.drop_reason"

RELEASED: Final = "released"
LATEST: Final = "latest"
OURS: Final = "ours"
#: Value of the setting ``metrics`` -> the generations that it stands for, the first of two rows of one name.
GENERATIONS: Final = {
    RELEASED: (RELEASED, OURS),
    LATEST: (LATEST, OURS),
    "both": (RELEASED, LATEST, OURS),
    "none": (),
}


class Label(NamedTuple):
    """One label: its attribute, the fact (or the attribute of the event) that it is read from.

    ``is_name``: its values are names that users choose; they become `OTHER` when there are too many.
    """

    attribute: str
    fact: str
    is_name: bool = False


class Instrument(NamedTuple):
    """One row of the table.

    Attributes:
        name: of the metric.
        kind: ``histogram``, ``counter`` or ``observable_counter``.
        unit: by UCUM.
        generation: a value of `GENERATIONS`.
        at: when it is measured: `LLM_SPAN`, `ATTEMPT`, `CALL`, `COLLECTED` or the name of a lifecycle event.
        measure: what is measured, a name in `otel_llm_bridge.measures.MEASURES`.
        labels: all there ever are.
        meaning: one line for the reader of the manual.
        buckets: advised boundaries of a histogram.
        operations: only for these; empty: for all.
        but_operations: not for these.
    """

    name: str
    kind: str
    unit: str
    generation: str
    at: str
    measure: str
    labels: tuple[Label, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    operations: frozenset[str] = frozenset()
    but_operations: frozenset[str] = frozenset()


#: The end of an upstream attempt that is our LLM span: below another instrumentation's, that one records the metrics of the conventions.
LLM_SPAN: Final = "LLM span"
#: The end of any upstream attempt, the end of a logical call, the moment when metrics are collected.
ATTEMPT: Final = "attempt"
CALL: Final = "call"
COLLECTED: Final = "collected"

_CALL: Final = (
    Label(gen_ai.OPERATION_NAME, "operation"),
    Label(gen_ai.PROVIDER_NAME, "provider"),
    Label(gen_ai.REQUEST_MODEL, "model", True),
    Label(gen_ai.RESPONSE_MODEL, "response_model", True),
)
_ERROR: Final = Label(gen_ai.ERROR_TYPE, "error_type")
_ERROR_OF_EVENT: Final = Label(gen_ai.ERROR_TYPE, gen_ai.ERROR_TYPE)
_GROUP: Final = Label(litellm.MODEL_GROUP, "model_group", True)
_DEPLOYMENT: Final = Label(litellm.DEPLOYMENT_ID, "deployment_id", True)
_CALLBACK: Final = Label(litellm.CALLBACK_NAME, "callback", True)
_MODALITY: Final = (*_CALL, Label(TOKEN_MODALITY, "modality"))

_INFERENCE: Final = frozenset({gen_ai.CHAT, gen_ai.TEXT_COMPLETION, gen_ai.GENERATE_CONTENT})

# The table is to be read as one.
# fmt: off
TABLE: Final = (
    Instrument("gen_ai.client.operation.duration", "histogram", "s", RELEASED, LLM_SPAN, "duration", (*_CALL, _ERROR), "How long one upstream attempt took, the failed ones too.", SECONDS),
    Instrument("gen_ai.client.token.usage", "histogram", "{token}", RELEASED, LLM_SPAN, "tokens by type", (*_CALL, Label(TOKEN_TYPE, "token_type")), "Tokens of one attempt, as the provider reported them.", TOKENS),
    Instrument("gen_ai.client.operation.time_to_first_chunk", "histogram", "s", RELEASED, LLM_SPAN, "first chunk", _CALL, "From the call to the first chunk of its stream.", SECONDS),
    Instrument("gen_ai.client.operation.time_per_output_chunk", "histogram", "s", RELEASED, LLM_SPAN, "chunk gaps", _CALL, "From one chunk of a stream to the next.", SECONDS),

    Instrument("gen_ai.client.inference.duration", "histogram", "s", LATEST, LLM_SPAN, "duration", (*_CALL, _ERROR), "How long one upstream attempt took, the failed ones too.", SECONDS, _INFERENCE),
    Instrument("gen_ai.client.operation.duration", "histogram", "s", LATEST, LLM_SPAN, "duration", (*_CALL, _ERROR), "The same for operations that are no inference, such as embeddings.", SECONDS, but_operations=_INFERENCE),
    Instrument("gen_ai.client.inference.time_to_first_chunk", "histogram", "s", LATEST, LLM_SPAN, "first chunk", _CALL, "From the call to the first chunk of its stream.", SECONDS, _INFERENCE),
    Instrument("gen_ai.client.inference.time_per_output_chunk", "histogram", "s", LATEST, LLM_SPAN, "chunk gaps", _CALL, "From one chunk of a stream to the next.", SECONDS, _INFERENCE),
    Instrument("gen_ai.client.inference.usage.input_tokens", "counter", "{token}", LATEST, LLM_SPAN, "input by modality", _MODALITY, "Tokens read, cached ones included; 0 when the provider reported none.", (), _INFERENCE),
    Instrument("gen_ai.client.inference.usage.output_tokens", "counter", "{token}", LATEST, LLM_SPAN, "output by modality", _MODALITY, "Tokens written, reasoning included; 0 when the provider reported none.", (), _INFERENCE),
    Instrument("gen_ai.client.inference.usage.cache_read.input_tokens", "counter", "{token}", LATEST, LLM_SPAN, "cache_read_tokens", _MODALITY, "Part of the input that came from the provider's cache.", (), _INFERENCE),
    Instrument("gen_ai.client.inference.usage.cache_write.input_tokens", "counter", "{token}", LATEST, LLM_SPAN, "cache_write_tokens", _MODALITY, "Part of the input that was written to it.", (), _INFERENCE),
    Instrument("gen_ai.client.inference.usage.reasoning.output_tokens", "counter", "{token}", LATEST, LLM_SPAN, "reasoning_tokens", _MODALITY, "Part of the output that was reasoning.", (), _INFERENCE),
    Instrument("gen_ai.client.inference.operation.input_tokens", "histogram", "{token}", LATEST, LLM_SPAN, "input_tokens", (*_CALL, _ERROR), "Tokens that one attempt read; 0 when the provider reported none.", TOKENS, _INFERENCE),
    Instrument("gen_ai.client.inference.operation.output_tokens", "histogram", "{token}", LATEST, LLM_SPAN, "output_tokens", (*_CALL, _ERROR), "Tokens that one attempt wrote; 0 when the provider reported none.", TOKENS, _INFERENCE),

    Instrument("litellm.client.operation.cost", "counter", "{USD}", OURS, ATTEMPT, "cost", _CALL, "What the attempts cost by LiteLLM's figures; nothing is added for one whose price is unknown."),
    Instrument("litellm.client.cache.hits", "counter", "{hit}", OURS, ATTEMPT, "cache hits", _CALL, "Calls that LiteLLM's cache answered; they are in none of the metrics of the conventions, for no provider was called."),
    Instrument("litellm.client.cache.saved_cost", "counter", "{USD}", OURS, ATTEMPT, "saved", _CALL, "What those calls would have cost."),
    Instrument("litellm.router.duration", "histogram", "s", OURS, CALL, "duration", (_GROUP, _ERROR), "How long the caller waited for a logical call, with all its attempts.", SECONDS),
    Instrument("litellm.router.attempts", "counter", "{attempt}", OURS, ATTEMPT, "attempts", (_GROUP, _DEPLOYMENT, _ERROR), "Upstream attempts of logical calls, by the group and the deployment that was tried."),
    Instrument("litellm.router.retries", "counter", "{retry}", OURS, litellm.EVENT_RETRY, "one", (_GROUP, _ERROR_OF_EVENT), "Attempts that repeat one that failed, by the error that it failed with."),
    Instrument("litellm.router.fallbacks", "counter", "{fallback}", OURS, litellm.EVENT_FALLBACK, "one", (Label(litellm.EVENT_FALLBACK_FROM, litellm.EVENT_FALLBACK_FROM, True), Label(litellm.EVENT_FALLBACK_TO, litellm.EVENT_FALLBACK_TO, True), _ERROR_OF_EVENT), "Times that another model group took over."),
    Instrument("litellm.router.cooldowns", "counter", "{cooldown}", OURS, litellm.EVENT_COOLDOWN, "one", (Label(litellm.DEPLOYMENT_ID, litellm.DEPLOYMENT_ID, True),), "Times that a deployment was put into cooldown."),
    Instrument("litellm.callback.runs", "observable_counter", "{run}", OURS, COLLECTED, "callbacks run", (_CALLBACK,), "Runs of a callback that have come to an end, well or badly."),
    Instrument("litellm.callback.failures", "observable_counter", "{run}", OURS, COLLECTED, "callbacks failed", (_CALLBACK, _ERROR), "Of those: runs that raised (`failed`) or took too long (`timed_out`)."),
    Instrument("litellm.callback.drops", "observable_counter", "{run}", OURS, COLLECTED, "callbacks dropped", (_CALLBACK, Label(DROP_REASON, "reason")), "Runs that did not take place, and why."),
)
# fmt: on


def chosen(setting: str) -> list[Instrument]:
    """The rows for a value of the setting ``metrics``; of two rows of one name, only the first."""
    wanted = GENERATIONS[setting]
    rows: dict[str, Instrument] = {}
    for row in TABLE:
        if row.generation in wanted:
            rows.setdefault(row.name, row)
    return list(rows.values())

"""Other instrumentations around the same call: exactly one of them may say that a model was called.

Three policies, the option ``neighbours``:

* ``suppress``: ours is the LLM span. Instrumentations of LiteLLM and, within an attempt, of the providers'
  clients make none; spans of HTTP clients stay. Where the caller's own span is an LLM span already (that of
  a framework, which cannot be unmade), ours is an INTERNAL span with our own attributes only.
* ``nest``: everybody makes their spans; they nest.
* ``defer``: where another instrumentation makes the LLM span, we make none. LiteLLM's own callback is no
  such instrumentation: what it makes comes after the call, and not at all when the process ends before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace

from .contexts import SPAN, current_context
from .guard import guarded, logger
from .importing import when_imported
from .invocation import current
from .logical import LogicalCall
from .patching import Target, Undo, apply, restore
from .providers import SCOPE
from .semconv import gen_ai, openinference
from .suppression import is_suppressed

if TYPE_CHECKING:
    from .patching import Wrapper

SUPPRESS, NEST, DEFER = "suppress", "nest", "defer"

#: Scopes of instrumentations of LiteLLM itself: all of their spans are LLM spans.
_OF_LITELLM: Final = frozenset({
    "openinference.instrumentation.litellm", "opentelemetry.instrumentation.litellm",
    "openlit.instrumentation.litellm", "openlit.instrumentation.litellm.litellm",
})  # fmt: skip

#: Not botocore: its spans are those of requests to AWS, as an HTTP client's are.
_CLIENTS: Final = (
    "openai", "openai_v2", "openai_agents", "anthropic", "bedrock", "cohere", "google_genai", "google_generativeai",
    "groq", "mistralai", "mistral", "ollama", "replicate", "sagemaker", "together", "vertexai", "watsonx", "ai21",
    "azure_ai_inference", "huggingface", "premai", "vllm",
)  # fmt: skip
#: Scopes of instrumentations of the clients that LiteLLM calls; a scope may go on after a dot.
_OF_CLIENTS: Final = frozenset(
    prefix + client
    for prefix in (
        "openinference.instrumentation.", "opentelemetry.instrumentation.", "opentelemetry.instrumentation.genai.",
        "openlit.instrumentation.",
    )
    for client in _CLIENTS
)  # fmt: skip
#: The official GenAI instrumentations all make their spans through these utilities.
_UTILITIES: Final = "opentelemetry.util.genai"

#: Packages after whose import there may be such spans. Nothing is patched before.
_PACKAGES: Final = (
    "openinference.instrumentation", "opentelemetry.instrumentation.openai_v2", "opentelemetry.semconv_ai",
    "opentelemetry.util.genai", "openlit",
)  # fmt: skip

_CHATS: Final = frozenset({gen_ai.CHAT, gen_ai.TEXT_COMPLETION})
_CHAT_AND_EMBEDDINGS: Final = frozenset({gen_ai.CHAT, gen_ai.EMBEDDINGS})
#: Instrumentors that ``defer`` leaves the span to: module, class, operations, whether they instrument OpenAI's
#: client (which LiteLLM's calls to OpenAI, Azure and the compatible providers go through) or LiteLLM itself.
_INSTRUMENTORS: Final = (
    ("openinference.instrumentation.litellm", "LiteLLMInstrumentor", _CHAT_AND_EMBEDDINGS | {gen_ai.IMAGE_GENERATION}, False),
    ("opentelemetry.instrumentation.litellm", "LiteLLMInstrumentor", _CHAT_AND_EMBEDDINGS, False),
    ("openlit.instrumentation.litellm", "LiteLLMInstrumentor", _CHAT_AND_EMBEDDINGS, False),
    ("openinference.instrumentation.openai", "OpenAIInstrumentor", _CHATS | {gen_ai.EMBEDDINGS}, True),
    ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor", _CHAT_AND_EMBEDDINGS, True),
    ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor", frozenset({gen_ai.CHAT}), True),
    # Not of embeddings: LiteLLM asks for the raw response, and then it makes none.
    ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor", _CHATS, True),
)  # fmt: skip
_BY_OPENAI_CLIENT: Final = frozenset({"openai", "azure.ai.openai"})

#: Operations of a span that says that a model was called; an agent's or a tool's are others.
_INFERENCE: Final = frozenset({gen_ai.CHAT, gen_ai.TEXT_COMPLETION, gen_ai.GENERATE_CONTENT, gen_ai.EMBEDDINGS})

#: Context keys by which instrumentations tell each other to keep quiet.
_TRACELOOP_KEY: Final = "suppress_language_model_instrumentation"
_UTILITIES_KEY: Final = "opentelemetry.genai.client.inference.context"
_UTILITIES_KEYS: Final = frozenset({_UTILITIES_KEY, "opentelemetry.genai.inference_span", "opentelemetry.genai.inference_context"})

#: What we have set under the key of the utilities: finding it again says nothing of others.
_MINE: Final = context_api.create_key("otel_llm_bridge-utilities")

_NOTHING: Final[Mapping[str, Any]] = {}
_QUIET: Final[Mapping[str, Any]] = {_TRACELOOP_KEY: True}


class Neighbours:
    """The policy, while the bridge is on."""

    def __init__(self, policy: str = SUPPRESS) -> None:
        self.policy = policy
        self.active = True
        self.undos: list[Undo] = []
        if policy == SUPPRESS:
            for package in _PACKAGES:
                when_imported(package, self._patch)

    def close(self) -> None:
        """Let everybody speak again."""
        self.active = False
        undos, self.undos = self.undos, []
        restore(undos)

    def inside(self) -> Mapping[str, Any]:
        """What the Context of an attempt tells others, so that they keep quiet."""
        if self.policy != SUPPRESS:
            return _NOTHING
        utilities = sys.modules.get("opentelemetry.util.genai._inference_invocation")
        data = getattr(utilities, "InferenceData", None)
        if data is not None:
            with guarded("neighbours"):
                mine = data()
                return {**_QUIET, _UTILITIES_KEY: mine, _MINE: mine}
        return _QUIET

    def is_within_llm_span(self) -> bool:
        """Whether the caller's own span says already that a model is called."""
        if self.policy == NEST:
            return False
        context = current_context()
        mine = context.get(_MINE)
        if not _UTILITIES_KEYS.isdisjoint(context) and any(context.get(key) not in (None, mine) for key in _UTILITIES_KEYS):
            return True
        span: Any = context.get(SPAN)
        if span is None or not span.is_recording():
            return False
        scope = _scope(span)
        if scope in (SCOPE, ""):
            return False
        attributes = getattr(span, "attributes", None) or {}
        return (
            scope in _OF_LITELLM
            or attributes.get(openinference.SPAN_KIND) == openinference.LLM
            or attributes.get(gen_ai.OPERATION_NAME) in _INFERENCE
        )

    def will_be_seen_by_another(self, facts: dict[str, Any]) -> bool:
        """For ``defer``: whether an instrumentation of LiteLLM or of the provider's client makes the span."""
        for module, name, operations, of_client in _INSTRUMENTORS:
            if facts.get("operation") not in operations or (of_client and facts.get("provider") not in _BY_OPENAI_CLIENT):
                continue
            # Instrumentors are singletons; where there is no instance, none is made.
            instance = getattr(getattr(sys.modules.get(module), name, None), "_instance", None)
            if getattr(instance, "_is_instrumented_by_opentelemetry", False):
                return True
        return False

    def _patch(self) -> None:
        """Their spans are started by the SDK's tracer: the one place that all of them pass."""
        if not self.active or self.undos:
            return
        try:
            undo = apply(Target("opentelemetry.sdk.trace", "Tracer.start_span"), self._quiet)
        except (ImportError, AttributeError):
            logger.debug("no SDK: nobody makes spans")
            return
        if undo is not None:
            self.undos.append(undo)

    def _quiet(self, function: Callable[..., Any]) -> Wrapper:
        def start_span(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            # A method of a class: its object is the first argument.
            scope = _scope(args[0] if args else None)
            if scope != SCOPE and self._is_duplicate(scope):
                # Their code goes on with a span that records nothing; what it makes below stays in the tree.
                context = kwargs.get("context", args[2] if len(args) > 2 else None)
                return trace.NonRecordingSpan(trace.get_current_span(context).get_span_context())
            return wrapped(*args, **kwargs)

        return start_span

    def _is_duplicate(self, scope: str) -> bool:
        if scope in _OF_LITELLM:
            return not is_suppressed()
        if not _is_of_client(scope):
            return False
        found = current()
        return found is not None and not found.finished and not isinstance(found, LogicalCall)


def _scope(tracer_or_span: Any) -> str:
    """Name of the instrumentation scope. Tracers of the SDK keep it under a private name."""
    for attribute in ("instrumentation_scope", "_instrumentation_scope"):
        name = getattr(getattr(tracer_or_span, attribute, None), "name", None)
        if isinstance(name, str):
            return name
    return ""


def _is_of_client(scope: str) -> bool:
    if not scope.startswith(("openinference.", "opentelemetry.", "openlit.")):
        return False
    if scope.startswith(_UTILITIES):
        return True
    while scope:
        if scope in _OF_CLIENTS:
            return True
        scope = scope.rpartition(".")[0]
    return False

"""What is put together once LiteLLM is there: layers, metrics, callbacks, the end of the calls that are open.

Imported with LiteLLM, and not before: by `bridge`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from . import invocation, request, streams
from .content import ContentPolicy, completion_hook
from .export import lifetime
from .metrics import Recorder
from .semconv import litellm as names
from .semconv import metrics
from .telemetry import below_layer, inference_layer, router_layer

if TYPE_CHECKING:
    from .export.lifetime import Deadline
    from .patching import Undo
    from .providers import Providers
    from .settings import Settings

#: Names of our parts of the end of the process.
_OPEN_SPANS: Final = "otel_llm_bridge: open spans"
_COMPLETION_HOOK: Final = "otel_llm_bridge: completion hook"


def calls(settings: Settings, providers: Providers, policy: ContentPolicy) -> list[Undo]:
    """LiteLLM is loaded: wrap its functions and hooks; returns the way back."""
    from .litellm import install

    lifetime.at_end(lifetime.Stage.FINISH_SPANS, _OPEN_SPANS, _finish_open)
    lifetime.after_fork_in_child(invocation.disown_open)
    lifetime.after_fork_in_child(streams.after_fork)
    undos: list[Undo] = [functools.partial(lifetime.remove, name) for name in (_OPEN_SPANS, _COMPLETION_HOOK)]
    layers = {
        "inference": inference_layer(providers, settings, policy),
        "router": router_layer(providers, settings, policy),
        "below": below_layer(providers, settings),
    }
    for layer in layers.values():
        layer.at_end(request.inherit)
    undos += install(settings=settings, **layers)
    if settings.metrics != "none":
        # After LiteLLM's readers: they complete the facts at the end of a call.
        recorder = Recorder(providers, settings.metrics, settings.metrics_series_max)
        layers["inference"].at_end(recorder.of_attempts(metrics.LLM_SPAN, metrics.ATTEMPT))
        layers["below"].at_end(recorder.of_attempts(metrics.ATTEMPT))
        layers["router"].at_end(recorder.call)
        layers["router"].at_event(recorder.event, recorder.events)
    return undos


def proxy_requests(settings: Settings, providers: Providers, policy: ContentPolicy) -> list[Undo]:
    """The LiteLLM Proxy is loaded: wrap what serves its requests."""
    from .litellm import proxy

    return proxy.install(providers, settings, policy)


def content_policy(settings: Settings) -> ContentPolicy:
    """The policy that the options ask for. A completion hook that is made here is closed with the process."""
    policy = ContentPolicy.of(settings)
    hook = policy.hook
    if hook is not None and isinstance(settings.completion_hook, str):  # one that we have made, and nobody else closes
        lifetime.at_end(lifetime.Stage.SHUTDOWN, _COMPLETION_HOOK, lambda deadline: completion_hook.close(hook, deadline.remaining()))
    return policy


def _finish_open(deadline: Deadline) -> None:
    streams.settle_left_streams(min(1.0, deadline.remaining()))
    invocation.finish_open(names.OUTCOME_PROCESS_EXIT)

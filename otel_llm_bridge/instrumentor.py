"""`LiteLLMInstrumentor`: settings and providers become telemetry, patches and hooks; and the way back."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it declares itself untyped
from opentelemetry.trace import NoOpTracer

from . import callbacks, guard, invocation, request, streams
from .content import ContentPolicy, completion_hook
from .guard import guarded, logger
from .metrics import Recorder
from .patching import Patch, restore, when_imported
from .providers import Providers
from .semconv import litellm as names
from .settings import Settings
from .telemetry import below_layer, inference_layer, router_layer

if TYPE_CHECKING:
    from .export.lifetime import Deadline


#: Names of our parts of the end of the process.
_OPEN_SPANS: Final = "otel_llm_bridge: open spans"
_COMPLETION_HOOK: Final = "otel_llm_bridge: completion hook"


class LiteLLMInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Instruments LiteLLM: SDK, Router and Proxy.

    Found by ``opentelemetry-instrument`` through the ``opentelemetry_instrumentor`` entry point. LiteLLM is
    not imported: if it is loaded it is patched now, else right after its import.
    """

    settings: Settings | None = None
    providers: Providers | None = None
    _patches: list[Patch] | None = None
    _changing = threading.RLock()

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed for the instrumentation to be of any use."""
        return ("litellm >= 1.80",)

    def instrument(self, **kwargs: Any) -> None:
        """Instrument; the second call and those after it change nothing. Options as in `otel_llm_bridge.instrument`."""
        with self._changing:
            if not self.is_instrumented_by_opentelemetry:
                # LiteLLM may come later, or not at all; the base class would log an error.
                super().instrument(**{"skip_dep_check": True, **kwargs})

    def uninstrument(self, **kwargs: Any) -> None:
        """Take every patch off again. Without a call of `instrument` before, nothing happens."""
        with self._changing:
            if self.is_instrumented_by_opentelemetry:
                super().uninstrument(**kwargs)

    def _instrument(
        self, tracer_provider: Any = None, meter_provider: Any = None, logger_provider: Any = None, **options: Any
    ) -> None:
        known = {name: options[name] for name in options if name != "skip_dep_check"}
        known.pop("raise_exception_on_conflict", None)  # opentelemetry-instrument's own
        self.settings = settings = Settings.resolve(**known)
        guard.set_strict(settings.strict)
        if settings.disabled:
            logger.info("OTEL_LLM_BRIDGE_DISABLED is set: nothing is instrumented")
            return
        self.providers = Providers(settings, tracer_provider, meter_provider, logger_provider)
        patches: list[Patch] = []
        self._patches = patches
        self._take_part_in_the_end(settings)
        # When it is needed, for it imports what the user names; and once, for it may start an uploader.
        policy = functools.cache(lambda: _content_policy(settings))

        def patch() -> None:
            if self._patches is patches:  # not uninstrumented meanwhile
                with guarded("patching litellm"):
                    self._patch(patches, policy)

        def patch_proxy() -> None:
            if self._patches is patches:
                with guarded("patching the LiteLLM Proxy"):
                    self._patch_proxy(patches, policy)

        when_imported("litellm", patch)
        when_imported("litellm.proxy.proxy_server", patch_proxy)

    def _patch(self, patches: list[Patch], content_policy: Callable[[], ContentPolicy]) -> None:
        from .litellm import install

        assert self.providers is not None
        assert self.settings is not None
        providers, policy = self.providers, content_policy()
        layers = {
            "inference": inference_layer(providers, self.settings, policy),
            "router": router_layer(providers, self.settings, policy),
            "below": below_layer(providers, self.settings),
        }
        for layer in layers.values():
            layer.at_end(request.inherit)
        patches.extend(install(settings=self.settings, **layers))
        if self.settings.metrics != "none":
            # After LiteLLM's readers: they complete the facts at the end of a call.
            recorder = Recorder(providers, self.settings.metrics, self.settings.metrics_series_max)
            for layer in (layers["inference"], layers["router"]):
                layer.at_end(recorder.record)
                layer.at_event(recorder.event, recorder.events)

    def _patch_proxy(self, patches: list[Patch], content_policy: Callable[[], ContentPolicy]) -> None:
        from .litellm import proxy

        assert self.providers is not None
        assert self.settings is not None
        patches.extend(proxy.install(self.providers, self.settings, content_policy()))

    def _take_part_in_the_end(self, settings: Settings) -> None:
        from .export import lifetime

        lifetime.install(settings)
        callbacks.install(settings, lambda: self.providers.tracer if self.providers else NoOpTracer())
        lifetime.at_end(lifetime.Stage.FINISH_SPANS, _OPEN_SPANS, _finish_open)
        lifetime.after_fork_in_child(invocation.disown_open)
        lifetime.after_fork_in_child(streams.after_fork)

    def _uninstrument(self, **_kwargs: Any) -> None:
        from .export import lifetime

        patches, self._patches = self._patches, None
        if patches is not None:
            restore(patches)
            callbacks.uninstall()
        if self.providers is not None:
            for name in (_OPEN_SPANS, _COMPLETION_HOOK):
                lifetime.remove(name)
            if self.providers.pipeline is None:
                # A pipeline of our own outlives the patches: what has ended must still be delivered.
                lifetime.uninstall()
            self.providers = None


def _content_policy(settings: Settings) -> ContentPolicy:
    from .export import lifetime

    policy = ContentPolicy.of(settings)
    hook = policy.hook
    if hook is not None and isinstance(settings.completion_hook, str):  # one that we have made, and nobody else closes
        lifetime.at_end(lifetime.Stage.SHUTDOWN, _COMPLETION_HOOK, lambda deadline: completion_hook.close(hook, deadline.remaining()))
    return policy


def _finish_open(deadline: Deadline) -> None:
    streams.settle_left_streams(min(1.0, deadline.remaining()))
    invocation.finish_open(names.OUTCOME_PROCESS_EXIT)

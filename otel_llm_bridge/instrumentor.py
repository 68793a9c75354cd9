"""`LiteLLMInstrumentor`: settings and providers become telemetry, patches and hooks; and the way back."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it declares itself untyped

from . import guard
from .guard import guarded, logger
from .patching import Patch, Target, restore, when_imported
from .providers import Providers
from .settings import Settings

_CALLBACKS: Final = f"{__package__}.callbacks"


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
        self.providers = providers = Providers(settings, tracer_provider, meter_provider, logger_provider)
        patches: list[Patch] = []
        self._patches = patches
        from .export import lifetime

        lifetime.install(settings)

        def when(module: str, then: Callable[[], list[Patch]]) -> None:
            def run() -> None:
                if self._patches is patches:  # not uninstrumented meanwhile
                    with guarded(f"instrumenting {module}"):
                        patches.extend(then())

            when_imported(module, run)

        # All that belongs to a call is imported with LiteLLM: a program that makes no call does not wait for it.
        # The policy is made when it is needed, for it imports what the user names; and once, for it may start an uploader.
        policy = functools.cache(lambda: _wiring().content_policy(settings))
        when(_CALLBACKS, lambda: _take_callbacks(settings, providers))
        when("litellm", lambda: _wiring().calls(settings, providers, policy()))
        when("litellm.proxy.proxy_server", lambda: _wiring().proxy_requests(settings, providers, policy()))

    def _uninstrument(self, **_kwargs: Any) -> None:
        from .export import lifetime

        patches, self._patches = self._patches, None
        if patches is not None:
            restore(patches)
        if self.providers is not None:
            if self.providers.pipeline is None:
                # A pipeline of our own outlives the patches: what has ended must still be delivered.
                lifetime.uninstall()
            self.providers = None


def _take_callbacks(settings: Settings, providers: Providers) -> list[Patch]:
    """Somebody may register callbacks from now on: the user, or the wiring, which imports them too."""
    callbacks = sys.modules[_CALLBACKS]
    callbacks.install(settings, lambda: providers.tracer)
    return [Patch(Target(_CALLBACKS, "install"), callbacks.uninstall)]


def _wiring() -> Any:
    from . import wiring

    return wiring

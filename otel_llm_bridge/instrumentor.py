"""`LiteLLMInstrumentor`: the switch for ``opentelemetry-instrument``, and for who expects an instrumentor's methods."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it declares itself untyped

from .bridge import bridge

if TYPE_CHECKING:
    from .providers import Providers
    from .settings import Settings


class LiteLLMInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Instruments LiteLLM: SDK, Router and Proxy.

    Found by ``opentelemetry-instrument`` through the ``opentelemetry_instrumentor`` entry point. LiteLLM is
    not imported: if it is loaded it is patched now, else right after its import.
    """

    @property
    def settings(self) -> Settings | None:
        """The options it was instrumented with the last time."""
        return bridge.settings

    @property
    def providers(self) -> Providers | None:
        """Where the telemetry goes; ``None`` while nothing is instrumented."""
        return bridge.providers

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed for the instrumentation to be of any use."""
        return ("litellm >= 1.80",)

    def instrument(self, **kwargs: Any) -> None:
        """Instrument; the second call and those after it change nothing. Options as in `otel_llm_bridge.instrument`."""
        with bridge.changing:
            if not bridge.on:
                # LiteLLM may come later, or not at all; the base class would log an error.
                super().instrument(**{"skip_dep_check": True, **kwargs})

    def uninstrument(self, **kwargs: Any) -> None:
        """Take every patch off again. Without a call of `instrument` before, nothing happens."""
        with bridge.changing:
            if bridge.on:
                super().uninstrument(**kwargs)

    @property
    def _is_instrumented_by_opentelemetry(self) -> bool:
        """The base class's own note of it; the function `instrument` does not come by here."""
        return bridge.on

    @_is_instrumented_by_opentelemetry.setter
    def _is_instrumented_by_opentelemetry(self, _on: bool) -> None:
        """It is so already."""

    def _instrument(self, **options: Any) -> None:
        for name in ("skip_dep_check", "raise_exception_on_conflict"):
            options.pop(name, None)  # opentelemetry-instrument's own, which not every base class takes out
        bridge.instrument(**options)

    def _uninstrument(self, **_kwargs: Any) -> None:
        bridge.uninstrument()

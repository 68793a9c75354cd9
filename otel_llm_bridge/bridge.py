"""Switching on and off: settings and providers become telemetry, patches and hooks; and the way back.

A program that instruments pays for what is imported here, whether it comes to a call or not. So this module needs neither
OpenTelemetry nor wrapt; what does is imported with LiteLLM.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from . import guard
from .export import lifetime
from .guard import guarded, logger
from .importing import when_imported
from .locks import lock, rlock
from .settings import Settings

if TYPE_CHECKING:
    from .patching import Undo
    from .providers import Providers

_CALLBACKS: Final = f"{__package__}.callbacks"


class Bridge:
    """What is on or off; there is one in a process, `bridge`.

    `otel_llm_bridge.instrument` and `LiteLLMInstrumentor` are its two switches. LiteLLM is not imported: if it is loaded
    it is patched now, else right after its import.
    """

    def __init__(self) -> None:
        self.on = False
        #: Those it was switched on with the last time.
        self.settings: Settings | None = None
        #: The user's providers of traces, metrics and log records: what was an argument, else ``None``.
        self.given: tuple[Any, Any, Any] = (None, None, None)
        #: Held while it is switched; whoever asks and then switches holds it, too.
        self.changing = rlock()
        self._providers: Providers | None = None
        self._making = lock()
        #: The way back; ``None`` while it is off, or disabled.
        self._undos: list[Undo] | None = None

    def instrument(
        self, tracer_provider: Any = None, meter_provider: Any = None, logger_provider: Any = None, **options: Any
    ) -> None:
        """Switch on, with the arguments of `otel_llm_bridge.instrument`. While it is on, nothing happens."""
        with self.changing:
            if not self.on:
                self.settings = Settings.resolve(**options)
                self.given = (tracer_provider, meter_provider, logger_provider)
                self._switch_on(self.settings)
                self.on = True

    def uninstrument(self) -> None:
        """Take every patch off again. While it is off, nothing happens."""
        with self.changing:
            if self.on:
                self._switch_off()
                self.on = False

    @property
    def providers(self) -> Providers | None:
        """Where the telemetry goes; ``None`` while nothing is patched."""
        from .providers import Providers

        with self._making:
            if self._providers is None and self._undos is not None and self.settings is not None:
                self._providers = Providers(self.settings, *self.given)
            return self._providers

    def _switch_on(self, settings: Settings) -> None:
        guard.set_strict(settings.strict)
        if settings.disabled:
            logger.info("OTEL_LLM_BRIDGE_DISABLED is set: nothing is instrumented")
            return
        undos: list[Undo] = []
        self._undos = undos
        lifetime.install(settings)

        def when(module: str, then: Callable[[Providers], list[Undo]]) -> None:
            def run() -> None:
                with guarded(f"instrumenting {module}"):
                    providers = self.providers
                    if self._undos is undos and providers is not None:  # not uninstrumented meanwhile
                        undos.extend(then(providers))

            when_imported(module, run)

        # The policy is made when it is needed, for it imports what the user names; and once, for it may start an uploader.
        policy = functools.cache(lambda: _wiring().content_policy(settings))
        when(_CALLBACKS, lambda providers: _take_callbacks(settings, providers))
        when("litellm", lambda providers: _wiring().calls(settings, providers, policy()))
        when("litellm.proxy.proxy_server", lambda providers: _wiring().proxy_requests(settings, providers, policy()))

    def _switch_off(self) -> None:
        undos, self._undos = self._undos, None
        with self._making:
            providers, self._providers = self._providers, None
        if undos is None:
            return
        if undos:
            from .patching import restore  # loaded by whatever has patched: nothing is imported that late

            restore(undos)
        if providers is None or providers.pipeline is None:
            # A pipeline of our own outlives the patches: what has ended must still be delivered.
            lifetime.uninstall()


def _take_callbacks(settings: Settings, providers: Providers) -> list[Undo]:
    """Somebody may register callbacks from now on: the user, or the wiring, which imports them too."""
    callbacks = sys.modules[_CALLBACKS]
    callbacks.install(settings, lambda: providers.tracer)
    return [callbacks.uninstall]


def _wiring() -> Any:
    from . import wiring

    return wiring


bridge: Final = Bridge()

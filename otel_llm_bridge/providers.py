"""Which tracer, meter and logger the bridge uses: the user's, or, where there are none, its own pipeline's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import _logs, metrics, trace

from . import set_once
from .guard import guarded, logger
from .lazy import forget_made, made_once
from .locks import lock
from .semconv import gen_ai
from .versions import version_of

if TYPE_CHECKING:
    from .export.attached import Attached
    from .export.pipeline import Pipeline
    from .settings import Settings

#: Name of the instrumentation scope.
SCOPE: Final = "otel_llm_bridge"


class Providers:
    """Resolved at the first call that is recorded, not before, and once more when the program sets a global provider after that.

    A program may set its global provider after `instrument()`, and it must not be told then that there is
    one already. So the bridge looks when it needs one; if there is none by then, it builds its own
    pipeline from the standard ``OTEL_*`` variables. That stands in as the global one, so that the program's other
    spans are exported with the calls', until the program sets its own; what ours holds by then, it still delivers.

    Args:
        settings: for a pipeline of our own.
        tracer_provider, meter_provider, logger_provider: the user's, where given.
    """

    def __init__(
        self, settings: Settings, tracer_provider: Any = None, meter_provider: Any = None, logger_provider: Any = None
    ) -> None:
        self._settings = settings
        self._given = (tracer_provider, meter_provider, logger_provider)
        self._lock = lock()
        self.pipeline: Pipeline | None = None
        #: The figures of the user's own provider, whose spans are counted and flushed.
        self.attached: Attached | None = None
        self._followers: list[set_once.Follower] = []
        set_once.follow(self)

    def follow(self, follower: set_once.Follower) -> None:
        """Tell ``follower`` when what was made from these providers is to be made anew."""
        self._followers.append(follower)

    def forget(self) -> None:
        """The program has set a global provider in the place of ours, which keeps what has ended by now."""
        if self.pipeline is not None:
            self.pipeline.write_up()
        forget_made(self)
        for follower in self._followers:
            follower.forget()

    @made_once
    def tracer(self) -> Any:
        """The tracer; building the pipeline if there is no provider at all."""
        provider = self.tracer_provider()
        with guarded("provider"):
            self._watch(provider)
        return trace.get_tracer(SCOPE, version_of() or "0", tracer_provider=provider, schema_url=gen_ai.SCHEMA_URL)

    def tracer_provider(self) -> Any:
        """The user's provider as an argument, or the global one, or our own."""
        if self._given[0] is not None:
            return self._given[0]
        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider):
            return provider
        with self._lock:
            provider = trace.get_tracer_provider()
            if isinstance(provider, trace.ProxyTracerProvider):
                provider = self._build() or trace.NoOpTracerProvider()
        return provider

    def _build(self) -> Any:
        try:
            from .export import pipeline
        except ImportError as error:
            logger.warning("no spans: there is no TracerProvider, and none can be built without %s", error.name)
            return None
        self.pipeline = built = pipeline.build(self._settings)
        for signal, provider, unset in (
            (set_once.TRACES, built.tracer_provider, trace.ProxyTracerProvider),
            (set_once.METRICS, built.meter_provider, _PROXY_METER),
            (set_once.LOGS, built.logger_provider, _PROXY_LOGGER),
        ):
            if isinstance(signal.get(), unset):
                set_once.stand_in(signal, provider)
        return built.tracer_provider

    def _watch(self, provider: Any) -> None:
        if isinstance(provider, trace.NoOpTracerProvider):
            return  # nothing to deliver, and perhaps no SDK to do it with
        from .export import lifetime, pipeline

        lifetime.provider_seen(provider)
        self.attached = attached = pipeline.attach(provider)
        if attached is not None:
            attached.max_request_bytes = self._settings.max_request_bytes

    @made_once
    def meter(self) -> Any:
        """The meter, after the tracer: the pipeline may have brought a provider."""
        _ = self.tracer
        return metrics.get_meter(SCOPE, version_of() or "0", meter_provider=self._given[1], schema_url=gen_ai.SCHEMA_URL)

    @made_once
    def may_wait(self) -> bool:
        """Whether what a call was may be said after its end: only our own pipeline reads its span, and what is measured of it."""
        if not hasattr(self.tracer, "waits"):
            return False
        meter = self.meter
        return hasattr(meter, "add_to") or isinstance(meter, metrics.NoOpMeter) or "Proxy" in type(meter).__name__

    @made_once
    def logger(self) -> Any:
        """The logger of the events that come after a span has ended."""
        _ = self.tracer
        return _logs.get_logger(SCOPE, version_of() or "0", logger_provider=self._given[2], schema_url=gen_ai.SCHEMA_URL)


# Their names are private, their instances are not.
_PROXY_METER = type(metrics.get_meter_provider()) if "Proxy" in type(metrics.get_meter_provider()).__name__ else ()
_PROXY_LOGGER = type(_logs.get_logger_provider()) if "Proxy" in type(_logs.get_logger_provider()).__name__ else ()

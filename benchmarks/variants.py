"""Who is compared: the table of variants, and how each is switched on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

Around = Callable[[Callable[..., Any], Any], Any]


class On(NamedTuple):
    """A variant that is on.

    Attributes:
        flush: send what has ended.
        sync, awaited: wrap a function that makes one call; for what is instrumented by hand.
    """

    flush: Callable[[], Any]
    sync: Around | None = None
    awaited: Around | None = None


class Variant(NamedTuple):
    """One row.

    Attributes:
        meaning: for the reader of the table.
        switch_on: runs in the variant's own process.
        packages: what is installed beside LiteLLM in an environment of its own; none: this environment.
        environ: variables of its process.
        floor: the variant that it is compared with.
        none: the variant whose cost is taken off.
    """

    meaning: str
    switch_on: Callable[[], On]
    packages: tuple[str, ...] = ()
    environ: Mapping[str, str] = MappingProxyType({})
    floor: str = "by hand"
    callees: tuple[str, ...] = ("trivial", "litellm")

    @property
    def environment(self) -> str:
        """Name of the environment; empty for this one."""
        return self.packages[-1] if self.packages else ""


def stock(sampled_out: bool = False) -> tuple[Any, Any]:
    """Tracer and meter provider of the stock pipeline: batch processor, OTLP over HTTP, metrics every minute."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    provider = TracerProvider(sampler=ALWAYS_OFF if sampled_out else ALWAYS_ON)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider, MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])


def _sdk(sampled_out: bool = False) -> Callable[[], Any]:
    """The stock pipeline as global providers."""
    from opentelemetry import metrics, trace

    provider, meters = stock(sampled_out)
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(meters)
    return provider.force_flush  # type: ignore[no-any-return]


def _nothing() -> On:
    return On(lambda: None)


def _by_hand(content: bool = False, sampled_out: bool = False) -> On:
    flush = _sdk(sampled_out)
    from .hand import Hand

    hand = Hand(content)
    return On(flush, hand.sync, hand.awaited)


def _ours() -> On:
    """With no provider at all: the bridge's own pipeline from the standard variables."""
    import otel_llm_bridge

    otel_llm_bridge.instrument()

    def flush() -> None:
        from opentelemetry import _logs, trace

        for provider in (trace.get_tracer_provider(), _logs.get_logger_provider()):
            if hasattr(provider, "force_flush"):
                provider.force_flush()

    return On(flush)


def _ours_on_the_sdk() -> On:
    flush = _sdk()
    _ours()
    return On(flush)


def _ours_without_sdk() -> On:
    from opentelemetry import metrics, trace

    trace.set_tracer_provider(trace.NoOpTracerProvider())
    metrics.set_meter_provider(metrics.NoOpMeterProvider())
    _ours()
    return On(lambda: None)


def _litellm_otel() -> On:
    import litellm
    from opentelemetry import trace

    flush = _sdk()
    litellm.callbacks = ["otel"]

    def flush_both() -> None:
        flush()
        trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]

    return On(flush_both)


def _openinference() -> On:
    flush = _sdk()
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    LiteLLMInstrumentor().instrument()
    return On(flush)


def _traceloop() -> On:
    flush = _sdk()
    from opentelemetry.instrumentation.litellm import LiteLLMInstrumentor

    LiteLLMInstrumentor().instrument()
    return On(flush)


def _openlit() -> On:
    flush = _sdk()
    import openlit
    from opentelemetry import metrics, trace

    known = inspect.signature(openlit.init).parameters
    wanted = {"tracer": trace.get_tracer("openlit"), "meter": metrics.get_meter("openlit"), "disable_batch": False}
    openlit.init(**{name: value for name, value in wanted.items() if name in known})
    return On(flush)


def _util_genai() -> On:
    flush = _sdk()
    from .hand_genai import HandGenAI

    hand = HandGenAI()
    return On(flush, hand.sync, hand.awaited)


_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

VARIANTS: Final[dict[str, Variant]] = {
    "none": Variant("no instrumentation", _nothing),
    "by hand": Variant("the floor: a span with 25 attributes and 4 events, 2 histograms, stock pipeline", _by_hand),
    "ours": Variant("the bridge with its own pipeline, as it comes: no content, metrics, log records for late events", _ours),
    "ours on the SDK": Variant("the bridge in front of the stock pipeline", _ours_on_the_sdk),
    "by hand + content": Variant("the floor, with the prompt as JSON", lambda: _by_hand(content=True)),
    "ours + content": Variant(
        "the bridge with content on spans: copied, redacted, limited", _ours, environ={_CAPTURE: "SPAN_ONLY"}, floor="by hand + content"
    ),
    "by hand, sampled out": Variant("the floor where the sampler says no; the histograms stay", lambda: _by_hand(sampled_out=True)),
    "ours, sampled out": Variant(
        "the bridge where the sampler says no; the metrics stay", _ours, environ={"OTEL_TRACES_SAMPLER": "always_off"},
        floor="by hand, sampled out",
    ),
    "ours, no SDK": Variant("the bridge with the API's providers, which record nothing", _ours_without_sdk),
    "ours, disabled": Variant("the bridge switched off by its variable", _ours, environ={"OTEL_LLM_BRIDGE_DISABLED": "true"}),
    "LiteLLM otel": Variant(
        "LiteLLM's own callback", _litellm_otel, environ={"OTEL_EXPORTER": "otlp_http"}, callees=("litellm",),
    ),
    "LiteLLM otel, all": Variant(
        "the same with its metrics and events", _litellm_otel, callees=("litellm",),
        environ={"LITELLM_OTEL_INTEGRATION_ENABLE_METRICS": "true", "LITELLM_OTEL_INTEGRATION_ENABLE_EVENTS": "true"},
    ),
    "OpenInference": Variant("openinference-instrumentation-litellm", _openinference, ("openinference-instrumentation-litellm",)),
    "Traceloop": Variant("opentelemetry-instrumentation-litellm", _traceloop, ("opentelemetry-instrumentation-litellm",)),
    "openlit": Variant("openlit", _openlit, ("openlit",)),
    "util-genai": Variant("opentelemetry-util-genai, by hand", _util_genai, ("opentelemetry-util-genai",)),
}  # fmt: skip

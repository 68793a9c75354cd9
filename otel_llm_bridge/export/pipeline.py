"""Where telemetry goes: providers made from the standard ``OTEL_*`` variables, or the user's own, watched."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
)

from ..guard import guarded, logger
from ..settings import Settings
from . import lifetime, otlp_env
from .attached import Attached, attach
from .delivery import Delivery
from .encoding import Encoder
from .journal import Journal
from .ledger import FlushReport, total
from .lifetime import Deadline, Stage
from .processors import (
    DeliveryLogProcessor,
    DeliveryMetricReader,
    DeliverySpanProcessor,
    encode_log,
)
from .selfmetrics import observe
from .spool import Spool
from .transport import connect

__all__ = ["Attached", "Pipeline", "attach", "build", "span_processor"]

#: Set by ``otel-llm-bridge run`` for the program that it starts; not an option.
REPORT_URL: Final = "OTEL_LLM_BRIDGE_REPORT_URL"


class Pipeline:
    """Providers for all three signals, and what became of what they produced.

    Attributes:
        tracer_provider, meter_provider, logger_provider: providers of the SDK; ``None`` where the variables
            switch the signal off.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        spans: Delivery | None = None,
        logs: Delivery | None = None,
        metrics: DeliveryMetricReader | None = None,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.logger_provider = logger_provider
        self._spans, self._logs, self._metrics = spans, logs, metrics
        self._attached: list[Attached] = []
        self._over = False
        lifetime.at_end(Stage.FLUSH, "pipeline.flush", self._last_flush)
        lifetime.at_end(Stage.SHUTDOWN, "pipeline.shutdown", self._close)
        lifetime.at_end(Stage.REPORT, "pipeline.report", self._tell)

    def attach(self, provider: Any) -> Attached:
        """Watch a TracerProvider of the user's own: count, flush at the end, never replace or shut down."""
        for known in self._attached:
            if known.provider is provider:
                return known
        attached = attach(provider)
        self._attached.append(attached)
        return attached

    def flush(self, timeout: float = 30.0) -> FlushReport:
        """Try to deliver everything that ended, for at most ``timeout`` seconds; what the process may wait.

        Returns:
            The figures of all spans. The report is true only when every span that ended was confirmed.
        """
        started = time.monotonic()
        deadline = Deadline(timeout)
        # Spans first: nothing else may take the time that they need.
        if self._spans is not None:
            self._spans.flush(deadline.remaining())
        for attached in self._attached:
            attached.flush(deadline.remaining())
        if self._logs is not None:
            self._logs.flush(deadline.remaining())
        if self._metrics is not None:
            self._metrics.flush(deadline.remaining())
        return self.report(time.monotonic() - started)

    def report(self, elapsed: float = 0.0) -> FlushReport:
        """The figures of all spans now."""
        ledgers = [*(delivery.ledger for delivery in (self._spans,) if delivery), *(a.ledger for a in self._attached)]
        return total([ledger.report() for ledger in ledgers], elapsed)

    def stats(self) -> dict[str, Any]:
        """All figures as JSON types: the spans' at the top, ``logs``, ``metrics`` and ``errors`` below."""
        figures = self.report().as_dict()
        del figures["elapsed"]
        if self._spans is not None:
            figures["errors"] = dict(self._spans.sender.errors)
        if self._logs is not None:
            figures["logs"] = self._logs.ledger.report().as_dict()
        return figures

    def shutdown(self, timeout: float = 5.0) -> FlushReport:
        """Deliver what can be delivered in ``timeout`` seconds and take nothing more."""
        started = time.monotonic()
        deadline = Deadline(timeout)
        self._last_flush(deadline)
        self._close(deadline)
        for name in ("flush", "shutdown", "report"):
            lifetime.remove(f"pipeline.{name}")
        return self.report(time.monotonic() - started)

    def _last_flush(self, deadline: Deadline) -> None:
        if self._metrics is not None:
            # Before the spans' flush, so that its figures and the last measurements have left as well; but
            # bounded to a part of the time.
            self._metrics.flush(deadline.remaining() * 0.2)
        if self._spans is not None:
            self._spans.flush(deadline.remaining() * 0.9, final=True)
        for attached in self._attached:
            attached.flush(deadline.remaining())
        if self._logs is not None:
            self._logs.flush(deadline.remaining(), final=True)

    def _close(self, deadline: Deadline) -> None:
        if self._over:
            return
        self._over = True
        for delivery in (self._spans, self._logs):
            if delivery is not None:
                delivery.close(0.0)

    def _tell(self, deadline: Deadline) -> None:
        report = self.report()
        if not report and report.ended:
            _say(f"otel_llm_bridge: not everything was delivered: {report}")
        url = os.environ.get(REPORT_URL, "")
        if url:
            with guarded("report"):
                from .report import send

                send(url, {**self.stats(), "pid": os.getpid()})


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        # No stderr, or a closed one: there is nobody to tell.
        pass


def build(settings: Settings) -> Pipeline:
    """Providers as the ``OTEL_*`` variables and ``settings`` say; nothing is made global.

    ``OTEL_SDK_DISABLED=true`` gives a pipeline without providers.
    """
    if otlp_env.sdk_disabled():
        logger.info("OTEL_SDK_DISABLED: nothing is exported")
        return Pipeline()
    resource = Resource.create()
    tracer_provider, spans = _tracer_provider(settings, resource)
    meter_provider, metrics = _meter_provider(settings, resource)
    if spans is not None and meter_provider is not None:
        observe(spans, meter_provider)
    logger_provider, logs = _logger_provider(settings, resource)
    return Pipeline(tracer_provider, meter_provider, logger_provider, spans, logs, metrics)


def span_processor(settings: Settings) -> DeliverySpanProcessor:
    """Our delivery as a standard span processor, for a TracerProvider of the user's own."""
    endpoint = otlp_env.endpoint("traces")
    delay, size = otlp_env.batch("OTEL_BSP")
    # The cap of one span leaves room for its resource, which is not ours to shorten.
    encoder = Encoder(settings.max_attribute_bytes, span_bytes=int(settings.max_request_bytes * 0.9))
    spool = journal = None
    if settings.spool_dir:
        spool = Spool(
            os.path.join(settings.spool_dir, "traces"), settings.spool_max_bytes, settings.spool_max_age, settings.spool_fsync
        )
        journal = Journal(spool, encoder, _is_ours)
    elif settings.queue_policy == "spool":
        logger.warning("queue_policy=spool needs spool_dir; until then a full queue drops and counts")
    delivery = Delivery(
        encoder.encode,
        connect(endpoint, "traces"),
        name="spans",
        queue_size=settings.queue_size,
        policy=settings.queue_policy,
        block_timeout=settings.queue_block_timeout,
        batch_size=size,
        batch_bytes=settings.max_request_bytes,
        schedule_delay=delay,
        request_timeout=endpoint.timeout,
        store=spool,
    )
    return DeliverySpanProcessor(delivery, settings.exit_timeout, journal)


def _is_ours(scope: str) -> bool:
    """Calls are noted when they start; other spans of the provider only when they end."""
    return scope.startswith("otel_llm_bridge")


def _tracer_provider(settings: Settings, resource: Resource) -> tuple[TracerProvider | None, Delivery | None]:
    names = otlp_env.exporters("traces")
    if not names:
        return None, None
    # No exit hook of its own: the provider's end is a stage of ours.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    delivery = None
    for name in names:
        if name == "otlp":
            processor = span_processor(settings)
            delivery = processor.delivery
            provider.add_span_processor(processor)
        elif name == "console":
            provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
        elif (exporter := _from_entry_point("opentelemetry_traces_exporter", name)) is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, delivery


def _meter_provider(settings: Settings, resource: Resource) -> tuple[MeterProvider | None, DeliveryMetricReader | None]:
    names = otlp_env.exporters("metrics")
    if settings.metrics == "none" or not names:
        return None, None
    readers: list[Any] = []
    ours = None
    for name in names:
        if name == "otlp":
            endpoint = otlp_env.endpoint("metrics")
            ours = DeliveryMetricReader(connect(endpoint, "metrics"), endpoint.timeout)
            readers.append(ours)
        elif name == "console":
            from opentelemetry.sdk.metrics.export import (
                ConsoleMetricExporter,
                PeriodicExportingMetricReader,
            )

            readers.append(PeriodicExportingMetricReader(ConsoleMetricExporter()))
        else:
            _unknown("OTEL_METRICS_EXPORTER", name)
    return MeterProvider(readers, resource=resource, shutdown_on_exit=False), ours


def _logger_provider(settings: Settings, resource: Resource) -> tuple[LoggerProvider | None, Delivery | None]:
    names = otlp_env.exporters("logs")
    if not names:
        return None, None
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    delivery = None
    for name in names:
        if name == "otlp":
            endpoint = otlp_env.endpoint("logs")
            delay, size = otlp_env.batch("OTEL_BLRP")
            delivery = Delivery(
                encode_log,
                connect(endpoint, "logs"),
                name="log records",
                queue_size=settings.queue_size,
                policy="drop",
                batch_size=size,
                batch_bytes=settings.max_request_bytes,
                schedule_delay=delay,
                request_timeout=endpoint.timeout,
            )
            provider.add_log_record_processor(DeliveryLogProcessor(delivery, settings.exit_timeout))
        elif name == "console":
            from opentelemetry.sdk._logs import export

            # Renamed in 1.39; both names are tried.
            exporter: Any = getattr(export, "ConsoleLogRecordExporter", None) or export.ConsoleLogExporter
            provider.add_log_record_processor(export.SimpleLogRecordProcessor(exporter()))
        else:
            _unknown("OTEL_LOGS_EXPORTER", name)
    return provider, delivery


def _unknown(variable: str, name: str) -> None:
    logger.warning("%s: %r is ignored; accepted: otlp, console, none", variable, name)


def _from_entry_point(group: str, name: str) -> SpanExporter | None:
    """An exporter that another package registered, as the SDK's own configurator finds it."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=group, name=name):
        with guarded(f"exporter {name}"):
            factory: Callable[[], SpanExporter] = entry.load()
            return factory()
    _unknown("OTEL_TRACES_EXPORTER", name)
    return None

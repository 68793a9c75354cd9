"""Providers of the SDK with our delivery behind them, one function a signal.

Each returns the provider, our part behind it if ``otlp`` is one of the exporters, and what of the SDK is in front of the
other exporters, and is to be flushed and shut down besides.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk._logs import LoggerProvider, export
from opentelemetry.sdk.metrics.export import AggregationTemporality, ConsoleMetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

from ..guard import guarded, logger
from ..providers import SCOPE
from ..settings import Settings
from . import meter, otlp_env, tracer
from .delivery import Delivery
from .encoding import Encoder
from .journal import Journal
from .log_encoding import LogEncoder
from .processors import DeliveryLogProcessor, DeliveryMetricReader, DeliverySpanProcessor
from .spooling import spool_of
from .transport import connect

#: What part of a request one span or log record may take. The rest is for its resource, which is not ours to shorten.
_ONE_ITEM: Final = 0.9


def span_processor(settings: Settings) -> DeliverySpanProcessor:
    """Our delivery as a standard span processor, for a TracerProvider of the user's own."""
    endpoint = otlp_env.endpoint("traces")
    delay, size = otlp_env.batch("OTEL_BSP")
    encoder = Encoder(settings.max_attribute_bytes, int(settings.max_request_bytes * _ONE_ITEM))
    journal = None
    spool = spool_of(settings, "traces", settings.spool_dir) if settings.spool_dir else None
    if spool is not None:
        journal = Journal(spool, encoder, _is_ours)
    elif settings.queue_policy == "spool":
        logger.warning("queue_policy=spool needs spool_dir; until then a full queue drops and counts")
    delivery = Delivery(
        encoder.encode,
        connect(endpoint, "traces"),
        name="spans",
        queue_size=_queue_size(settings, "OTEL_BSP"),
        policy=settings.queue_policy,
        block_timeout=settings.queue_block_timeout,
        batch_size=size,
        batch_bytes=settings.max_request_bytes,
        schedule_delay=delay,
        request_timeout=endpoint.timeout,
        store=spool,
    )
    return DeliverySpanProcessor(delivery, settings.exit_timeout, journal)


def _queue_size(settings: Settings, prefix: str) -> int:
    """Ours where it is given, else the standard variable, else our default."""
    if settings.origins["queue_size"] != "default":
        return int(settings.queue_size)
    return otlp_env.read(f"{prefix}_MAX_QUEUE_SIZE", int(settings.queue_size))


def _batching(prefix: str) -> dict[str, Any]:
    """The arguments of the SDK's own processors, which raise where a batch is larger than the queue."""
    delay, size = otlp_env.batch(prefix)
    most = otlp_env.read(f"{prefix}_MAX_QUEUE_SIZE", 2048)
    return {"schedule_delay_millis": delay * 1000, "max_queue_size": most, "max_export_batch_size": min(size, most)}


def _is_ours(scope: str) -> bool:
    """Calls are noted when they start; other spans of the provider only when they end."""
    return scope.startswith(SCOPE)


def traces(settings: Settings, resource: Resource) -> tuple[TracerProvider | None, Delivery | None, list[Any]]:
    """A TracerProvider with the exporters of ``OTEL_TRACES_EXPORTER``."""
    names = otlp_env.exporters("traces")
    if not names:
        return None, None, []
    # No exit hook of its own: the provider's end is a stage of ours.
    provider = tracer.Provider(SCOPE, resource=resource, shutdown_on_exit=False)
    delivery = None
    others: list[Any] = []
    for name in names:
        if name == "otlp":
            processor = span_processor(settings)
            delivery = processor.delivery
            provider.add_span_processor(processor)
        elif name == "console":
            others.append(SimpleSpanProcessor(ConsoleSpanExporter()))
        elif (exporter := _from_entry_point("traces", name)) is not None:
            others.append(BatchSpanProcessor(exporter, **_batching("OTEL_BSP")))
    for other in others:
        provider.add_span_processor(other)
    return provider, delivery, others


def metrics(settings: Settings, resource: Resource) -> tuple[meter.Provider | None, DeliveryMetricReader | None, list[Any]]:
    """A MeterProvider with the exporters of ``OTEL_METRICS_EXPORTER``."""
    names = otlp_env.exporters("metrics")
    if settings.metrics == "none" or not names:
        return None, None, []
    schedule = otlp_env.metric_schedule()
    readers: list[MetricReader] = []
    ours = None
    for name in names:
        if name == "otlp":
            endpoint = otlp_env.endpoint("metrics")
            ours = DeliveryMetricReader(connect(endpoint, "metrics"), endpoint.timeout, _preferred(), schedule)
            readers.append(ours)
        elif name == "console":
            readers.append(PeriodicExportingMetricReader(ConsoleMetricExporter(), *schedule))
        elif (other := _from_entry_point("metrics", name)) is not None:
            # Those that are asked, like Prometheus's, are readers.
            readers.append(other if isinstance(other, MetricReader) else PeriodicExportingMetricReader(other, *schedule))
    alone = ours is not None and len(readers) == 1
    provider = meter.Provider(SCOPE if alone else "", readers, resource=resource, shutdown_on_exit=False)
    if ours is not None:
        ours.exporter.complete = lambda collected: provider.meter.add_to(collected) if provider.meter else collected
    return provider, ours, [reader for reader in readers if reader is not ours]


def _preferred() -> tuple[dict[type, Any] | None, dict[type, Any] | None]:
    """Temporality and aggregation by kind of instrument, as the standard variables ask for; ``None`` for the SDK's defaults."""
    deltas, exponential = otlp_env.metric_preferences()
    temporality = {getattr(sdk_metrics, name): AggregationTemporality.DELTA for name in deltas}
    aggregation: dict[type, Any] = {sdk_metrics.Histogram: ExponentialBucketHistogramAggregation()} if exponential else {}
    return temporality or None, aggregation or None


def logs(settings: Settings, resource: Resource) -> tuple[LoggerProvider | None, Delivery | None, list[Any]]:
    """A LoggerProvider with the exporters of ``OTEL_LOGS_EXPORTER``."""
    names = otlp_env.exporters("logs")
    if not names:
        return None, None, []
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    delivery = None
    others: list[Any] = []
    for name in names:
        if name == "otlp":
            endpoint = otlp_env.endpoint("logs")
            delay, size = otlp_env.batch("OTEL_BLRP")
            delivery = Delivery(
                LogEncoder(settings.max_attribute_bytes, int(settings.max_request_bytes * _ONE_ITEM)).encode,
                connect(endpoint, "logs"),
                name="log records",
                queue_size=_queue_size(settings, "OTEL_BLRP"),
                policy="drop",
                batch_size=size,
                batch_bytes=settings.max_request_bytes,
                schedule_delay=delay,
                request_timeout=endpoint.timeout,
                store=spool_of(settings, "logs", settings.spool_dir) if settings.spool_dir else None,
            )
            provider.add_log_record_processor(DeliveryLogProcessor(delivery, settings.exit_timeout))
        elif name == "console":
            # Renamed in 1.39; both names are tried.
            exporter: Any = getattr(export, "ConsoleLogRecordExporter", None) or export.ConsoleLogExporter
            others.append(export.SimpleLogRecordProcessor(exporter()))
        elif (exporter := _from_entry_point("logs", name)) is not None:
            others.append(export.BatchLogRecordProcessor(exporter, **_batching("OTEL_BLRP")))
    for other in others:
        provider.add_log_record_processor(other)
    return provider, delivery, others


def _from_entry_point(signal: str, name: str) -> Any:
    """An exporter that another package registered, as the SDK's own configurator finds it; ``None`` when it cannot be made."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=otlp_env.GROUPS[signal], name=name):
        with guarded(f"exporter {name}"):
            return entry.load()()
    return None

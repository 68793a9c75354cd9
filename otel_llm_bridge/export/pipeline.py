"""Where telemetry goes: providers made from the standard ``OTEL_*`` variables, or the user's own, watched."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..guard import guarded, logger
from ..settings import Settings
from . import freeze, helper, lifetime, otlp_env, sdk_env
from .lifetime import Deadline, Stage
from .report import REPORT_URL, send

with sdk_env.without_bad_values():  # OpenTelemetry reads some variables when it is imported
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from . import metric_locks, providers
    from .attached import Attached
    from .delivery import Delivery
    from .ledger import FlushReport, total
    from .processors import DeliveryMetricReader
    from .selfmetrics import observe_metrics, observe_spans

_F = TypeVar("_F", bound=Callable[..., Any])


class Pipeline:
    """Providers for all three signals, and what became of what they produced.

    Attributes:
        tracer_provider, meter_provider, logger_provider: providers of the SDK; ``None`` where the variables
            switch the signal off.

    Args:
        spans, logs, metrics: our delivery behind them.
        others: processors and readers of the SDK in front of other exporters; flushed and shut down after ours.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        spans: Delivery | None = None,
        logs: Delivery | None = None,
        metrics: DeliveryMetricReader | None = None,
        others: Sequence[Any] = (),
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.logger_provider = logger_provider
        self._spans, self._logs, self._metrics, self._others = spans, logs, metrics, others
        if others:
            helper.prepare()
        self._attached: list[Attached] = []
        self._over = False
        self._hooks = f"pipeline {id(self):x}"
        lifetime.after_fork_in_child(metric_locks.renew)
        lifetime.at_end(Stage.FLUSH, f"{self._hooks}: flush", self._last_flush)
        lifetime.at_end(Stage.SHUTDOWN, f"{self._hooks}: shutdown", self._close)
        lifetime.at_end(Stage.REPORT, f"{self._hooks}: report", self._tell)

    def attach(self, provider: Any) -> Attached | None:
        """Watch a TracerProvider of the user's own: count, flush at the end, never replace or shut down.

        Returns:
            Its figures; ``None`` for our own provider, which is counted anyway.
        """
        if provider is self.tracer_provider:
            return None
        for known in self._attached:
            if known.provider is provider:
                return known
        attached = Attached(provider)
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
        self._for_others(_force_flush, deadline)
        return self.report(time.monotonic() - started)

    def write_up(self) -> None:
        """Have all that ended written, and measured: see `Delivery.write_up`."""
        if self._spans is not None:
            self._spans.write_up()

    def report(self, elapsed: float = 0.0) -> FlushReport:
        """The figures of all spans now."""
        ledgers = [*(delivery.ledger for delivery in (self._spans,) if delivery), *(a.ledger for a in self._attached)]
        return total([ledger.report() for ledger in ledgers], elapsed)

    def stats(self) -> dict[str, Any]:
        """All figures as JSON types: the spans' at the top, with what their requests failed with (``errors``); ``logs`` below."""
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
            lifetime.remove(f"{self._hooks}: {name}")
        return self.report(time.monotonic() - started)

    def _last_flush(self, deadline: Deadline) -> None:
        if self._metrics is not None:
            # Before the spans' flush, so that its figures and the last measurements have left as well; but
            # bounded to a part of the time.
            self._metrics.flush(deadline.remaining() * 0.2)
        if self._logs is not None:
            # Beside the spans' last attempts, not after them.
            self._logs.hurry(deadline.remaining())
        if self._spans is not None:
            self._spans.flush(deadline.remaining() * 0.9, final=True)
        for attached in self._attached:
            attached.flush(deadline.remaining(), final=True)
        if self._logs is not None:
            self._logs.flush(deadline.remaining(), final=True)
        self._for_others(_force_flush, deadline, but=MetricReader)  # its shutdown is a last collection

    def _for_others(self, function: Callable[[Any, float], None], deadline: Deadline, but: type | tuple[()] = ()) -> None:
        for other in self._others:
            if not isinstance(other, but):
                helper.bounded(functools.partial(function, other, deadline.remaining()), deadline.remaining())

    def _close(self, deadline: Deadline) -> None:
        if self._over:
            return
        self._over = True
        for delivery in (self._spans, self._logs):
            if delivery is not None:
                delivery.close(0.0)
        self._for_others(_shut_down, deadline)
        self._others = ()

    def _tell(self, deadline: Deadline) -> None:
        report = self.report()
        if not report and report.ended:
            _say(f"otel_llm_bridge: not everything was delivered: {report}")
        url = os.environ.get(REPORT_URL, "")
        if url:
            with guarded("report"):
                send(url, {**self.stats(), "pid": os.getpid()})


def _force_flush(other: Any, timeout: float) -> None:
    if isinstance(other, MetricReader) and not isinstance(other, PeriodicExportingMetricReader):
        return  # it is asked, and keeps nothing
    with guarded("the flush of another exporter"):
        other.force_flush(int(timeout * 1000))


def _shut_down(other: Any, timeout: float) -> None:
    if getattr(other, "_shutdown", False):  # by the program; readers of the SDK warn of a second time
        return
    with guarded("the shutdown of another exporter"):
        takes_timeout = "timeout_millis" in inspect.signature(other.shutdown).parameters
        other.shutdown(**{"timeout_millis": timeout * 1000} if takes_timeout else {})


def _say(line: str) -> None:
    # No stderr, or a closed one: there is nobody to tell.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)


#: The pipeline of this process: the one that was built last, or one that only watches.
_current: Pipeline | None = None


def current() -> Pipeline:
    """The pipeline of this process; one that only watches the user's providers when none was built."""
    global _current
    if _current is None:
        _current = Pipeline()
    return _current


def attach(provider: Any) -> Attached | None:
    """Watch a TracerProvider of the user's own; see `Pipeline.attach`."""
    return current().attach(provider)


def flush(timeout: float = 30.0) -> FlushReport:
    """Deliver what ended so far, in at most ``timeout`` seconds; see `Pipeline.flush`."""
    return current().flush(timeout)


def stats() -> dict[str, Any]:
    """The figures of this process; see `Pipeline.stats`."""
    return current().stats()


def flush_after(timeout: float = 2.0) -> Callable[[_F], _F]:
    """Decorate a handler, plain or async, so that its callbacks have run and its telemetry has left before the platform freezes it.

    Args:
        timeout: what both may take together, in seconds; callbacks that hang leave the flush its part. An async handler's
            loop is not blocked meanwhile.
    """

    def deliver() -> None:
        deadline = Deadline(timeout)
        freeze.finish(timeout)  # first: callbacks may make spans
        flush(deadline.remaining())

    def decorate(handler: _F) -> _F:
        if inspect.iscoroutinefunction(handler):

            @functools.wraps(handler)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await handler(*args, **kwargs)
                finally:
                    await asyncio.get_running_loop().run_in_executor(None, deliver)

            return awaited  # type: ignore[return-value]

        @functools.wraps(handler)
        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return handler(*args, **kwargs)
            finally:
                deliver()

        return called  # type: ignore[return-value]

    return decorate


def build(settings: Settings) -> Pipeline:
    """Providers as the ``OTEL_*`` variables and ``settings`` say; nothing is made global.

    ``OTEL_SDK_DISABLED=true`` gives a pipeline without providers.
    """
    global _current
    with sdk_env.without_bad_values():
        _current = _build(settings)
    return _current


def _build(settings: Settings) -> Pipeline:
    if otlp_env.sdk_disabled():
        logger.info("OTEL_SDK_DISABLED: nothing is exported")
        return Pipeline()
    resource = Resource.create()
    tracer_provider, spans, of_traces = providers.traces(settings, resource)
    meter_provider, metrics, of_metrics = providers.metrics(settings, resource)
    if meter_provider is not None:
        if spans is not None:
            observe_spans(spans, meter_provider)
        if metrics is not None:
            observe_metrics(metrics.exporter, meter_provider)
        if spans is not None:
            meter_provider.shared = functools.partial(spans.write_up, always=True)
            if metrics is not None:
                metrics.exporter.prepare = spans.write_up
    logger_provider, logs, of_logs = providers.logs(settings, resource)
    return Pipeline(tracer_provider, meter_provider, logger_provider, spans, logs, metrics, [*of_traces, *of_metrics, *of_logs])

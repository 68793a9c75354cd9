"""OpenTelemetry for LiteLLM: complete traces of every call, delivered or reported as not delivered.

import otel_llm_bridge
otel_llm_bridge.instrument()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import callbacks, redactors
from .content import ContentPolicy
from .instrumentor import LiteLLMInstrumentor
from .threads import run_in_context, wrap_executor
from .who import attributes, get_trace_id, suppressed

if TYPE_CHECKING:
    from .content.exporters import RedactingExporter, RedactingLogExporter
    from .export.pipeline import flush, flush_after, stats

__all__ = [
    "ContentPolicy",
    "LiteLLMInstrumentor",
    "RedactingExporter",
    "RedactingLogExporter",
    "attributes",
    "callbacks",
    "flush",
    "flush_after",
    "get_trace_id",
    "instrument",
    "redactors",
    "run_in_context",
    "stats",
    "suppressed",
    "uninstrument",
    "wrap_executor",
]

#: These need the SDK, and are imported when they are asked for; everything else works with the API alone.
_WITH_THE_SDK = {
    "RedactingExporter": "content.exporters",
    "RedactingLogExporter": "content.exporters",
    "flush": "export.pipeline",
    "flush_after": "export.pipeline",
    "stats": "export.pipeline",
}


if not TYPE_CHECKING:  # with it in sight, every misspelt name would be known to type checkers

    def __getattr__(name: str) -> Any:
        if name in _WITH_THE_SDK:
            return getattr(importlib.import_module(f"{__name__}.{_WITH_THE_SDK[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def instrument(
    *, tracer_provider: Any = None, meter_provider: Any = None, logger_provider: Any = None, **options: Any
) -> None:
    """Instrument LiteLLM, before or after its import. Calling it again changes nothing.

    Args:
        tracer_provider: an OpenTelemetry provider. Without one the global one is used; where there is none
            when the first call is made, a pipeline is built from the standard ``OTEL_*`` variables.
        meter_provider: the same for metrics.
        logger_provider: the same for log records.
        **options: any option of the settings table, by its name.

    Raises:
        InvalidSetting: an option has a name or a value that is not accepted.
    """
    LiteLLMInstrumentor().instrument(
        tracer_provider=tracer_provider, meter_provider=meter_provider, logger_provider=logger_provider, **options
    )


def uninstrument() -> None:
    """Take every patch off LiteLLM again. Calls that are running are recorded to their end."""
    LiteLLMInstrumentor().uninstrument()

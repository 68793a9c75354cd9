"""OpenTelemetry for LiteLLM: complete traces of every call, delivered or reported as not delivered.

import otel_llm_bridge
otel_llm_bridge.instrument()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import callbacks, redactors
    from .content import ContentPolicy
    from .content.exporters import RedactingExporter, RedactingLogExporter
    from .export.pipeline import flush, flush_after, stats
    from .instrumentor import LiteLLMInstrumentor
    from .suppression import suppressed
    from .threads import run_in_context, wrap_executor
    from .trace_ids import get_trace_id
    from .who import attributes

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

#: Name -> its module, which is imported when it is asked for: a program that only instruments starts faster. Those of
#: `content.exporters` and `export.pipeline` need the SDK; everything else works with the API alone.
_HOMES = {
    "ContentPolicy": "content",
    "LiteLLMInstrumentor": "instrumentor",
    "RedactingExporter": "content.exporters",
    "RedactingLogExporter": "content.exporters",
    "attributes": "who",
    "flush": "export.pipeline",
    "flush_after": "export.pipeline",
    "get_trace_id": "trace_ids",
    "run_in_context": "threads",
    "stats": "export.pipeline",
    "suppressed": "suppression",
    "wrap_executor": "threads",
}
_MODULES = ("callbacks", "redactors")


if not TYPE_CHECKING:  # with it in sight, every misspelt name would be known to type checkers

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _HOMES:
            found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
            return found
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
    from .bridge import bridge as switch

    switch.instrument(
        tracer_provider=tracer_provider, meter_provider=meter_provider, logger_provider=logger_provider, **options
    )


def uninstrument() -> None:
    """Take every patch off LiteLLM again. Calls that are running are recorded to their end."""
    from .bridge import bridge as switch

    switch.uninstrument()

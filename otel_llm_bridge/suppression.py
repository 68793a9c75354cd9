"""Calls that nobody wants recorded: the Context that they are made in says so. See `suppressed`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as context_api

from .contexts import attach, current_context, release

_SUPPRESSED: Final = context_api.create_key("otel_llm_bridge-suppressed")
# The API's key got its public helper, and its name without "-key", at different times.
_SUPPRESSING: Final = frozenset(
    {_SUPPRESSED, getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"), "suppress_instrumentation"}
)


@contextmanager
def suppressed() -> Generator[None, None, None]:
    """Record nothing of the calls that are made in the block: no span, no event, no metric."""
    token = attach(suppressed_context())
    try:
        yield
    finally:
        release(token)


def suppressed_context() -> context_api.Context:
    """The current Context as it is in a `suppressed` block."""
    return context_api.set_value(_SUPPRESSED, True)


def is_suppressed() -> bool:
    """Whether the running code is in a `suppressed` block, or in one of OpenTelemetry's own."""
    context = current_context()
    return not _SUPPRESSING.isdisjoint(context) and any(context.get(key) for key in _SUPPRESSING)

"""One span for each run of a callback, when the setting ``callback_spans`` asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from ..semconv import gen_ai
from ..semconv import litellm as names
from .points import Binding, Event
from .registry import Registration

GetTracer = Callable[[], trace.Tracer]


def spanned(binding: Binding, registration: Registration, get_tracer: GetTracer) -> Binding:
    """The same binding, inside a span that is linked to that of the call."""

    def span(event: Event) -> Any:
        links = [Link(event.span_context)] if event.span_context is not None else None
        return get_tracer().start_as_current_span(
            f"{names.SPAN_CALLBACK} {registration.name}",
            kind=SpanKind.INTERNAL,
            links=links,
            attributes={
                names.CALLBACK_NAME: registration.name,
                names.CALLBACK_MODE: registration.mode,
                names.CALLBACK_POINT: event.point,
            },
            # The text of an exception may hold a prompt: its type is enough.
            record_exception=False,
            set_status_on_exception=False,
        )

    def fail(error: BaseException) -> None:
        current = trace.get_current_span()
        current.set_status(Status(StatusCode.ERROR))
        current.set_attribute(gen_ai.ERROR_TYPE, type(error).__qualname__)

    def call(event: Event) -> Any:
        with span(event):
            try:
                return binding.call(event)
            except BaseException as error:
                fail(error)
                raise

    async def acall(event: Event) -> Any:
        with span(event):
            try:
                return await binding.call(event)
            except BaseException as error:
                fail(error)
                raise

    return Binding(acall if binding.is_async else call, binding.is_async)

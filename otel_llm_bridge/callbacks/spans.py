"""One span for each run of a callback, when the setting ``callback_spans`` asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    @contextmanager
    def span(event: Event) -> Iterator[None]:
        links = [Link(event.span_context)] if event.span_context is not None else None
        with get_tracer().start_as_current_span(
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
        ) as started:
            try:
                yield
            except BaseException as error:
                started.set_status(Status(StatusCode.ERROR))
                started.set_attribute(gen_ai.ERROR_TYPE, type(error).__qualname__)
                raise

    def call(event: Event) -> Any:
        with span(event):
            return binding.call(event)

    async def acall(event: Event) -> Any:
        with span(event):
            return await binding.call(event)

    return Binding(acall if binding.is_async else call, binding.is_async)

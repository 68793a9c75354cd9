"""A pytest plugin: the fixture ``llm_spans``, for tests of programs that call LiteLLM.

Nothing is instrumented, and neither LiteLLM nor the SDK is imported, before a test asks for the fixture.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

_MARK = "llm_spans(**options): options of otel_llm_bridge.instrument for the fixture llm_spans"
#: What a stream that was dropped may take to settle, in seconds.
_SETTLE = 5.0


class LLMSpans:
    """The spans of one test.

    Attributes:
        tracer_provider: the provider of the test; for spans of the test's own.
        exporter: what has ended, as the SDK's in-memory exporter holds it.
    """

    def __init__(self, tracer_provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.tracer_provider = tracer_provider
        self.exporter = exporter

    def all(self) -> list[ReadableSpan]:
        """Every span that has ended, in the order of their start. Streams that were dropped have ended, too."""
        from .streams import settle_left_streams

        settle_left_streams(_SETTLE)
        return sorted(self.exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, _id(span)))

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with that name."""
        return [span for span in self.all() if span.name == name]

    def inference(self) -> list[ReadableSpan]:
        """Those of upstream attempts, in any vocabulary, also under somebody else's LLM span."""
        from .semconv import gen_ai, litellm, openinference

        attempt = {gen_ai.OPERATION_NAME, openinference.SPAN_KIND, litellm.CALL_TYPE}
        return [
            span
            for span in self.all()
            if attempt & (span.attributes or {}).keys() and not span.name.startswith(litellm.SPAN_ROUTER)
        ]

    def one(self) -> ReadableSpan:
        """The only attempt.

        Raises:
            AssertionError: there is none, or more than one; the text shows the tree.
        """
        found = self.inference()
        if len(found) != 1:
            raise AssertionError(f"{len(found)} LLM spans, not 1:\n{self.tree() or '(no span at all)'}")
        return found[0]

    def tree(self) -> str:
        """The names of all spans, each below its parent and indented by two blanks more."""
        spans = self.all()
        known = {_id(span) for span in spans}

        def lines(parent: int | None, depth: int) -> Iterator[str]:
            for span in spans:
                above = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
                if above == parent:
                    yield "  " * depth + span.name
                    yield from lines(_id(span), depth + 1)

        return "\n".join(lines(None, 0))

    def assert_no_orphans(self) -> None:
        """Every span has its parent here, or has none, or a remote one; and no call is still open.

        Raises:
            AssertionError: names the spans for which it does not hold.
        """
        from .invocation import open_invocations

        spans = self.all()
        known = {_id(span) for span in spans}
        orphans = [
            f"{span.name}: its parent {span.parent.span_id:016x} has not ended, or was recorded elsewhere"
            for span in spans
            if span.parent is not None and not span.parent.is_remote and span.parent.span_id not in known
        ]
        still_open = [f"{getattr(one.span, 'name', 'a call')}: has not ended" for one in open_invocations()]
        if orphans or still_open:
            raise AssertionError("\n".join(["orphans:", *orphans, *still_open, "", self.tree()]))

    def clear(self) -> None:
        """Forget what has ended until now."""
        self.all()
        self.exporter.clear()


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return context.span_id if context is not None else 0


def _counting_ids() -> Any:
    """An id generator that counts from 1."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Counting(IdGenerator):
        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._span = self._trace = 0

        def generate_span_id(self) -> int:
            with self._lock:
                self._span += 1
                return self._span

        def generate_trace_id(self) -> int:
            with self._lock:
                self._trace += 1
                return self._trace

    return Counting()


@contextmanager
def _instead(**options: Any) -> Generator[None, None, None]:
    """Instrumented with ``options`` in the block; afterwards as it was before, whoever had done it."""
    from . import guard
    from .bridge import bridge
    from .streams import settle_left_streams

    was_on, settings, given = bridge.on, bridge.settings, bridge.given
    bridge.uninstrument()
    bridge.instrument(**options)
    try:
        yield
        # What was dropped ends while the provider of the block is still the one.
        settle_left_streams(_SETTLE)
    finally:
        bridge.uninstrument()
        guard.set_strict(False)
        if was_on and settings is not None:
            again = {name: settings.values[name] for name, origin in settings.origins.items() if origin == "argument"}
            bridge.instrument(*given, **again)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", _MARK)


@pytest.fixture
def llm_spans(request: pytest.FixtureRequest) -> Iterator[LLMSpans]:
    """The bridge for one test, with a provider of its own, its own faults raised; see `LLMSpans`."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    mark = request.node.get_closest_marker("llm_spans")
    options = {"strict": True, "handle_signals": False, "disabled": False, **(mark.kwargs if mark is not None else {})}
    exporter = InMemorySpanExporter()
    # The sampler is named: that of the environment might say no.
    provider = TracerProvider(sampler=ALWAYS_ON, id_generator=_counting_ids(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with _instead(tracer_provider=provider, **options):
        yield LLMSpans(provider, exporter)

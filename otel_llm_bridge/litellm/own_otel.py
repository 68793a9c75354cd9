"""LiteLLM's own OpenTelemetry callbacks (``otel``, and its second version) beside the bridge.

Their other spans stay (requests to the Proxy, guardrails, services): only those that say a second time that a
model was called are left out, and what they would write on spans that are not theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from ..importing import when_imported
from ..patching import Target, apply_all

if TYPE_CHECKING:
    from ..neighbours import Neighbours
    from ..patching import Wrapper

_FIRST: Final = "litellm.integrations.opentelemetry"
_SECOND: Final = "litellm.integrations.otel.emitter"
#: Scope of the spans that both versions make.
_SCOPE: Final = "litellm"
_KEPT: Final = frozenset({"guardrail"})
_LLM_CALL: Final = "llm_call"


def install(neighbours: Neighbours) -> None:
    """Keep LiteLLM's callbacks from repeating our spans, for as long as ``neighbours`` is active."""
    for module, points in _POINTS.items():
        when_imported(module, lambda module=module, points=points: _apply(neighbours, module, points))  # type: ignore[misc]


def _apply(neighbours: Neighbours, module: str, points: dict[str, Callable[[Any], Any]]) -> None:
    if neighbours.active:
        neighbours.undos += apply_all((Target(module, path), make) for path, make in points.items())


class _Quiet:
    """A tracer whose LLM spans record nothing."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As the tracer's own."""
        if name in _KEPT:
            return self._tracer.start_span(name, *args, **kwargs)
        return _nothing(kwargs.get("context"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer, name)


def _nothing(context: Any) -> trace.Span:
    return trace.NonRecordingSpan(trace.get_current_span(context).get_span_context())


def _quiet_tracer(_function: Callable[..., Any]) -> Wrapper:
    """``OpenTelemetry.get_tracer_to_use_for_request(self, kwargs)``."""

    def get_tracer(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _Quiet(wrapped(*args, **kwargs))

    return get_tracer


def _only_own(_function: Callable[..., Any]) -> Wrapper:
    """``(self, span, …)``: it would write the whole request on the caller's span, or on ours."""

    def write(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        span = kwargs.get("span", args[1] if len(args) > 1 else None)
        scope = getattr(getattr(span, "instrumentation_scope", None), "name", None)
        return wrapped(*args, **kwargs) if scope == _SCOPE else None

    return write


def _no_llm_call(_function: Callable[..., Any]) -> Wrapper:
    """``SpanEmitter.start_span(self, role, name, parent_context=None, …)``."""

    def start_span(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        role = kwargs.get("role", args[1] if len(args) > 1 else None)
        if getattr(role, "value", role) != _LLM_CALL:
            return wrapped(*args, **kwargs)
        return _nothing(kwargs.get("parent_context", args[3] if len(args) > 3 else None))

    return start_span


_POINTS: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    _FIRST: {
        "OpenTelemetry.get_tracer_to_use_for_request": _quiet_tracer,
        "OpenTelemetry.set_attributes": _only_own,
        "OpenTelemetry._record_exception_on_span": _only_own,
    },
    _SECOND: {"SpanEmitter.start_span": _no_llm_call},
}

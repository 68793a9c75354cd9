"""One HTTP request to a server that makes LLM calls: the span above the calls, and who asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api
from opentelemetry.trace import SpanKind, Status, StatusCode

from .contexts import current_context
from .invocation import Invocation
from .semconv import gen_ai, http
from .semconv import litellm as names
from .semconv.vocabulary import CALLER, REQUEST
from .telemetry import Layer, span_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from .content import ContentPolicy
    from .providers import Providers
    from .settings import Settings

_CURRENT: Final = context_api.create_key("otel_llm_bridge-request")

_INHERITED: Final = tuple(fact.name for fact in CALLER)


class Request(Invocation):
    """A request while it is served.

    It is not what `invocation.current` finds: the calls below it are calls of their own, not parts of it.
    """

    __slots__ = ()

    key = _CURRENT

    def learn(self, facts: dict[str, Any]) -> None:
        """Take in what is not known yet; the first word counts."""
        for name, value in facts.items():
            if value is not None:
                self.facts.setdefault(name, value)

    def reject(self, stage: str, error: BaseException) -> None:
        """The server itself refuses the request, in ``stage``."""
        if self.finished or not self.once(names.EVENT_REJECTED):
            return
        self.learn({"rejected_at": stage, "error_type": type(error).__qualname__})
        attributes = {names.PROXY_REJECTED_AT: stage, gen_ai.ERROR_TYPE: self.facts["error_type"]}
        status = str(getattr(error, "code", None) or getattr(error, "status_code", ""))
        if status.isdigit():
            attributes[names.HTTP_STATUS] = int(status)
        policy = self.layer.recording.policy
        if policy.on_span:  # a guardrail's text quotes the prompt
            attributes[gen_ai.EXCEPTION_MESSAGE] = policy.text(str(error), self.kept.get("secrets", ()))
        self.event(names.EVENT_REJECTED, attributes)


def current() -> Request | None:
    """The request that the running code belongs to, if it is still served."""
    return _open_request(current_context())


def _open_request(context: context_api.Context) -> Request | None:
    found = context.get(_CURRENT)
    return found if isinstance(found, Request) and not found.finished else None


def inherit(invocation: Invocation) -> None:
    """A call says who asked for it, too: figures by team or key are made from the calls."""
    request = invocation.outside.get(_CURRENT)
    if isinstance(request, Request):
        for name in _INHERITED:
            if name in request.facts:
                invocation.facts.setdefault(name, request.facts[name])


def server_layer(providers: Providers, settings: Settings | None = None, policy: ContentPolicy | None = None) -> Layer:
    """``{method} {route}``, SERVER: nobody else has made a span for the request."""
    return _with_status(Layer(providers, REQUEST, SpanKind.SERVER, _http_name, settings, policy), _http_name)


def inner_layer(providers: Providers, settings: Settings | None = None, policy: ContentPolicy | None = None) -> Layer:
    """``litellm.proxy {route}``, INTERNAL: below the SERVER span of the web framework's instrumentation."""

    def name(facts: dict[str, Any]) -> str:
        return span_name(names.SPAN_PROXY, facts.get("route") or facts["url_path"])

    return _with_status(Layer(providers, REQUEST, SpanKind.INTERNAL, name, settings, policy), name)


def _http_name(facts: dict[str, Any]) -> str:
    method = facts["method"] if facts["method"] != http.OTHER_METHOD else http.OTHER_METHOD_IN_NAME
    # Without a route only the method: a path may hold anything, and a name must not.
    return span_name(method, facts.get("route"))


def _with_status(layer: Layer, name: Callable[[dict[str, Any]], str]) -> Layer:
    """``layer`` whose spans get the name and the status that are known at the end."""

    def at_end(request: Invocation) -> None:
        span = request.span
        if span.is_recording():
            span.update_name(name(request.facts))
            if request.facts.get("status", 0) >= 500:
                # By the HTTP conventions a server's 4xx is the client's fault: its status stays unset.
                request.facts.setdefault("error_type", str(request.facts["status"]))
                span.set_status(Status(StatusCode.ERROR))

    layer.at_end(at_end)
    return layer

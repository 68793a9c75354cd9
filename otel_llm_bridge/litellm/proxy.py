"""The LiteLLM Proxy: one span for each request to an LLM route.

Installed when `litellm.proxy.proxy_server` has been imported; imports none of it itself.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate, trace

from ..contexts import attach, detach
from ..guard import guarded
from ..patching import Target, Undo, apply_all
from ..request import Request, inner_layer, server_layer
from ..semconv import http
from . import access, reading
from . import proxy_stages as stages
from .conversations import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context

    from ..content import ContentPolicy
    from ..patching import Wrapper
    from ..providers import Providers
    from ..settings import Settings

MODULE: Final = "litellm.proxy.proxy_server"
_ROUTES: Final = "litellm.proxy.auth.route_checks"

#: The innermost ASGI application: below all middleware, so that the web framework's own instrumentation
#: has made its span by then; and found by its class, so that a stack that is already built has it too.
_APP: Final = Target(MODULE, "app.router.__call__")


class _Server:
    """Makes a request span around the Proxy's application."""

    def __init__(self, providers: Providers, settings: Settings, policy: ContentPolicy) -> None:
        self._providers, self._policy = providers, policy
        self._layers = {
            "server": server_layer(providers, settings, policy),
            "inner": inner_layer(providers, settings, policy),
        }

    def wrapper(self, _function: Callable[..., Any]) -> Wrapper:
        async def serve(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            router, scope, receive, send = args
            if router is not sys.modules[MODULE].app.router:
                return await wrapped(*args, **kwargs)  # some other application in this process
            if scope["type"] == "lifespan":
                self.get_ready()
            request = self._begin(scope)
            if request is None:
                return await wrapped(*args, **kwargs)
            with request:
                try:
                    await wrapped(router, scope, _seeing_disconnect(request, receive), _seeing_answer(request, send))
                except BaseException:
                    if request.facts.get("client_disconnected"):
                        _end(request, scope)  # leaving is no error
                    raise
                finally:
                    _learn_route(request, scope)

        return serve

    def get_ready(self) -> None:
        """Make the providers now: spans of other instrumentations before the first call need them, too."""
        with guarded("proxy: providers"):
            _ = self._providers.tracer

    def _begin(self, scope: Mapping[str, Any]) -> Request | None:
        if scope["type"] != "http":
            return None
        request = None
        with guarded("proxy: request"):
            if _is_llm_route(scope["path"]):  # not health checks, metrics, the admin's pages
                request = self._open(scope)
        return request

    def _open(self, scope: Mapping[str, Any]) -> Request:
        facts = access.clean(_read_scope(scope))
        outer = trace.get_current_span()
        if outer.get_span_context().is_valid:
            _mask_query(outer, scope)
            request = Request(self._layers["inner"], facts)
        else:
            parent = _context_of(scope)
            token = attach(parent)
            try:
                request = Request(self._layers["server"], facts)
            finally:
                detach(token, parent)
        if self._policy.on_span:  # else no text is recorded that might quote them
            request.kept["secrets"] = _secrets_of(scope)
        return request


def _is_llm_route(path: str) -> bool:
    checks = sys.modules.get(_ROUTES)
    return checks is not None and bool(checks.RouteChecks.is_llm_api_route(route=path))


def _headers(scope: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _context_of(scope: Mapping[str, Any]) -> Context:
    """The Context that the client sent along: ``traceparent``, ``baggage``, what ``OTEL_PROPAGATORS`` names."""
    return propagate.extract(_headers(scope))


def _secrets_of(scope: Mapping[str, Any]) -> tuple[str, ...]:
    """What the client proves itself with, to be taken out of texts that quote it; and LiteLLM's hashes of it."""
    query = dict(urllib.parse.parse_qsl(scope.get("query_string", b"").decode("latin-1")))
    found = secrets_of({"headers": _headers(scope), **query})
    return (*found, *(hashlib.sha256(secret.encode()).hexdigest() for secret in found))


#: Parameters of a query in which clients send the Proxy their key, as those of Google's API do.
_KEY_IN_QUERY: Final = re.compile(r"((?:^|[?&])(?:key|api[-_]?key|(?:access_)?token)=)[^&#]*", re.IGNORECASE)


def _mask_query(span: Any, scope: Mapping[str, Any]) -> None:
    """Take the client's key out of the span of the web framework's instrumentation.

    The only thing that is ever written on a span of somebody else: those instrumentations record the
    query, and do not know that the Proxy takes a key in it.
    """
    if _KEY_IN_QUERY.search(scope.get("query_string", b"").decode("latin-1")):
        recorded = getattr(span, "attributes", None) or {}
        for name in http.QUERY_ATTRIBUTES:
            if isinstance(recorded.get(name), str):
                span.set_attribute(name, _KEY_IN_QUERY.sub(r"\1REDACTED", recorded[name]))


def _read_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    method = scope["method"].upper()
    host, port = scope.get("server") or (None, None)
    named = next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"), "")
    if named:
        host, port = reading.server_of(f"{scope.get('scheme', 'http')}://{named}")
    return {
        "method": method if method in http.METHODS else http.OTHER_METHOD,
        "url_path": scope["path"],
        "url_scheme": scope.get("scheme"),
        "server_address": host,
        "server_port": port,
        "protocol_version": scope.get("http_version"),
    }


def _seeing_answer(request: Request, send: Any) -> Any:
    async def see(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            request.learn({"status": message["status"]})
            for name, value in message.get("headers", ()):
                if name == b"x-litellm-call-id":
                    request.learn({"call_id": value.decode("latin-1")})
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            request.once("answered")
        await send(message)

    return see


def _seeing_disconnect(request: Request, receive: Any) -> Any:
    async def see() -> Any:
        message = await receive()
        # A server also says so when the answer is complete; then nobody has left early.
        if message["type"] == "http.disconnect" and request.once("answered"):
            request.learn({"client_disconnected": True})
        return message

    return see


def _learn_route(request: Request, scope: Mapping[str, Any]) -> None:
    request.learn({"route": getattr(scope.get("route"), "path", None)})


def _end(request: Request, scope: Mapping[str, Any]) -> None:
    _learn_route(request, scope)
    request.finish()


def install(providers: Providers, settings: Settings, policy: ContentPolicy) -> list[Undo]:
    """Wrap the Proxy's application and its stages. A worker whose server runs already is served at once.

    Args:
        providers: the tracer of the request spans.
        settings: their vocabulary and the allow-lists.
        policy: what is recorded of the texts of refusals and exceptions.

    Returns:
        The way back, for `patching.restore`.
    """
    points: list[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]] = [
        (_APP, _Server(providers, settings, policy).wrapper),
        *((stage.target, functools.partial(stages.wrapper, stage)) for stage in stages.STAGES),
    ]
    return apply_all(points)

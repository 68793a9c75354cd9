"""The LiteLLM Proxy: one span for each request to an LLM route, and where the Proxy itself refuses.

Installed when `litellm.proxy.proxy_server` has been imported; imports none of it itself.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import propagate, trace

from ..guard import guarded, logger
from ..invocation import detach
from ..patching import Patch, Target, apply
from ..request import Request, current, inner_layer, server_layer
from ..semconv import http
from . import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context

    from ..patching import Wrapper
    from ..providers import Providers

MODULE: Final = "litellm.proxy.proxy_server"
_ROUTES: Final = "litellm.proxy.auth.route_checks"
_LOGGING: Final = "litellm.proxy.utils"

#: The innermost ASGI application: below all middleware, so that the web framework's own instrumentation
#: has made its span by then; and found by its class, so that a stack that is already built has it too.
_APP: Final = Target(MODULE, "app.router.__call__")


# --- the request ---------------------------------------------------------------------------------------


class _Server:
    """Makes a request span around the Proxy's application."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._layers = {True: server_layer(providers), False: inner_layer(providers)}

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
        facts = reading.clean(_read_scope(scope))
        outer = trace.get_current_span()
        if outer.get_span_context().is_valid:
            _mask_query(outer, scope)
            return Request(self._layers[False], facts)
        parent = _context_of(scope)
        token = context_api.attach(parent)
        try:
            return Request(self._layers[True], facts)
        finally:
            detach(token, parent)


def _is_llm_route(path: str) -> bool:
    checks = sys.modules.get(_ROUTES)
    return checks is not None and bool(checks.RouteChecks.is_llm_api_route(route=path))


def _context_of(scope: Mapping[str, Any]) -> Context:
    """The Context that the client sent along: ``traceparent``, ``baggage``, what ``OTEL_PROPAGATORS`` names."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return propagate.extract(headers)


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


# --- who asks, and where the Proxy refuses -----------------------------------------------------------------

#: Fact -> attribute of LiteLLM's `UserAPIKeyAuth`. An allow-list: the object holds the key, too.
_CALLER: Final = {
    "key_alias": "key_alias",
    "team_id": "team_id",
    "team_alias": "team_alias",
    "user_id": "user_id",
    "organization_id": "org_id",
    "end_user": "end_user_id",
}


def _learn_caller(request: Request, auth: Any) -> None:
    request.learn(reading.clean({fact: getattr(auth, name, None) for fact, name in _CALLER.items()}))


def _authenticated(request: Request, told: Mapping[str, Any]) -> None:
    _learn_caller(request, told.get("result"))


def _checked(request: Request, told: Mapping[str, Any]) -> None:
    data = told.get("data")
    tags = reading.first(data, ("metadata.tags", "litellm_metadata.tags"))
    request.learn(reading.clean({
        "model_group": reading.get(data, "model"),
        "tags": [str(tag) for tag in tags] if isinstance(tags, (list, tuple)) else None,
    }))  # fmt: skip


def _failed(request: Request, told: Mapping[str, Any]) -> None:
    """``post_call_failure_hook``: it has the exception as it was, and whose key it is as far as that is known."""
    error, kind = told.get("original_exception"), told.get("error_type")
    _learn_caller(request, told.get("user_api_key_dict"))
    request.learn(reading.clean({
        "model_group": reading.get(told.get("request_data"), "model"),
        "error_type": type(error).__qualname__,
        "proxy_error": _word_of(error) or str(getattr(kind, "value", kind) or "") or None,
    }))  # fmt: skip


def _word_of(error: Any) -> str | None:
    """LiteLLM's own word for the kind of an error: ``type`` of a `ProxyException`; a free text is none."""
    kind = getattr(error, "type", None)
    word = getattr(kind, "value", kind)
    return word if isinstance(word, str) and word.isidentifier() and word != "None" else None


class Stage(NamedTuple):
    """One function in which the Proxy may refuse a request.

    Attributes:
        name: value of ``litellm.proxy.rejected_at``; ``None``: it does not refuse, it is told.
        see: learns from the arguments by name; after success also from ``result``.
    """

    target: Target
    name: str | None
    see: Callable[[Request, Mapping[str, Any]], None] | None


STAGES: Final = (
    Stage(Target("litellm.proxy.auth.user_api_key_auth", "user_api_key_auth"), "authentication", _authenticated),
    Stage(Target(_LOGGING, "ProxyLogging.pre_call_hook"), "pre_call", _checked),
    Stage(Target(_LOGGING, "ProxyLogging.during_call_hook"), "during_call", None),
    Stage(Target(_LOGGING, "ProxyLogging.post_call_success_hook"), "post_call", None),
    Stage(Target(_LOGGING, "ProxyLogging.post_call_failure_hook"), None, _failed),
)


def _stage_wrapper(stage: Stage, function: Callable[..., Any]) -> Wrapper:
    parameters = tuple(inspect.signature(function).parameters)

    def see(request: Request, args: tuple[Any, ...], kwargs: dict[str, Any], **more: Any) -> None:
        if stage.see is not None:
            with guarded(f"proxy: {stage.target}"):
                stage.see(request, {**dict(zip(parameters, args, strict=False)), **kwargs, **more})

    async def watch(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        request = current()
        if request is None:
            return await wrapped(*args, **kwargs)
        see(request, args, kwargs)
        try:
            result = await wrapped(*args, **kwargs)
        except Exception as error:
            if stage.name is not None:
                with guarded(f"proxy: {stage.target}"):
                    request.learn({"proxy_error": _word_of(error)})
                    request.reject(stage.name, error)
            raise
        see(request, args, kwargs, result=result)
        return result

    return watch


def install(providers: Providers) -> list[Patch]:
    """Wrap the Proxy's application and its stages. A worker whose server runs already is served at once.

    Returns:
        The patches, for `patching.restore`.
    """
    server = _Server(providers)
    points: list[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]] = [
        (_APP, server.wrapper),
        *((stage.target, functools.partial(_stage_wrapper, stage)) for stage in STAGES),
    ]
    patches: list[Patch] = []
    for target, make_wrapper in points:
        try:
            patch = apply(target, make_wrapper)
        except (ImportError, AttributeError):
            logger.debug("%s is not in this version of LiteLLM", target)
            continue
        if patch is not None:
            patches.append(patch)
    return patches

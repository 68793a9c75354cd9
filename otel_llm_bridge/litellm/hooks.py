"""LiteLLM's lifecycle hooks, seen where LiteLLM dispatches them. They annotate; they never own a span."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import request
from ..guard import fault
from ..invocation import Invocation, current
from ..patching import Target
from ..semconv import gen_ai
from ..semconv import litellm as names
from . import access, caching, reading
from .callback_facts import IS_TWIN
from .telling import ASKED, STOP

if TYPE_CHECKING:
    from ..patching import Wrapper

_LOGGING: Final = "litellm.litellm_core_utils.litellm_logging"

#: ``(invocation, arguments by name) -> the event's attributes``; ``None``: no event.
See = Callable[[Invocation, dict[str, Any]], "dict[str, Any] | None"]


_CHUNKS: Final = frozenset({"NoneType", "ModelResponseStream"})


def _bind(invocation: Invocation, told: dict[str, Any]) -> None:
    """``Logging.__init__``: LiteLLM's own record of the call that begins. The first one is this call's."""
    if not invocation.finished and not invocation.bound:
        invocation.bound = True
        invocation.kept["logging"] = told["self"]
        invocation.facts.setdefault("call_id", told["self"].litellm_call_id)


def _request_goes_out(invocation: Invocation, told: dict[str, Any]) -> dict[str, Any]:
    base = access.get(told.get("additional_args"), "api_base")
    provider = access.get(told["self"], "model_call_details.custom_llm_provider")
    if isinstance(provider, str) and provider:
        invocation.facts["provider"] = gen_ai.PROVIDERS.get(provider, provider)
    if not invocation.finished:
        if isinstance(base, str):
            host, port = reading.server_of(base)
            if host is not None:
                invocation.facts["server_address"], invocation.facts["server_port"] = host, port
        invocation.kept[ASKED] = True
    return {}


def _answer_came(invocation: Invocation, told: dict[str, Any]) -> dict[str, Any] | None:
    # LiteLLM also calls it for what has yet to be awaited or read, for the text of an error, and twice for one answer.
    answer, error = told.get("original_response"), sys.exc_info()[1]
    if answer.__class__ is not str and (inspect.isawaitable(answer) or isinstance(answer, (Generator, AsyncGenerator))):
        return None
    if error is not None and answer == str(error):
        return None
    return {} if invocation.kept.pop(ASKED, False) else None


def _failure(invocation: Invocation, told: dict[str, Any]) -> dict[str, Any] | None:
    if not invocation.once(names.EVENT_FAILURE):
        return None  # LiteLLM runs its sync and its async handler for the same failure
    error = told.get("exception")
    return {gen_ai.ERROR_TYPE: type(error).__qualname__} if isinstance(error, BaseException) else {}


def _succeeded(invocation: Invocation, told: dict[str, Any]) -> dict[str, Any] | None:
    # LiteLLM also calls its success handlers for single chunks, and both of them for one success.
    if type(told.get("result")).__name__ in _CHUNKS or not invocation.once(names.EVENT_SUCCESS):
        return None
    return {}


def _rebuilt(invocation: Invocation, told: dict[str, Any]) -> None:
    """``stream_chunk_builder``: LiteLLM has put the chunks together; its usage and cost come from that."""
    if not invocation.finished:
        invocation.kept["rebuilt"], invocation.kept["chunks"] = told["result"], told["chunks"]


def _counted(invocation: Invocation, _told: dict[str, Any]) -> None:
    """``_estimate_usage_safely``: the provider has told no usage, and LiteLLM puts its own count in that place."""
    invocation.kept["counted"] = True


def _service(_invocation: Invocation, told: dict[str, Any]) -> dict[str, Any] | None:
    service = told.get("service")
    if getattr(service, "value", service) == "self":
        return None  # LiteLLM's timing of its own call: the span says that
    attributes = {
        names.EVENT_SERVICE_NAME: str(getattr(service, "value", service)),
        names.EVENT_CALL_SUCCEEDED: "error" not in told,
    }
    if isinstance(told.get("duration"), (int, float)):
        attributes[names.EVENT_SERVICE_DURATION] = float(told["duration"])
    if isinstance(told.get("error"), BaseException):
        attributes[gen_ai.ERROR_TYPE] = type(told["error"]).__qualname__
    return attributes


def _guardrail(_invocation: Invocation, told: dict[str, Any]) -> dict[str, Any]:
    return {
        names.EVENT_GUARDRAIL_NAME: str(getattr(told.get("self"), "guardrail_name", None) or "unknown"),
        names.EVENT_GUARDRAIL_STATUS: str(told.get("guardrail_status") or "unknown"),
    }


def _client_retry(_invocation: Invocation, told: dict[str, Any]) -> dict[str, Any]:
    attributes = {names.EVENT_CLIENT_RETRY_NUMBER: int(told["retries_taken"]) + 1}
    status = getattr(told.get("response"), "status_code", None)
    return attributes if status is None else {**attributes, names.HTTP_STATUS: int(status)}


class HookPoint(NamedTuple):
    """One place where LiteLLM dispatches a hook.

    Attributes:
        event: the event's name, or ``None`` where only the record learns something.
        after: it is seen after the call, with its ``result`` among the arguments.
        request: where no call is running yet, or none any longer, the Proxy's request sees it.
    """

    target: Target
    event: str | None
    see: See | Callable[[Invocation, dict[str, Any]], None]
    after: bool = False
    request: bool = False


_OPENAI: Final = "openai._base_client"
_SERVICE_LOGGING: Final = "litellm._service_logger"

POINTS: Final = (
    HookPoint(Target(_LOGGING, "Logging.__init__"), None, _bind, after=True),
    HookPoint(Target(_LOGGING, "Logging.pre_call"), names.EVENT_PRE_CALL, _request_goes_out),
    HookPoint(Target(_LOGGING, "Logging.post_call"), names.EVENT_POST_CALL, _answer_came, after=True),
    HookPoint(Target(_LOGGING, "Logging.success_handler"), names.EVENT_SUCCESS, _succeeded),
    HookPoint(Target(_LOGGING, "Logging.async_success_handler"), names.EVENT_SUCCESS, _succeeded),
    HookPoint(Target(_LOGGING, "Logging.failure_handler"), names.EVENT_FAILURE, _failure),
    HookPoint(Target(_LOGGING, "Logging.async_failure_handler"), names.EVENT_FAILURE, _failure),
    HookPoint(caching.HIT, names.EVENT_CACHE_HIT, caching.saw_hit),
    HookPoint(caching.PARTLY, None, caching.saw_part),
    HookPoint(Target("litellm.main", "stream_chunk_builder"), None, _rebuilt, after=True),
    HookPoint(Target("litellm.responses.streaming_iterator", "_estimate_usage_safely"), None, _counted),
    HookPoint(Target(_SERVICE_LOGGING, "ServiceLogging.async_service_success_hook"), names.EVENT_SERVICE, _service),
    HookPoint(Target(_SERVICE_LOGGING, "ServiceLogging.async_service_failure_hook"), names.EVENT_SERVICE, _service),
    HookPoint(Target(_OPENAI, "SyncAPIClient._sleep_for_retry"), names.EVENT_CLIENT_RETRY, _client_retry),
    HookPoint(Target(_OPENAI, "AsyncAPIClient._sleep_for_retry"), names.EVENT_CLIENT_RETRY, _client_retry),
    HookPoint(
        Target(
            "litellm.integrations.custom_guardrail",
            "CustomGuardrail.add_standard_logging_guardrail_information_to_request_data",
        ),
        names.EVENT_GUARDRAIL,
        _guardrail,
        request=True,
    ),
)


def wrapper_for(point: HookPoint, function: Callable[..., Any]) -> Wrapper:
    """The wrapper of one hook point: it lets the invocation of the running Context see the call."""
    parameters = tuple(inspect.signature(function).parameters)
    where = str(point.target)

    def see(args: tuple[Any, ...], kwargs: dict[str, Any], **more: Any) -> Exception | None:
        try:
            invocation = current()
            if invocation is None and point.request:
                invocation = request.current()
            if invocation is None:
                return None
            told = {**dict(zip(parameters, args, strict=False)), **kwargs, **more}
            if hasattr(told.get("self"), IS_TWIN):
                return None  # a copy that a callback's data is made with: nothing happens to the call
            attributes = point.see(invocation, told)
            if point.event is not None and attributes is not None:
                invocation.event(point.event, attributes)
            stop: Exception | None = invocation.kept.pop(STOP, None)
        except Exception as error:
            fault(where, error)
            return None
        return stop

    def before(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if (stop := see(args, kwargs)) is not None:
            raise stop  # a callback's, not ours
        return wrapped(*args, **kwargs)

    def after(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        see(args, kwargs, result=result)
        return result

    async def abefore(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        see(args, kwargs)
        return await wrapped(*args, **kwargs)

    if inspect.iscoroutinefunction(function):
        return abefore
    return after if point.after else before

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

#: ``(invocation, …) -> the event's attributes``; ``None``: no event. Its other parameters have the names of those of LiteLLM's
#: function that it looks at, ``self`` among them; what the caller did not give is ``None``.
See = Callable[..., "dict[str, Any] | None"]


_CHUNKS: Final = frozenset({"NoneType", "ModelResponseStream"})


def _bind(invocation: Invocation, self: Any) -> None:
    """``Logging.__init__``: LiteLLM's own record of the call that begins. The first one is this call's."""
    if not invocation.finished and not invocation.bound:
        invocation.bound = True
        invocation.kept["logging"] = self
        invocation.put_off(dict.setdefault, "call_id", self.litellm_call_id)


def _request_goes_out(invocation: Invocation, self: Any, additional_args: Any) -> dict[str, Any]:
    if not invocation.finished:
        provider = access.get(getattr(self, "model_call_details", None), "custom_llm_provider")
        invocation.put_off(_went_out, provider, access.get(additional_args, "api_base"))
        invocation.kept[ASKED] = True
    return {}


def _went_out(facts: dict[str, Any], provider: Any, base: Any) -> None:
    if isinstance(provider, str) and provider:
        facts["provider"] = gen_ai.PROVIDERS.get(provider, provider)
    host, port = reading.server_of(base) if isinstance(base, str) else (None, None)
    if host is not None:
        facts["server_address"], facts["server_port"] = host, port


def _answer_came(invocation: Invocation, original_response: Any) -> dict[str, Any] | None:
    # LiteLLM also calls it for what has yet to be awaited or read, for the text of an error, and twice for one answer.
    answer, error = original_response, sys.exc_info()[1]
    if answer.__class__ is not str and (inspect.isawaitable(answer) or isinstance(answer, (Generator, AsyncGenerator))):
        return None
    if error is not None and answer == str(error):
        return None
    return {} if invocation.kept.pop(ASKED, False) else None


def _failure(invocation: Invocation, exception: Any) -> dict[str, Any] | None:
    if not invocation.once(names.EVENT_FAILURE):
        return None  # LiteLLM runs its sync and its async handler for the same failure
    return {gen_ai.ERROR_TYPE: type(exception).__qualname__} if isinstance(exception, BaseException) else {}


def _succeeded(invocation: Invocation, result: Any) -> dict[str, Any] | None:
    # LiteLLM also calls its success handlers for single chunks, and both of them for one success.
    if type(result).__name__ in _CHUNKS or not invocation.once(names.EVENT_SUCCESS):
        return None
    return {}


def _rebuilt(invocation: Invocation, chunks: Any, result: Any) -> None:
    """``stream_chunk_builder``: LiteLLM has put the chunks together; its usage and cost come from that."""
    if not invocation.finished:
        invocation.kept["rebuilt"], invocation.kept["chunks"] = result, chunks


def _counted(invocation: Invocation) -> None:
    """``_estimate_usage_safely``: the provider has told no usage, and LiteLLM puts its own count in that place."""
    invocation.kept["counted"] = True


def _service(_invocation: Invocation, service: Any, duration: Any, error: Any) -> dict[str, Any] | None:
    if getattr(service, "value", service) == "self":
        return None  # LiteLLM's timing of its own call: the span says that
    attributes = {
        names.EVENT_SERVICE_NAME: str(getattr(service, "value", service)),
        names.EVENT_CALL_SUCCEEDED: error is None,
    }
    if isinstance(duration, (int, float)):
        attributes[names.EVENT_SERVICE_DURATION] = float(duration)
    if isinstance(error, BaseException):
        attributes[gen_ai.ERROR_TYPE] = type(error).__qualname__
    return attributes


def _guardrail(_invocation: Invocation, self: Any, guardrail_status: Any) -> dict[str, Any]:
    return {
        names.EVENT_GUARDRAIL_NAME: str(getattr(self, "guardrail_name", None) or "unknown"),
        names.EVENT_GUARDRAIL_STATUS: str(guardrail_status or "unknown"),
    }


def _client_retry(_invocation: Invocation, retries_taken: Any, response: Any) -> dict[str, Any]:
    attributes = {names.EVENT_CLIENT_RETRY_NUMBER: int(retries_taken) + 1}
    status = getattr(response, "status_code", None)
    return attributes if status is None else {**attributes, names.HTTP_STATUS: int(status)}


class HookPoint(NamedTuple):
    """One place where LiteLLM dispatches a hook.

    Attributes:
        event: the event's name, or ``None`` where only the record learns something.
        see: what looks at it.
        after: it is seen after the call; then ``result`` is what that returned.
        request: where no call is running yet, or none any longer, the Proxy's request sees it.
    """

    target: Target
    event: str | None
    see: See | Callable[..., None]
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
    parameters = list(inspect.signature(function).parameters)
    is_method = parameters[:1] == ["self"]
    _, *looks_at = inspect.signature(point.see).parameters
    returns = point.after and "result" in looks_at
    if returns:
        looks_at.remove("result")
    places = [(parameters.index(name) if name in parameters else sys.maxsize, name) for name in looks_at]
    where = str(point.target)

    def see(args: tuple[Any, ...], kwargs: dict[str, Any], *returned: Any) -> BaseException | None:
        try:
            invocation = current()
            if invocation is None and point.request:
                invocation = request.current()
            if invocation is None or (is_method and hasattr(args[0], IS_TWIN)):
                return None  # a twin is a copy that a callback's data is made with: nothing happens to the call
            given = len(args)
            seen = [args[place] if place < given else kwargs.get(name) for place, name in places]
            attributes = point.see(invocation, *seen, *returned)
            if point.event is not None and attributes is not None:
                invocation.layer.event(invocation, point.event, attributes)
            stop = invocation.kept.pop(STOP, None)
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
        see(args, kwargs, *((result,) if returns else ()))
        return result

    async def abefore(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        see(args, kwargs)
        return await wrapped(*args, **kwargs)

    if inspect.iscoroutinefunction(function):
        return abefore
    return after if point.after else before

"""The Router: one logical call over its attempts. The wrapped methods exist alike in all supported versions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import wrapt

from ..contexts import attach, current_context, detach
from ..drivers import driver_for
from ..guard import guarded, never_raises
from ..invocation import current
from ..logical import LogicalCall
from ..patching import Target
from ..semconv import litellm as names
from ..threads import wrap_executor
from .calls import with_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..drivers import Begun
    from ..patching import Wrapper
    from .calls import Calls


def _strategy(router: Any) -> str:
    settings = getattr(router, "settings", None)  # since LiteLLM 1.109, which warns of whoever reads the attribute
    return str(getattr(settings() if callable(settings) else router, "routing_strategy", ""))


def _logical(calls: Calls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun | None:
    """``async_function_with_fallbacks(self, *args, **kwargs)``: the request itself, or one fallback of it."""
    outer = current()
    group = kwargs.get("model")
    if isinstance(outer, LogicalCall) and not outer.finished and kwargs.get("fallback_depth"):
        outer.fall_back(group)
        return None
    return calls.begin_logical(group, _strategy(args[0]), kwargs, is_async=True)


def _fallbacks(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    return driver_for(function, functools.partial(_logical, calls))


def _attempt(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    """``make_call(self, original_function, *args, **kwargs)``: one attempt."""

    async def make_call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = _planned(kwargs)
        if context is None:
            return await wrapped(*args, **kwargs)
        token = attach(context)
        try:
            return await wrapped(*args, **kwargs)
        finally:
            detach(token, context)

    return make_call


@never_raises
def _planned(kwargs: dict[str, Any]) -> Any:
    outer = current()
    if not isinstance(outer, LogicalCall) or outer.finished:
        return None
    return with_plan(outer.plan(kwargs.get("model")))


def _single(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    """``_generic_api_call_with_fallbacks(self, model, original_function, **kwargs)``: sync, one attempt only."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun | None:
        group = kwargs.get("model") or (args[1] if len(args) > 1 else None)
        return calls.begin_logical(group, _strategy(args[0]), kwargs, is_async=False)

    def planned(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = _planned(kwargs)
        if context is None:
            return wrapped(*args, **kwargs)
        token = attach(context)
        try:
            return wrapped(*args, **kwargs)
        finally:
            detach(token, context)

    drive = driver_for(function, begin)

    def around(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The logical call around its one attempt."""
        return drive(wrapt.FunctionWrapper(wrapped, planned), instance, args, kwargs)

    return around


def _same_context(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    """``run_async_function``: inside a running loop LiteLLM runs the coroutine in a fresh thread.

    The thread does not inherit the caller's Context; the coroutine is given it.
    """

    def run(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        caller = current_context()
        if not args or not caller:
            return wrapped(*args, **kwargs)
        function, *rest = args

        @functools.wraps(function)
        async def in_callers_context(*args: Any, **kwargs: Any) -> Any:
            token = attach(caller)
            try:
                return await function(*args, **kwargs)
            finally:
                detach(token, caller)

        return wrapped(in_callers_context, *rest, **kwargs)

    return run


def _cooldown(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    """``router_cooldown_event_callback(router, deployment_id, exception_status, cooldown_time)``."""

    async def cooldown(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with guarded("cooldown"):
            told = {**dict(zip(("router", "deployment_id", "exception_status", "cooldown_time"), args, strict=False)), **kwargs}
            invocation = current()
            while invocation is not None and not isinstance(invocation, LogicalCall):
                invocation = invocation.parent
            seconds = float(told.get("cooldown_time") or 0.0)
            if invocation is not None and invocation.cools(str(told.get("deployment_id")), seconds):
                status = told.get("exception_status")
                attributes = {
                    names.DEPLOYMENT_ID: str(told.get("deployment_id")),
                    names.EVENT_COOLDOWN_TIME: seconds,
                }
                if str(status).isdigit():
                    attributes[names.HTTP_STATUS] = int(str(status))
                invocation.event(names.EVENT_COOLDOWN, attributes)
        return await wrapped(*args, **kwargs)

    return cooldown


def _carrying(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    """``batch_completion`` makes its calls in a pool of its own, whose threads do not inherit the caller's Context."""

    def make_pool(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return wrap_executor(wrapped(*args, **kwargs))

    return make_pool


#: target -> its wrapper.
POINTS: Final = (
    (Target("litellm.router", "Router.async_function_with_fallbacks"), _fallbacks),
    (Target("litellm.router", "Router.make_call"), _attempt),
    (Target("litellm.router", "Router._generic_api_call_with_fallbacks"), _single),
    (Target("litellm.litellm_core_utils.asyncify", "run_async_function"), _same_context),
    (Target("litellm.batch_completion.main", "ThreadPoolExecutor"), _carrying),
    (Target("litellm.router_utils.cooldown_callbacks", "router_cooldown_event_callback"), _cooldown),
)

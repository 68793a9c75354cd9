"""LiteLLM's own integrations, registered by name: found when they are first to be called.

Most of them collect events, and send them every few seconds from the event loop that they were made on, with a
client that belongs to it. So they are made, called and made to send on the bridge's own loop, which outlives all
others, whichever mode they are registered with; a drain, and the end of the process, have them send what they hold.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from typing import Any, Final

from ..callbacks import dispatcher
from ..callbacks.points import Event, has_hook
from . import callback_facts

#: Integrations that LiteLLM has no class for, only a branch in its handlers, and what must be installed. LiteLLM
#: itself would install some of these with pip, in the middle of a call.
WITHOUT_CLASS: Final = {
    "athina": None, "greenscale": None, "helicone": None, "lunary": "lunary", "promptlayer": None, "s3": "boto3",
    "sentry": "sentry_sdk", "supabase": "supabase", "traceloop": "traceloop", "wandb": "wandb",
}  # fmt: skip

_HOOKS: Final = {
    "success": ("log_success_event", "async_log_success_event", "success_handler"),
    "failure": ("log_failure_event", "async_log_failure_event", "failure_handler"),
}

#: Those that have been asked for, by name.
_known: dict[str, Integration] = {}


class Integration:
    """One integration, as a callback."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._logger: Any = None
        self._sending = dispatcher.registry.make(_send, on="success", mode="background")
        self._sending.name = f"{name}: sending"

    async def async_log_success_event(self, event: Event) -> None:
        """See LiteLLM's ``CustomLogger``.

        Raises:
            LookupError: LiteLLM has no such integration, or it cannot be made; LiteLLM's log says why.
        """
        await self._at_home(event)

    async def async_log_failure_event(self, event: Event) -> None:
        """The same."""
        await self._at_home(event)

    async def _at_home(self, event: Event) -> None:
        home = dispatcher.background().loop
        if asyncio.get_running_loop() is home:
            await self._log(event)
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._log(event), home))

    async def _log(self, event: Event) -> None:
        if self._logger is None:
            self._logger = find(self.name)
        sync, asynchronous, _handler = _HOOKS[event.point]
        facts = {name: getattr(event, name) for name in ("kwargs", "response_obj", "start_time", "end_time")}
        if isinstance(self._logger, WithoutClass):
            await dispatcher.workers.run(lambda: self._logger.log(event))
        elif has_hook(self._logger, asynchronous):
            await getattr(self._logger, asynchronous)(**facts)
        elif has_hook(self._logger, sync):
            await dispatcher.workers.run(lambda: getattr(self._logger, sync)(**facts))

    def send(self) -> None:
        """Have it send what it has collected."""
        if collected(self._logger):
            dispatcher.adopt(self._sending, self._logger.flush_queue())

    def forget(self) -> None:
        """In a forked child: what it has collected is the parent's to send, and so are its connections."""
        from litellm.litellm_core_utils import litellm_logging, logging_callback_manager

        logger, self._logger = self._logger, None
        litellm_logging._in_memory_loggers[:] = [one for one in litellm_logging._in_memory_loggers if one is not logger]
        getattr(logging_callback_manager, "_generic_api_logger_cache", {}).pop(self.name, None)


class WithoutClass:
    """An integration that is a branch in LiteLLM's handlers: the handler is run for it alone."""

    def __init__(self, name: str) -> None:
        from litellm.litellm_core_utils import litellm_logging

        self._name = name
        litellm_logging.set_callbacks([name])

    def log(self, event: Event) -> None:
        """Run the handler on a copy of LiteLLM's record, so that it counts for nothing else."""
        twin = callback_facts.twin_of(event.logging)
        twin.get_combined_callback_list = lambda *_args, **_kwargs: [self._name]
        twin.should_run_callback = lambda *_args, **_kwargs: True
        if event.point == "success":
            twin.success_handler(event.response_obj, event.start_time, event.end_time, event.kwargs.get("cache_hit"))
        else:
            twin.failure_handler(event.kwargs["exception"], event.kwargs["traceback_exception"], event.start_time, event.end_time)


def integration(name: str) -> Integration:
    """The callback behind the name; whether LiteLLM knows it is found out when it is first to be called."""
    return _known.setdefault(name, Integration(name))


def find(name: str) -> Any:
    """LiteLLM's logger object of that name; made on the running loop.

    Raises:
        LookupError: there is none.
    """
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.litellm_core_utils import litellm_logging
    from litellm.litellm_core_utils.logging_callback_manager import LoggingCallbackManager

    found: Any = None
    if name in litellm._known_custom_logger_compatible_callbacks:
        found = litellm_logging._init_custom_logger_compatible_class(name, internal_usage_cache=None, llm_router=None)  # type: ignore[arg-type]
    elif name in WITHOUT_CLASS:
        needs = WITHOUT_CLASS[name]
        if needs is not None and importlib.util.find_spec(needs) is None:
            raise LookupError(f"LiteLLM's integration {name!r} needs the package {needs!r}")
        found = WithoutClass(name)
    else:  # an endpoint of `litellm.callback_settings`, or of LiteLLM's list of endpoints
        make = getattr(LoggingCallbackManager, "_add_custom_callback_generic_api_str", None)
        found = make(name) if make is not None else None
    # Where its package is missing LiteLLM makes an object without a single hook, and says nothing.
    if found is None or isinstance(found, str) or type(found) is CustomLogger:
        raise LookupError(f"LiteLLM has no integration {name!r}, or it cannot be made")
    return found


def collected(logger: Any) -> bool:
    """Whether ``logger`` collects events to send, and holds some."""
    return bool(getattr(logger, "log_queue", None)) and inspect.iscoroutinefunction(getattr(logger, "flush_queue", None))


def send_all() -> None:
    """Have every integration send what it has collected."""
    for one in list(_known.values()):
        one.send()


def after_fork_in_child() -> None:
    """Every integration is made anew."""
    for one in _known.values():
        one.forget()


async def _send(event: Event) -> None:
    await event.details["coroutine"]

"""Calls of which LiteLLM tells its callbacks nothing: sync ones, when the callback is async; interrupted ones.

* A sync call fires no async callback. Here an async function, or a logger with only the async method, is given
  the call on our own loop, after LiteLLM's sync handler.
* A call that is cancelled, or interrupted by Ctrl-C or ``sys.exit``, is reported through the failure callbacks,
  with that exception.
* A stream that is left early is reported through the success callbacks, with the answer as far as it was read
  and ``litellm_bridge_stream_outcome`` in ``kwargs``; through the failure callbacks when nothing was read.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..callbacks import dispatcher
from ..callbacks.points import has_hook
from ..patching import Target, Undo
from . import callback_facts
from .rescue import call_after, own

_LOGGING: Final = "litellm.litellm_core_utils.litellm_logging"

#: Sync handler -> the async one, the hooks of a logger object, and where LiteLLM keeps the async callbacks.
_HANDLERS: Final = {
    "success_handler": (
        "async_success_handler", "log_success_event", "async_log_success_event",
        "dynamic_async_success_callbacks", "_async_success_callback",
    ),
    "failure_handler": (
        "async_failure_handler", "log_failure_event", "async_log_failure_event",
        "dynamic_async_failure_callbacks", "_async_failure_callback",
    ),
}  # fmt: skip

#: Once for each call and handler: LiteLLM runs its handlers more than once for some calls.
_DONE: Final = "_otel_llm_bridge_rescued"


def install() -> list[Undo]:
    """Rescue such calls from now on. LiteLLM is loaded."""
    wrapped = [call_after(Target(_LOGGING, f"Logging.{name}"), functools.partial(_run_async_only, name)) for name in _HANDLERS]
    return [undo for undo in wrapped if undo]


def _run_async_only(name: str, _result: Any, logging: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    callbacks = _async_only(name, logging)
    if not callbacks or hasattr(logging, callback_facts.IS_TWIN) or not _is_sync(logging):
        return
    handler = _HANDLERS[name][0]
    if name == "success_handler" and logging.stream is True:
        # Called for each chunk: only the whole answer counts.
        answer = logging.model_call_details.get("complete_streaming_response")
        if answer is None:
            return
        args, kwargs = (answer, *args[1:]), {**kwargs, **({"result": answer} if "result" in kwargs else {})}
    if not _first_time(logging, name):
        return
    twin = callback_facts.twin_of(logging)
    twin.get_combined_callback_list = lambda *_args, **_kwargs: callbacks
    own().run(getattr(twin, handler)(*args, **kwargs))


def _is_sync(logging: Any) -> bool:
    # LiteLLM's own test; older versions have it written out in several places, with fewer names.
    params = logging.model_call_details.get("litellm_params") or {}
    asks = getattr(logging, "is_sync_litellm_request", None)
    if asks is not None:
        return bool(asks(params)) and not str(logging.call_type).startswith("a")
    return not any(value is True for key, value in params.items() if key in _ASYNC_FLAGS) and not str(logging.call_type).startswith("a")


_ASYNC_FLAGS: Final = frozenset({"acompletion", "aembedding", "aresponses", "atext_completion", "aimage_generation", "atranscription"})


def _async_only(name: str, logging: Any) -> list[Any]:
    """The callbacks that have an async form and no sync one."""
    _handler, sync_hook, async_hook, dynamic, registered = _HANDLERS[name]
    given, everywhere = getattr(logging, dynamic, None), getattr(sys.modules["litellm"], registered)
    if not (given or everywhere):
        return []
    callbacks = [*(given or ()), *everywhere]
    from litellm.integrations.custom_logger import CustomLogger

    found = []
    for callback in dict.fromkeys(callbacks):
        if isinstance(callback, CustomLogger):
            if has_hook(callback, async_hook) and not has_hook(callback, sync_hook):
                found.append(callback)
        elif asyncio.iscoroutinefunction(callback) and not str(getattr(callback, "__module__", "")).startswith("litellm."):
            found.append(callback)
    return found


def _first_time(logging: Any, what: str) -> bool:
    done: set[str] = logging.__dict__.setdefault(_DONE, set())
    if what in done:
        return False
    done.add(what)
    return True


def interrupted(logging: Any, error: BaseException) -> None:
    """The call was cancelled, or ended by Ctrl-C or ``sys.exit``: LiteLLM has told its callbacks nothing."""
    if _heard(logging, "failure") and _untold(logging) and _first_time(logging, "interrupted"):
        own().run(_failed(logging, error, callback_facts.text_of(error)))


def stream_left(logging: Any, answer: Callable[[], Any], outcome: str, error: BaseException | None) -> None:
    """A stream was not read to its end; ``outcome`` says how it ended.

    Args:
        logging: LiteLLM's ``Logging`` object of the call.
        outcome: how the stream ended.
        answer: puts together what was read of it, as one answer; or else
        error: why there is nothing.
    """
    if not (_heard(logging, "success" if error is None else "failure") and _untold(logging) and _first_time(logging, "stream left")):
        return
    logging.model_call_details[callback_facts.STREAM_OUTCOME] = outcome
    if error is not None:
        own().run(_failed(logging, error, callback_facts.text_of(error)))
    else:
        own().run(_succeeded(logging, answer))


def assembled(chunks: Sequence[Any], logging: Any) -> Any:
    """One answer out of chunks, by LiteLLM's own function; ``None`` where it cannot."""
    import litellm

    with contextlib.suppress(Exception):
        return litellm.stream_chunk_builder(list(chunks), messages=getattr(logging, "messages", None))
    return None


def _heard(logging: Any, end: str) -> bool:
    """Whether LiteLLM has anybody to tell of that end of the call: its handlers take their time for nobody as well."""
    import litellm

    own_lists = (f"dynamic_{end}_callbacks", f"dynamic_async_{end}_callbacks")
    return any(getattr(logging, name, None) for name in own_lists) or any(
        getattr(litellm, name) for name in (f"{end}_callback", f"_async_{end}_callback")
    )


def _untold(logging: Any) -> bool:
    details = logging.model_call_details
    told = ("has_logged_async_success", "has_logged_sync_success", "has_logged_async_failure", "has_logged_sync_failure")
    return not any(details.get(name) for name in (*told, "complete_streaming_response", "async_complete_streaming_response"))


async def _failed(logging: Any, error: BaseException, text: str) -> None:
    sync = _is_sync(logging)
    await dispatcher.workers.run(lambda: logging.failure_handler(error, text))
    if not sync:  # of a sync call the async callbacks are run by the wrapper of that handler
        await logging.async_failure_handler(error, text)


async def _succeeded(logging: Any, answer: Callable[[], Any]) -> None:
    whole = await dispatcher.workers.run(answer)
    if not _is_sync(logging):
        await logging.async_success_handler(whole)
    await dispatcher.workers.run(lambda: logging.success_handler(whole))

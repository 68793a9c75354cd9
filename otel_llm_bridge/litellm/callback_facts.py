"""What LiteLLM hands to a callback, before LiteLLM itself gets round to it.

LiteLLM completes its record of a call (cost, ``standard_logging_object``, redaction) only in its own success
handler, later and elsewhere. A callback that must run before the call returns cannot wait for that. So the
handler is run on a twin of LiteLLM's ``Logging`` object, without any callbacks: the record comes out exactly as
LiteLLM makes it, and the original is not touched.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import datetime as dt
import functools
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..guard import report

Load = Callable[[], Mapping[str, Any]]

#: Marks of handlers that have run already: a twin's have not.
_DONE_MARKS: Final = ("complete_streaming_response", "async_complete_streaming_response", "has_dispatched_final_stream_success")

#: A twin says so: what it does is no event of the call.
IS_TWIN: Final = "_otel_llm_bridge_twin"

#: Under this name the record says how a stream ended that was not read to its end.
STREAM_OUTCOME: Final = "litellm_bridge_stream_outcome"


def twin_of(logging: Any) -> Any:
    """A copy of LiteLLM's ``Logging`` object that has logged nothing yet, and logs to nobody."""
    twin = copy.copy(logging)
    # Copied first, which is one step under the interpreter's lock: LiteLLM's own handler may write into it meanwhile.
    details = dict(logging.model_call_details)
    twin.model_call_details = {
        name: value for name, value in details.items() if not name.startswith("has_logged_") and name not in _DONE_MARKS
    }
    twin.get_combined_callback_list = lambda *_args, **_kwargs: []
    setattr(twin, IS_TWIN, True)
    return twin


def snapshot(logging: Any, response: Any = None) -> Load:
    """The record as it is now: for the points before the call is over."""
    details, start, end = dict(logging.model_call_details), logging.start_time, _now()
    return lambda: _facts(details, response, start, end)


def success(logging: Any, answer: Callable[[], Any], *, is_async: bool, cache_hit: bool | None = None, outcome: str | None = None) -> Load:
    """The record of a call that has succeeded.

    Args:
        logging: LiteLLM's ``Logging`` object of the call.
        is_async: whether the call was awaited.
        cache_hit: as LiteLLM tells its handlers.
        answer: gives the response as the caller got it; of a stream the whole answer, put together.
        outcome: how a stream ended that was not read to its end.
    """
    end = _now()

    def load() -> Mapping[str, Any]:
        twin = twin_of(logging)
        response = answer()
        seen = _Redacted.make(response)
        twin.get_combined_callback_list = lambda *_args, **_kwargs: [seen]
        twin.should_run_callback = lambda *_args, **_kwargs: True
        try:
            twin.success_handler(response, logging.start_time, end, cache_hit)
        except Exception as error:
            report("success facts", error)
        details = twin.model_call_details
        if is_async and "complete_streaming_response" in details:
            details["async_complete_streaming_response"] = details.pop("complete_streaming_response")
        if outcome is not None:
            details[STREAM_OUTCOME] = outcome
        return {**_facts(details, seen.result, logging.start_time, details.get("end_time", end)), "logging": logging}

    # LiteLLM's handler restores context variables of its own.
    return functools.partial(contextvars.copy_context().run, load)


def failure(logging: Any, error: BaseException) -> Load:
    """The record of a call that has raised ``error``."""
    end = _now()

    def load() -> Mapping[str, Any]:
        details = logging.model_call_details
        if details.get("exception") is not error:
            twin = twin_of(logging)
            try:
                twin._failure_handler_helper_fn(error, text_of(error), logging.start_time, end)
            except Exception as raised:
                report("failure facts", raised)
            details = {"exception": error, "traceback_exception": text_of(error), **twin.model_call_details}
        return {**_facts(dict(details), None, logging.start_time, details.get("end_time", end)), "logging": logging}

    return load


def without_record(request: Mapping[str, Any], response: Any, error: BaseException | None = None) -> Load:
    """For a call of which LiteLLM keeps no record, such as ``moderation``."""
    kwargs = {**request, **({"exception": error, "traceback_exception": text_of(error)} if error is not None else {})}
    now = _now()
    return lambda: _facts(kwargs, response, now, now)


def beside(request: Mapping[str, Any], details: Mapping[str, Any], since: int) -> Load:
    """The arguments of the call with ``details``, for what happens beside its attempts; it began at ``since``."""
    kwargs, end = {**request, **details}, _now()
    return lambda: _facts(kwargs, None, dt.datetime.fromtimestamp(since / 1e9), end)  # noqa: DTZ006  # see _now


def text_of(error: BaseException) -> str:
    """The traceback as text, as LiteLLM passes it."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def interrupted(error: BaseException | None) -> bool:
    """Whether LiteLLM's own handlers did not see ``error``: they catch ``Exception`` only."""
    return isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit))


def _now() -> dt.datetime:
    return dt.datetime.now()  # noqa: DTZ005  # LiteLLM's own times are naive local ones


def _facts(kwargs: dict[str, Any], response: Any, start: Any, end: Any) -> Mapping[str, Any]:
    return {"kwargs": kwargs, "response_obj": response, "start_time": start, "end_time": end}


class _Redacted:
    """Sees the response as LiteLLM's handler hands it on: redacted, where the user has asked for that."""

    @staticmethod
    def make(response: Any) -> Any:
        """One, for a call with this response. A ``CustomLogger``: the handler asks its ``logging_hook``."""
        from litellm.integrations.custom_logger import CustomLogger

        class Redacted(CustomLogger):
            result = response

            def logging_hook(self, kwargs: Any, result: Any, call_type: str) -> Any:
                self.result = result
                return kwargs, result

        return Redacted()

"""What begins when one of LiteLLM's functions is called, and how its result is read.

One call of the user reaches several wrapped functions: the public one, the one under it, the sync one that
LiteLLM runs in a thread, another family's. `begin_call` gives the first one an invocation and lets the
others pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api

from ..contexts import current_context
from ..guard import fault, guarded
from ..invocation import Invocation, current
from ..logical import LogicalCall, Plan
from ..neighbours import DEFER, SUPPRESS
from ..propagation import Traceparent
from ..semconv import gen_ai
from ..streams import StreamRecorder, is_stream, proxy_for
from ..suppression import is_suppressed
from ..trace_ids import remember
from . import access, caching, chunks, content, put_off, reading, telling, unrecorded, who
from .wrap_points import Family

if TYPE_CHECKING:
    from ..drivers import Begun
    from ..neighbours import Neighbours
    from ..settings import Settings
    from ..telemetry import Layer

_PLAN: Final = context_api.create_key("otel_llm_bridge-plan")

#: LiteLLM marks the sync function that it runs in a thread for the async one.
_INNER_FLAGS: Final = frozenset({
    "acompletion", "aembedding", "aimg_generation", "amoderation", "atext_completion", "atranscription",
    "arerank", "aresponses", "aspeech", "acreate_interaction", "is_async",
})  # fmt: skip

#: What is known of a call as an attempt, where it is none of a logical call.
_NO_ATTEMPT: Final[Mapping[str, Any]] = {}

#: Arguments with which LiteLLM itself repeats a call.
_REPEATS: Final = frozenset({"num_retries", "fallbacks", "context_window_fallback_dict", "retry_policy"})


class Calls:
    """The layers and settings that all calls share.

    Args:
        litellm: the module; it is loaded by now.
        inference: the layer of upstream attempts.
        router: the layer of logical calls.
        below: the layer of attempts under somebody else's LLM span.
        neighbours: who else may make LLM spans.
    """

    def __init__(
        self, litellm: Any, inference: Layer, router: Layer, below: Layer, settings: Settings, neighbours: Neighbours
    ) -> None:
        self.litellm = litellm
        self.inference = inference
        self.router = router
        self.below = below
        self.neighbours = neighbours
        self.traceparent = Traceparent(settings.traceparent_hosts)
        self.settings = settings
        self.allowed = frozenset(settings.metadata_keys)
        for layer in (inference, router, below):
            layer.at_end(_read_error)
        inference.at_end(content.complete)
        attempts = (inference, below)
        for layer in attempts:
            layer.at_end(functools.partial(caching.settle, litellm))
            layer.at_end(_tell_logical_call)
        telling.listen(attempts, router)

    # --- the functions of a family -----------------------------------------------------------------

    def begin_call(
        self, family: Family, call_type: str, is_async: bool, parameters: tuple[str, ...], args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Begun | None:
        """A function of ``family`` is called; ``None`` when it is a part of a call that is running."""
        if is_suppressed():
            return None
        outer = current()
        if outer is not None and not outer.finished:
            if isinstance(outer, LogicalCall):
                if outer.facts.get("strategy") == _BY_SDK:
                    return None  # its attempts begin below, at the function that LiteLLM repeats
            elif outer.kept.get("family", family).delegates or not outer.bound or "litellm_logging_obj" in kwargs:
                return None
        elif not _INNER_FLAGS.isdisjoint(kwargs) and any(kwargs.get(flag) is True for flag in _INNER_FLAGS):
            return None
        else:
            outer = None
        request = {**dict(zip(parameters, args, strict=False)), **kwargs} if args else {**kwargs}
        if "no-log" in request and unrecorded.is_asked_for(request):
            return unrecorded.begin()
        if outer is None and family.operation == gen_ai.CHAT and self._repeats(request):
            return self.begin_logical(str(request.get("model")), _BY_SDK, request, is_async)
        plan: Any = current_context().get(_PLAN)
        attempt = self._claim(plan, request) if plan is not None else _NO_ATTEMPT
        return self._begin_inference(family, call_type, is_async, request, kwargs, attempt, outer)

    def begin_attempt(
        self, family: Family, call_type: str, is_async: bool, parameters: tuple[str, ...], args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Begun | None:
        """The function that LiteLLM repeats runs once more."""
        outer = current()
        if not isinstance(outer, LogicalCall) or outer.finished or outer.facts.get("strategy") != _BY_SDK:
            return None
        request = {**dict(zip(parameters, args, strict=False)), **kwargs} if args else {**kwargs}
        if request.get("fallbacks"):
            return None  # it will call the public function for each of them
        model = str(request.get("model"))
        if outer.facts["attempts"] and model != outer.facts.get("path", [model])[-1]:
            outer.fall_back(model)
        facts = outer.claim(outer.plan(model), None, model)
        begun = self._begin_inference(family, call_type, is_async, request, kwargs, facts, outer, final=False)
        if begun is not None:
            begun[0].bound = True
        return begun

    def _begin_inference(
        self, family: Family, call_type: str, is_async: bool, request: dict[str, Any], kwargs: dict[str, Any],
        attempt: Mapping[str, Any], outer: Invocation | None, final: bool = True,
    ) -> tuple[Invocation, Callable[[Any], Any]] | None:
        facts: dict[str, Any] = {"call_type": call_type}
        if attempt:
            put_off.say(facts, attempt)
        if self.allowed:
            facts.update(who.read_request(request, self.allowed))
        layer = self._layer(family, request, outer)
        if layer is None:
            return None
        invocation = Invocation(layer, facts, outer, put_off.request(facts, family, request, self.litellm))
        invocation.prompt = isinstance(outer, LogicalCall)
        invocation.beside = self.neighbours.inside()
        if self.traceparent.wanted:
            self._send_traceparent(family, invocation, kwargs)
        kept = invocation.kept
        kept["family"], kept["request"], kept["logging"] = family, request, request.get("litellm_logging_obj")
        policy = layer.recording.policy
        if policy.of_all or policy.on_span:
            content.listen(invocation, request, policy)
        telling.begin(invocation, is_async)
        answered = outer if isinstance(outer, LogicalCall) and attempt else None
        return invocation, functools.partial(self._settle, family, invocation, answered, final)

    def _settle(self, family: Family, invocation: Invocation, logical: LogicalCall | None, final: bool, result: Any) -> Any:
        """The call has returned ``result``, as an attempt of ``logical`` if it is one; see `put_off.answer` for ``final``."""
        if logical is not None:
            logical.attempt_answered(invocation)
        if is_stream(result):
            with guarded("stream"):
                reader = chunks.READERS[family.chunks](self.litellm, invocation, result)
                invocation.put_off(put_off.say, reading.read_hidden(reading.hidden(result)))
                reader = telling.reader_for(invocation, content.reader_for(family, invocation, reader))
                proxy = proxy_for(result, StreamRecorder(invocation, reader, self.settings.chunk_events))
                return _given_back(proxy, invocation)
            return result
        try:
            telling.answered(invocation)
            put_off.answer(self.litellm, family, invocation, result, final)
        except Exception as error:  # not `guarded`: each call passes here
            fault("response", error)
        return _given_back(result, invocation)

    def _send_traceparent(self, family: Family, invocation: Invocation, kwargs: dict[str, Any]) -> None:
        """Add the header where it was asked for. ``kwargs`` is this call's own; what is in it is the caller's."""
        name = family.headers
        if not name or not self.traceparent.is_for(invocation.facts.get("server_address")):
            return
        given = kwargs.get(name)
        if given is None and name == "headers":
            given = getattr(self.litellm, "headers", None)  # LiteLLM takes the one or the other
        headers = self.traceparent.headers(given, invocation.context)
        if headers is not None:
            kwargs[name] = headers

    def _layer(self, family: Family, request: dict[str, Any], outer: Invocation | None) -> Layer | None:
        """Where this attempt is recorded: as the LLM span, below another one's, or, for ``None``, not at all."""
        if self.neighbours.policy == DEFER:
            facts: dict[str, Any] = {}
            put_off.read_request(facts, family, request, self.litellm)
            if self.neighbours.will_be_seen_by_another(facts):
                return None
        within = outer.kept.get("within_llm_span") if outer is not None else self.neighbours.is_within_llm_span()
        if not within:
            return self.inference
        return self.below if self.neighbours.policy == SUPPRESS else None

    # --- calls that LiteLLM itself repeats ----------------------------------------------------------

    def _repeats(self, request: dict[str, Any]) -> bool:
        if not _REPEATS.isdisjoint(request) and any(request.get(name) for name in _REPEATS):
            return True
        return bool(self.litellm.num_retries or self.litellm.model_fallbacks)

    # --- the Router ---------------------------------------------------------------------------------

    def begin_logical(self, group: str | None, strategy: str, request: dict[str, Any], is_async: bool) -> Begun | None:
        """A logical call begins; ``None`` where nothing is to be recorded."""
        if is_suppressed():
            return None
        if unrecorded.is_asked_for(request):
            return unrecorded.begin()
        facts = access.clean({
            "model_group": group,
            "strategy": strategy,
            "conversation_id": request.get("litellm_session_id"),
        })
        facts.update(who.read_request(request, self.allowed))
        within = self.neighbours.is_within_llm_span()
        call = LogicalCall(self.router, facts, current())
        kept = call.kept
        kept["within_llm_span"], kept["request"], kept["is_async"] = within, request, is_async
        return call, functools.partial(_settle_logical, call)

    def _claim(self, plan: Plan, request: dict[str, Any]) -> Mapping[str, Any]:
        """What the Router has planned for this call, if it is the attempt and not a call beside it."""
        if plan.claimed or plan.call.finished:
            return _NO_ATTEMPT
        deployment = access.first(request, ("model_info.id", "metadata.model_info.id", "litellm_metadata.model_info.id"))
        if deployment is None:
            return _NO_ATTEMPT
        return plan.call.claim(plan, str(deployment), request.get("model"))


_BY_SDK: Final = "litellm"


def with_plan(plan: Plan) -> Any:
    """The current Context with ``plan`` in it."""
    return context_api.set_value(_PLAN, plan)


def _settle_logical(call: LogicalCall, result: Any) -> Any:
    """The logical call has returned ``result``."""
    if is_stream(result):
        with guarded("stream"):
            return _given_back(proxy_for(result, StreamRecorder(call, chunks.NoChunks(), False)), call)
    return _given_back(result, call)


def _given_back(result: Any, invocation: Invocation) -> Any:
    """The caller is given ``result``: from now on `get_trace_id` knows it."""
    try:
        remember(result, invocation.span)
    except Exception as error:
        fault("trace id", error)
    return result


def _read_error(invocation: Invocation) -> None:
    if invocation.error is not None:
        invocation.facts.update(reading.read_error(invocation.error))


def _tell_logical_call(invocation: Invocation) -> None:
    if isinstance(invocation.parent, LogicalCall) and "attempt_number" in invocation.facts:
        invocation.parent.attempt_ended(invocation)

"""The logical call above its upstream attempts: counts them, says why each ran and who served."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .invocation import Invocation
from .semconv import gen_ai
from .semconv import litellm as names

if TYPE_CHECKING:
    from .telemetry import Layer


@dataclass
class Plan:
    """One attempt that the library has decided on and that has not begun yet.

    Attributes:
        kind: ``first``, ``retry`` or ``fallback``.
        group: the model group (or model) that is tried.
    """

    call: LogicalCall
    kind: str
    group: str | None
    claimed: bool = False


class LogicalCall(Invocation):
    """One request of the caller, however many attempts it takes."""

    __slots__ = ("_calls_in_hop", "_cooled", "_last_ended", "_path", "hop", "last_error")

    def __init__(self, layer: Layer, facts: dict[str, Any], parent: Invocation | None = None) -> None:
        self.hop = 0
        self._calls_in_hop = 0
        self._last_ended = 0.0
        self.last_error: BaseException | None = None
        self._cooled: dict[str, float] = {}
        group = facts.get("model_group")
        self._path = [group] if group else []
        super().__init__(layer, {"attempts": 0, "retries": 0, "fallbacks": 0, "path": self._path, **facts}, parent)

    def fall_back(self, group: str | None) -> None:
        """Another model group takes over."""
        before = self._path[-1] if self._path else None
        self.hop += 1
        self._calls_in_hop = 0
        self.facts["fallbacks"] += 1
        self._path.append(str(group))
        self.event(
            names.EVENT_FALLBACK,
            {names.EVENT_FALLBACK_FROM: str(before), names.EVENT_FALLBACK_TO: str(group), **self._why()},
        )

    def plan(self, group: str | None) -> Plan:
        """The library is about to try once more."""
        self._calls_in_hop += 1
        if self._calls_in_hop > 1:
            kind = names.KIND_RETRY
        else:
            kind = names.KIND_FALLBACK if self.hop else names.KIND_FIRST
        return Plan(self, kind, group)

    def claim(self, plan: Plan, deployment: str | None, model: str | None) -> dict[str, Any]:
        """The planned attempt begins, at ``deployment``; returns what is known of it."""
        plan.claimed = True
        facts = self.facts
        number = facts["attempts"] = facts["attempts"] + 1
        wait = time.perf_counter() - self._last_ended if self._last_ended else None
        if plan.kind == names.KIND_RETRY:
            facts["retries"] += 1
            self.event(names.EVENT_RETRY, {names.ATTEMPT_NUMBER: number, names.ATTEMPT_WAIT: wait or 0.0, **self._why()})
        if deployment:
            self.event(
                names.EVENT_DEPLOYMENT,
                {names.DEPLOYMENT_ID: deployment, names.DEPLOYMENT_MODEL: str(model), names.ATTEMPT_NUMBER: number},
            )
        return {
            "attempt_number": number,
            "attempt_kind": plan.kind,
            "attempt_wait": wait,
            "deployment_id": deployment,
            "model_group": plan.group,
        }

    def attempt_answered(self, attempt: Invocation) -> None:
        """An attempt has given its answer, or the first part of it."""
        facts = attempt.facts
        self.facts.update(
            served_deployment=facts.get("deployment_id"),
            served_model=facts.get("model"),
            served_group=facts.get("model_group"),
        )

    def attempt_ended(self, attempt: Invocation) -> None:
        """An attempt is over."""
        self._last_ended = attempt.ended_clock
        self.last_error = attempt.error
        if attempt.error is not None and self.facts.get("served_deployment") == attempt.facts.get("deployment_id"):
            # It broke in the middle of its answer: who served is the one that comes after, if any.
            self.facts.update(served_deployment=None, served_model=None, served_group=None)

    def cools(self, deployment: str, seconds: float) -> bool:
        """Whether it is news that ``deployment`` cools: of a sync call LiteLLM says so twice for one failure."""
        now = time.monotonic()
        news = now >= self._cooled.get(deployment, 0.0)
        self._cooled[deployment] = now + seconds
        return news

    def _why(self) -> dict[str, str]:
        return {} if self.last_error is None else {gen_ai.ERROR_TYPE: type(self.last_error).__qualname__}

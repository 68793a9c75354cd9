"""What the SDK's own samplers decide: by the parent and the trace id, whatever the span will be called or say.

So a span may start before anything of its call has been read, and a sampler that is not the SDK's is known by being none
of these.

Source: opentelemetry-specification, trace/sdk.md (Built-in samplers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler, TraceIdRatioBased
from opentelemetry.trace import SpanContext

#: ``(parent, trace id) -> whether the span is sampled``.
Decide = Callable[["SpanContext | None", int], bool]

#: In the order of ``2 * is_remote + is_sampled`` of the parent.
_DELEGATES: Final = ("_local_parent_not_sampled", "_local_parent_sampled", "_remote_parent_not_sampled", "_remote_parent_sampled")


def decision_of(sampler: Sampler) -> Decide | None:
    """How ``sampler`` decides; ``None`` for one that may ask for more than the parent and the trace id."""
    of = type(sampler).should_sample  # a class of the program's own may differ in anything else
    inside: Any = sampler
    if of is StaticSampler.should_sample:
        decision = inside._decision
        always = decision is Decision.RECORD_AND_SAMPLE
        return None if decision is Decision.RECORD_ONLY else lambda _parent, _trace_id: always
    if of is TraceIdRatioBased.should_sample:
        limit, bound = inside.TRACE_ID_LIMIT, inside.bound
        return lambda _parent, trace_id: trace_id & limit < bound
    if of is ParentBased.should_sample:
        return _by_parent(decision_of(inside._root), [decision_of(getattr(inside, name)) for name in _DELEGATES])
    return None


def _by_parent(root: Decide | None, delegates: list[Decide | None]) -> Decide | None:
    known = [decide for decide in delegates if decide is not None]
    if root is None or len(known) < len(delegates):
        return None

    def decide(parent: SpanContext | None, trace_id: int) -> bool:
        if parent is None:
            return root(None, trace_id)
        return known[2 * parent.is_remote + (parent.trace_flags & 1)](parent, trace_id)

    return decide

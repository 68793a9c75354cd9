"""Who a call is made for and what it belongs to, carried beside the call and never in its request.

    with otel_llm_bridge.attributes(user="u-42", session="s-7", tags=["beta"]):
        litellm.completion(...)

The values travel in the OpenTelemetry Context: they reach the span of the logical call, each attempt and the
log records, across threads and tasks that inherit the Context, and nothing of them is sent to the provider.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage
from opentelemetry import context as context_api

from .contexts import attach, current_context, release
from .guard import logger
from .semconv import gen_ai

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from .content.policy import ContentPolicy
    from .settings import Settings

_ATTRIBUTES: Final = context_api.create_key("otel_llm_bridge-attributes")

Values = dict[str, Any]


@contextmanager
def attributes(
    *, user: str | None = None, session: str | None = None, tags: Iterable[str] | None = None, **more: Any
) -> Generator[None, None, None]:
    """Put these on every call that is made in the block. Blocks add to each other, the inner one wins.

    Args:
        user: on the spans as ``litellm.end_user``.
        session: as ``gen_ai.conversation.id``.
        tags: as ``litellm.tags``, after those of the blocks around.
        **more: as ``litellm.metadata.{name}``, where the option ``metadata_keys`` lists the name.
    """
    outer = current_context().get(_ATTRIBUTES)
    facts: Values = dict(outer) if isinstance(outer, dict) else {}
    if user is not None:
        facts["end_user"] = str(user)
    if session is not None:
        facts["conversation_id"] = str(session)
    if tags is not None:
        facts["tags"] = [*facts.get("tags", ()), *map(str, [tags] if isinstance(tags, str) else tags)]
    if more:
        facts["metadata"] = {**facts.get("metadata", {}), **more}
    token = attach(context_api.set_value(_ATTRIBUTES, facts))
    try:
        yield
    finally:
        release(token)


def may_change() -> bool:
    """Whether something that `attributes` was given is of a type that the program may change after a call."""
    ambient: Any = current_context().get(_ATTRIBUTES)
    return ambient is not None and not all(value.__class__ in UNCHANGING for value in ambient.get("metadata", {}).values())


#: Types of what nobody can change after it was given.
UNCHANGING: Final = frozenset({str, int, float, bool, type(None)})

#: Names that the baggage of a request may already have, and what they are here.
_BAGGAGE_FACTS: Final = {
    "user.id": "end_user",
    "enduser.id": "end_user",
    "session.id": "conversation_id",
    gen_ai.CONVERSATION_ID: "conversation_id",
}
#: What is copied of a call to the log records that belong to it.
SHARED: Final = ("end_user", "tags", "conversation_id")
_LABELS: Final = frozenset({*SHARED, "metadata"})


class Who:
    """What of it is recorded: what `attributes` was given, and what the allow-lists name."""

    def __init__(self, settings: Settings, policy: ContentPolicy) -> None:
        self.allowed: frozenset[str] = frozenset(settings.metadata_keys)
        self._baggage = tuple(settings.baggage_keys)
        self._policy = policy
        self._refused: set[str] = set()

    def facts(self, given: Mapping[str, Any], context: Context) -> Values:
        """The facts of ``context`` and of ``given``, what the call itself says: that wins, tags and metadata add up.

        All of them are labels, wherever they come from: without keys, and short.
        """
        ambient = context.get(_ATTRIBUTES)
        values: Values = self._from_baggage(context) if self._baggage else {}
        if isinstance(ambient, dict):
            values.update({name: value for name, value in ambient.items() if name != "metadata"})
            values["metadata"] = {**values.get("metadata", {}), **self._permitted(ambient.get("metadata", {}))}
        if not values and _LABELS.isdisjoint(given):
            return values
        for name in ("end_user", "conversation_id"):
            if given.get(name) is not None:
                values[name] = given[name]
        values["tags"] = list(dict.fromkeys([*values.get("tags", ()), *(given.get("tags") or ())]))
        values["metadata"] = {**values.get("metadata", {}), **(given.get("metadata") or {})}
        return {name: self._label(value) for name, value in values.items() if value}

    def _from_baggage(self, context: Context) -> Values:
        values: Values = {}
        for key in self._baggage:
            value = baggage.get_baggage(key, context)
            if value is None:
                continue
            if key in _BAGGAGE_FACTS:
                values[_BAGGAGE_FACTS[key]] = str(value)
            else:
                values.setdefault("metadata", {})[key] = value
        return values

    def _permitted(self, metadata: Mapping[str, Any]) -> Values:
        for name in metadata.keys() - self.allowed - self._refused:
            self._refused.add(name)
            logger.warning("attributes(%s=…) is not recorded: the option metadata_keys does not list it", name)
        return {name: value for name, value in metadata.items() if name in self.allowed}

    def _label(self, value: Any) -> Any:
        """Of attribute types, and without keys."""
        if isinstance(value, str):
            return self._policy.label(value)
        if isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {str(name): self._label(item) for name, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._policy.label(str(item)) for item in value]
        return self._policy.label(str(value))

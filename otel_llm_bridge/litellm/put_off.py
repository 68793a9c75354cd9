"""What a request and an answer say: read when somebody asks for it, from what cannot change until then; else at once.

Both belong to the program and to LiteLLM, which may change them as soon as the call has returned. What is plain is kept,
what is not is copied, and what is too much to copy is read in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..who import may_change
from . import access, parameters, pricing, reading

if TYPE_CHECKING:
    from ..invocation import Invocation, Unread
    from .access import Facts
    from .wrap_points import Family


def say(facts: Facts, more: Mapping[str, Any]) -> None:
    """Add ``more`` to ``facts``, where it is there and of a type that attributes have."""
    facts.update(access.clean(more))


def request(facts: Facts, family: Family, arguments: Mapping[str, Any], litellm: Any) -> tuple[Unread, ...]:
    """Read the arguments of a call that begins into ``facts``, or return what will."""
    taken = reading.taken(arguments, litellm)
    if taken is None or may_change():
        read_request(facts, family, arguments, litellm)
        return ()
    return ((_read_taken, (family, taken, litellm)),)


#: Arguments that differ from call to call. What the others say is the same for many calls, and is known then.
_OF_ONE_CALL: Final = frozenset({"litellm_call_id", "litellm_session_id", "previous_response_id", "previous_interaction_id"})


def _read_taken(facts: Facts, family: Family, taken: dict[str, Any], litellm: Any) -> None:
    own = {name: taken.pop(name) for name in _OF_ONE_CALL & taken.keys()}
    facts.update(_said(family, litellm, **taken))
    if own:
        parameters.read_parameters(facts, family.operation, own)


@functools.lru_cache(maxsize=256, typed=True)  # 1, 1.0 and True are not the same
def _said(family: Family, litellm: Any, /, **arguments: Any) -> Facts:
    """What plain arguments say. Nobody changes it."""
    facts: Facts = {}
    read_request(facts, family, arguments, litellm)
    return facts


def read_request(facts: Facts, family: Family, arguments: Mapping[str, Any], litellm: Any) -> None:
    """What the arguments say."""
    say(facts, reading.read_request(family.operation, arguments, litellm))
    if family.streams:
        facts["stream"] = True


def answer(litellm: Any, family: Family, invocation: Invocation, result: Any, final: bool) -> None:
    """The call has been answered with ``result``.

    Args:
        litellm: the module.
        family: of the function that was called.
        invocation: the call.
        result: what the function has returned.
        final: LiteLLM has put its own figures on the result; it has not on one that it may repeat.
    """
    invocation.kept["response"] = result
    params = reading.hidden(result)
    known, cost = reading.read_hidden(params), params.get("response_cost") if final else None
    read, copy = reading.RESPONSES[family.reader], reading.COPIES.get(family.reader)
    if copy is not None and cost.__class__ is float and cost:  # any other figure needs a second look
        # What does not wait is read before the caller gets the answer.
        invocation.put_off(_read_answer, read, copy(result) if invocation.waits and not invocation.prompt else result, known, cost)
        return
    known = {**read(result), **known, **pricing.figure(litellm, invocation, cost)}
    if "cost" not in known and "input_tokens" in known:
        known.update(_price(litellm, invocation, result, final))
    invocation.put_off(say, known)


def _read_answer(facts: Facts, read: Callable[[Any], Facts], copy: Any, known: Facts, cost: float) -> None:
    say(facts, {**read(copy), **known, **reading.read_cost(cost)})


def _price(litellm: Any, invocation: Invocation, result: Any, final: bool) -> Facts:
    if final:
        return pricing.price(litellm, invocation, result)
    return pricing.price_usage(litellm, invocation, access.get(result, "model"), access.get(result, "usage"))

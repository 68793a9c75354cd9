"""What goes with a call beside its facts: who it is for, its conversation, and whether it is recorded at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api

from ..guard import guarded
from ..invocation import Invocation, Owed, detach
from ..patching import Target
from ..suppression import suppressed_context
from ..trace_ids import remember
from . import answers, conversations
from .access import Facts, first, get

if TYPE_CHECKING:
    from ..content import ContentPolicy
    from ..patching import Wrapper
    from ..streams import ChunkReader
    from .calls import Begun, Calls
    from .wrap_points import Family

# --- calls that are not recorded ----------------------------------------------------------------------


class Silence:
    """In the place of an invocation: nothing of the call is recorded, nor of the calls that it makes."""

    owed: Owed | None = None

    def __enter__(self) -> Silence:
        self._context = suppressed_context()
        self._token = context_api.attach(self._context)
        return self

    def __exit__(self, *error: Any) -> None:
        detach(self._token, self._context)


def unrecorded(request: Mapping[str, Any]) -> Begun | None:
    """For a request with LiteLLM's ``no-log`` flag, what begins in the place of an invocation."""
    return (Silence(), _same) if request.get("no-log") is True else None  # type: ignore[return-value]


def _same(result: Any) -> Any:
    return result


def _silenced(calls: Calls, function: Callable[..., Any]) -> Wrapper:
    from ..drivers import driver_for

    return driver_for(function, lambda args, kwargs: (Silence(), _same))


#: LiteLLM's health checks, which its Proxy runs in the background too: calls that nobody asked for.
POINTS: Final = tuple(
    (Target("litellm.main", name), _silenced) for name in ("ahealth_check", "ahealth_check_wildcard_models")
)

# --- who ----------------------------------------------------------------------------------------------

#: Where LiteLLM keeps the metadata of a request; the second one is that of the Responses API and others.
_METADATA: Final = ("metadata", "litellm_metadata")


def who(request: Mapping[str, Any], allowed: frozenset[str]) -> Facts:
    """What the allow-list lets through of the arguments and the metadata."""
    if not allowed:
        return {}
    facts: Facts = {}
    if "user" in allowed and request.get("user") is not None:
        facts["end_user"] = str(request["user"])
    if "tags" in allowed:
        tags = first(request, ("tags", "metadata.tags", "litellm_metadata.tags"))
        facts["tags"] = [str(tag) for tag in tags] if isinstance(tags, (list, tuple)) else None
    found = {}
    for key in allowed - {"user", "tags"}:
        for name in _METADATA:
            values = request.get(name)
            if isinstance(values, Mapping) and values.get(key) is not None:
                found[key] = values[key]
    return {**{name: value for name, value in facts.items() if value}, **({"metadata": found} if found else {})}


# --- content ------------------------------------------------------------------------------------------


def listen(invocation: Invocation, request: Mapping[str, Any], policy: ContentPolicy) -> None:
    """Copy what the request says, if somebody wants it: the caller may change its messages afterwards."""
    if not policy.collects:
        return
    with guarded("request content"):
        conversation = conversations.read_request(request)
        invocation.kept["conversation"] = conversation
        invocation.kept["secrets"] = conversation.secrets


def reader_for(family: Family, invocation: Invocation, reader: ChunkReader) -> ChunkReader:
    """``reader``, or one that puts the answer together as well."""
    if "conversation" not in invocation.kept:
        return reader
    return answers.CollectingReader(reader, family.chunks, invocation)


def complete(invocation: Invocation) -> None:
    """At the end of a call: its answer, and the key that LiteLLM found for it by itself."""
    kept = invocation.kept
    conversation = kept.get("conversation")
    if conversation is None:
        return
    response = kept.get("response")
    if response is not None:
        conversation.output_messages = answers.read_response(kept["family"].reader, response)
    details = get(kept.get("logging"), "model_call_details")
    if isinstance(details, Mapping):
        found = conversations.secrets_of({**details, **(get(details, "litellm_params") or {})})
        conversation.secrets = tuple(dict.fromkeys((*conversation.secrets, *found)))
    kept["secrets"] = conversation.secrets
    if invocation.parent is not None:
        # The exception of the logical call is that of an attempt, and may quote its key.
        known = invocation.parent.kept.get("secrets", ())
        invocation.parent.kept["secrets"] = tuple(dict.fromkeys((*known, *conversation.secrets)))


def given_back(result: Any, invocation: Invocation) -> Any:
    """The caller is given ``result``: from now on `get_trace_id` knows it."""
    with guarded("trace id"):
        remember(result, invocation.span)
    return result

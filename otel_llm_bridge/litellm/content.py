"""The content of a call, if somebody wants it: from its request, through its stream, to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..guard import guarded
from . import answers, conversations
from .access import get

if TYPE_CHECKING:
    from ..content import ContentPolicy
    from ..invocation import Invocation
    from ..streams import ChunkReader
    from .wrap_points import Family


def listen(invocation: Invocation, request: Mapping[str, Any], policy: ContentPolicy) -> None:
    """Copy what the request says, which somebody wants: the caller may change its messages afterwards."""
    with guarded("request content"):
        # The keys in any case: the logical call may record where this attempt does not.
        invocation.prompt = True
        secrets = invocation.kept["secrets"] = conversations.secrets_of(request)
        if policy.of_all or invocation.span.is_recording():
            invocation.kept["conversation"] = conversations.read_request(request, secrets)


def reader_for(family: Family, invocation: Invocation, reader: ChunkReader) -> ChunkReader:
    """``reader``, or one that puts the answer together as well."""
    if "conversation" not in invocation.kept:
        return reader
    return answers.CollectingReader(reader, family.chunks, invocation)


def complete(invocation: Invocation) -> None:
    """At the end of a call: its answer, and the key that LiteLLM found for it by itself."""
    kept = invocation.kept
    secrets = kept.get("secrets")
    if secrets is None:
        return
    details = get(kept.get("logging"), "model_call_details")
    if isinstance(details, Mapping):
        found = conversations.secrets_of({**details, **(get(details, "litellm_params") or {})})
        secrets = kept["secrets"] = tuple(dict.fromkeys((*secrets, *found)))
    conversation, response = kept.get("conversation"), kept.get("response")
    if conversation is not None:
        conversation.secrets = secrets
        if response is not None:
            conversation.output_messages = answers.read_response(kept["family"].reader, response)
    if invocation.parent is not None:
        # The exception of the logical call is that of an attempt, and may quote its key.
        known = invocation.parent.kept.get("secrets", ())
        invocation.parent.kept["secrets"] = tuple(dict.fromkeys((*known, *secrets)))

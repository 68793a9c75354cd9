"""What the fake provider can be told to do: one table of words, which may be combined.

A *behaviour* is written as text, in the place of a model's name or in the path of the base URL:

* one word, such as ``ok``, ``error-429`` or ``slow-200ms``;
* words joined by ``+``, all of which hold: ``echo+tool``, ``stream-20ms+words-50``;
* behaviours joined by ``,``: one for each request in turn, the last one for all that follow: ``error-503,ok``;
* ``script:NAME``: the queue that the test gave under this name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final


@dataclasses.dataclass(frozen=True)
class Error:
    """An error that providers really send; how it is written down depends on the API that was called."""

    status: int
    #: ``error.type`` as OpenAI writes it, and as Anthropic writes it.
    type: str
    anthropic_type: str
    #: The canonical code that Google writes.
    google_status: str
    message: str
    code: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What happens to one request. The defaults are those of an ordinary answer; times are in seconds."""

    error: Error | None = None
    #: Wait before the first byte.
    delay: float = 0.0
    #: Wait before each chunk of a stream but the first.
    pause: float = 0.0
    #: Wait until the test calls `FakeProvider.release`.
    hold: bool = False
    #: Repeat the prompt in what is answered, be it a completion, tool arguments or an error.
    echo: bool = False
    #: Call the first tool that the request offers, or one named ``get_weather``.
    tool: bool = False
    #: Think aloud first.
    reasoning: bool = False
    #: Say how many tokens were used.
    usage: bool = True
    #: Length of the completion.
    words: int | None = None
    #: A body that ends in the middle of its JSON.
    bad_json: bool = False
    #: After so many chunks of a stream, `cut` happens; 0 is before the first byte of any answer.
    cut_after: int | None = None
    #: ``reset`` (the connection is reset), ``close``, ``stall`` (silence) or ``error`` (an error event).
    cut: str = "reset"


def _error(status: int, type: str, anthropic_type: str, google_status: str, message: str, **more: Any) -> Error:
    return Error(status, type, anthropic_type, google_status, message, **more)


#: What a silent provider's silence lasts, unless it is said otherwise.
SILENCE: Final = 60.0

_BAD: Final = ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
_CONTEXT: Final = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
    "Please reduce the length of the messages. (prompt is too long; the input token count exceeds the maximum)"
)
_POLICY: Final = (
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a "
    "different prompt. (content_policy_violation)"
)

# fmt: off
ERRORS: Final[Mapping[str, Error]] = {
    "error-400": _error(400, *_BAD, "Invalid value for 'temperature': it must be at most 2."),
    "error-401": _error(401, "invalid_request_error", "authentication_error", "UNAUTHENTICATED", "Incorrect API key provided.", code="invalid_api_key"),
    "error-403": _error(403, "request_forbidden", "permission_error", "PERMISSION_DENIED", "You are not allowed to sample from this model."),
    "error-404": _error(404, "invalid_request_error", "not_found_error", "NOT_FOUND", "The model does not exist or you do not have access to it.", code="model_not_found"),
    "error-408": _error(408, "timeout", "timeout_error", "DEADLINE_EXCEEDED", "The request timed out."),
    "error-422": _error(422, *_BAD, "The request could not be processed."),
    "error-429": _error(429, "requests", "rate_limit_error", "RESOURCE_EXHAUSTED", "Rate limit reached for requests.", code="rate_limit_exceeded", headers={"retry-after": "1", "x-ratelimit-remaining-requests": "0"}),
    "error-500": _error(500, "server_error", "api_error", "INTERNAL", "The server had an error while processing your request."),
    "error-502": _error(502, "server_error", "api_error", "UNAVAILABLE", "Bad gateway."),
    "error-503": _error(503, "server_error", "overloaded_error", "UNAVAILABLE", "The engine is currently overloaded, please try again later."),
    "error-504": _error(504, "server_error", "timeout_error", "DEADLINE_EXCEEDED", "Gateway timeout."),
    "error-context": _error(400, *_BAD, _CONTEXT, code="context_length_exceeded"),
    "error-policy": _error(400, *_BAD, _POLICY, code="content_policy_violation"),
}

_WORDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ok": {},
    "echo": {"echo": True},
    "tool": {"tool": True},
    "reasoning": {"reasoning": True},
    "no-usage": {"usage": False},
    "hold": {"hold": True},
    "bad-json": {"bad_json": True},
    "reset": {"cut": "reset", "cut_after": 0},
    "timeout": {"cut": "close", "cut_after": 0, "delay": SILENCE},
    "error-echo": {"error": ERRORS["error-400"], "echo": True},
    **{word: {"error": error} for word, error in ERRORS.items()},
}

_PATTERNS: Final[tuple[tuple[re.Pattern[str], Callable[[int], Mapping[str, Any]]], ...]] = (
    (re.compile(r"slow-(\d+)ms"), lambda n: {"delay": n / 1000}),
    (re.compile(r"timeout-(\d+)ms"), lambda n: {"cut": "close", "cut_after": 0, "delay": n / 1000}),
    (re.compile(r"stream-(\d+)ms"), lambda n: {"pause": n / 1000}),
    (re.compile(r"words-(\d+)"), lambda n: {"words": n}),
    (re.compile(r"stream-broken-(\d+)"), lambda n: {"cut": "reset", "cut_after": n}),
    (re.compile(r"stream-stall-(\d+)"), lambda n: {"cut": "stall", "cut_after": n}),
    (re.compile(r"stream-error-(\d+)"), lambda n: {"cut": "error", "cut_after": n}),
)
# fmt: on

#: For `python -m otel_llm_bridge.demo.provider --help`.
VOCABULARY: Final = (*_WORDS, *(pattern.pattern.replace(r"(\d+)", "N") for pattern, _ in _PATTERNS))


def parse(text: str) -> Behaviour | None:
    """The behaviour that words joined by ``+`` stand for, or None if one of them is no such word."""
    fields: dict[str, Any] = {}
    for word in text.split("+"):
        meaning = _WORDS.get(word)
        if meaning is None:
            meaning = next((make(int(m[1])) for pattern, make in _PATTERNS if (m := pattern.fullmatch(word))), None)
        if meaning is None:
            return None
        fields.update(meaning)
    return Behaviour(**fields)

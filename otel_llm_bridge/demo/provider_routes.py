"""Which path of which API the fake provider answers, and who writes the answer down."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from . import provider_openai as openai
from . import provider_others as others
from .provider_behaviours import Error
from .provider_reply import Answer, Call


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How one API writes down an error: as a body, and in the middle of a stream."""

    error: Callable[[Error, str, int], dict[str, Any]]
    event: Callable[[Error, str, int], bytes]


#: Also for what has no route.
OPENAI: Final = Dialect(openai.error_body, openai.error_event)
_RESPONSES: Final = Dialect(openai.error_body, openai.response_error_event)
_ANTHROPIC: Final = Dialect(others.anthropic_error, others.anthropic_error_event)
_GOOGLE: Final = Dialect(others.google_error, others.google_error_event)
_INTERACTIONS: Final = Dialect(others.google_error, others.interaction_error_event)
_COHERE: Final = Dialect(others.cohere_error, openai.error_event)


class Route(NamedTuple):
    """One row: the end of the path, how errors are written there, and what writes the answer down."""

    end: re.Pattern[str]
    dialect: Dialect
    answer: Callable[[Call], Answer]


_ROUTES: Final = tuple(
    Route(re.compile(pattern + "$"), dialect, answer)
    for pattern, dialect, answer in (
        (r"/chat/completions", OPENAI, openai.chat),
        (r"/completions", OPENAI, openai.completion),
        (r"/embeddings", OPENAI, openai.embeddings),
        (r"/responses", _RESPONSES, openai.responses),
        (r"/images/(generations|edits)", OPENAI, openai.images),
        (r"/audio/(transcriptions|translations)", OPENAI, openai.transcription),
        (r"/audio/speech", OPENAI, openai.speech),
        (r"/moderations", OPENAI, openai.moderations),
        (r"/models", OPENAI, openai.models),
        (r"/messages", _ANTHROPIC, others.messages),
        (r"/messages/count_tokens", _ANTHROPIC, others.count_tokens),
        (r":generateContent", _GOOGLE, others.generate_content),
        (r":streamGenerateContent", _GOOGLE, others.stream_generate_content),
        (r":countTokens", _GOOGLE, others.google_count_tokens),
        (r"/interactions", _INTERACTIONS, others.interactions),
        (r"/rerank", _COHERE, others.rerank),
        (r"/ocr", OPENAI, others.ocr),
        (r"/ai/run/.+", OPENAI, others.extraction),
    )
)


def route_of(path: str) -> Route | None:
    """The first row that ``path`` ends with."""
    return next((route for route in _ROUTES if route.end.search(path)), None)

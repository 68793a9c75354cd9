"""The one policy through which everything passes that may quote a prompt, a completion or a key."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import traceback
from collections.abc import Mapping
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from .. import redactors
from ..guard import logger, report
from ..json_text import dump
from ..shortening import cut, shorten
from . import conversation as parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..redactors import Redactor
    from ..settings import Settings
    from .completion_hook import CompletionHook
    from .conversation import Conversation

NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT = "NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"

#: What is recorded in place of a text that could not be redacted: nothing of it.
_FAILED: Final = "[not recorded: the redactor failed]"
#: Fields of a message that say what it is, not what was said.
_SHAPE: Final = frozenset({"type", "role", "modality", "finish_reason", "mime_type", "sha256", "size", "id"})
_SHORTEST_SECRET: Final = 6


class Document:
    """One redacted document, in the limits: as JSON text, and as the value that it stands for."""

    def __init__(self, items: Iterable[str], limit: int) -> None:
        self.json = shorten(f"[{','.join(items)}]", limit)

    @cached_property
    def value(self) -> list[Any]:
        """Nobody else holds it."""
        found: list[Any] = json.loads(self.json)
        return found


_TOLD: Final = attrgetter("told")


@lru_cache(maxsize=256)
def _knowing(policy: ContentPolicy, secrets: tuple[str, ...]) -> object:
    """What marks texts that ``policy`` has redacted knowing ``secrets``: the same object for the same two."""
    return object()


@dataclasses.dataclass(frozen=True, eq=False)
class ContentPolicy:
    """What is recorded of a call's content, and where.

    Attributes:
        capture: ``NO_CONTENT``, ``SPAN_ONLY``, ``EVENT_ONLY`` or ``SPAN_AND_EVENT``.
        redactor: is given every text before it is recorded; what it raises means that nothing is recorded
            in the place of that text.
        max_bytes: size of one document or text, in bytes of UTF-8; JSON stays valid JSON.
        hook: is given the whole conversation of each call, redacted, whatever ``capture`` says; see
            `completion_hook`.
    """

    capture: str = NO_CONTENT
    redactor: Redactor | None = None
    max_bytes: int = 256 * 1024
    hook: CompletionHook | None = None

    @classmethod
    def of(cls, settings: Settings) -> ContentPolicy:
        """The policy that the options ask for. With a redactor that cannot be found, nothing is captured."""
        from .completion_hook import load

        redactor = settings.redactor
        if isinstance(redactor, str):
            try:
                redactor = redactors.by_name(redactor)
            except Exception as error:
                logger.warning("no content is captured: the redactor %r cannot be loaded (%s)", redactor, error)
                return cls()
        return cls(settings.capture_content, redactor, settings.max_attribute_bytes, load(settings.completion_hook))

    @cached_property
    def on_span(self) -> bool:
        """Content goes on spans."""
        return self.capture in (SPAN_ONLY, SPAN_AND_EVENT)

    @cached_property
    def on_event(self) -> bool:
        """Content goes on log records."""
        return self.capture in (EVENT_ONLY, SPAN_AND_EVENT)

    @cached_property
    def of_all(self) -> bool:
        """Somebody wants the content of each call, also of one whose span does not record: the events, or the hook."""
        return self.on_event or self.hook is not None

    def label(self, text: str) -> str:
        """A short text that is recorded because it was asked for by name: without keys, and short."""
        return cut(redactors.keys(text), self.max_bytes)

    def text(self, text: str, secrets: Iterable[str] = ()) -> str:
        """A free text as it may be recorded where content is."""
        return cut(self._redact(text, tuple(secrets)), self.max_bytes)

    def documents(self, conversation: Conversation) -> dict[str, Document]:
        """The conversation as it may be recorded, by the names of `semconv.content.CONTENT`."""
        secrets = conversation.secrets
        return {name: Document(self._told(document, secrets), self.max_bytes) for name, document in conversation.documents().items()}

    def _told(self, document: list[Any], secrets: tuple[str, ...]) -> Sequence[str]:
        """JSON of redacted items. Of a text that comes again it is known, unless a redactor wants to see it each time."""
        by = _knowing(self, secrets)
        if self.redactor is None:
            with contextlib.suppress(AttributeError):  # one that is more than a text
                # A history is long, and all of it may be known.
                known = [text for mark, text in map(_TOLD, document) if mark is by]
                if len(known) == len(document):
                    return known
        return [self._told_once(item, secrets, by) for item in document]

    def _told_once(self, item: Any, secrets: tuple[str, ...], by: object) -> str:
        shared = item if type(item) is parts.TextMessage and self.redactor is None else None
        if shared is not None:
            mark, known = shared.told  # both at once: another thread may tell it
            if mark is by:
                return known
        text = dump(self._message(item, secrets))
        if shared is not None:
            shared.told = by, text
        return text

    def redact(self, value: Any) -> Any:
        """A copy of a document or a text with the redactor run over what it says."""
        if isinstance(value, (list, tuple)):
            return [self._message(item, ()) for item in value]
        return self._message(value, ())

    def exception(self, error: BaseException, secrets: Iterable[str] = ()) -> tuple[str, str]:
        """Message and stack trace of ``error``. Both may quote the prompt: only for where content goes."""
        known = tuple(secrets)
        return self.text(str(error), known), self.text("".join(traceback.format_exception(error)), known)

    def _message(self, message: Any, secrets: tuple[str, ...]) -> Any:
        if not isinstance(message, Mapping):
            return parts.each_text(message, lambda text: self._redact(text, secrets))
        done: dict[str, Any] = {}
        for name, value in message.items():
            if name == "parts" and isinstance(value, (list, tuple)):
                done[name] = [self._message(part, secrets) for part in value]
            elif name in _SHAPE:
                done[name] = value
            else:
                done[name] = parts.each_text(value, lambda text: self._redact(text, secrets))
        return done

    def _redact(self, text: str, secrets: tuple[str, ...]) -> str:
        # The keys that are known go first: a redactor might leave half of one.
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET and secret in text:
                text = text.replace(secret, "[key]")
        if self.redactor is not None:
            try:
                text = str(self.redactor(text))
            except Exception as error:
                report("the redactor", error)
                return _FAILED
        return redactors.keys(text)

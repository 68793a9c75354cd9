"""What a span and its log records say of a call: names by the vocabularies, content by the one policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode

from . import openinference
from .content import completion_hook
from .content.policy import ContentPolicy
from .events import emit_record, takes_structures
from .semconv import gen_ai, litellm
from .semconv.content import CONTENT
from .settings import Settings
from .who import SHARED, Who

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context

    from .content.policy import Document
    from .invocation import Invocation
    from .providers import Providers
    from .semconv.vocabulary import Fact

Attributes = dict[str, Any]
_DOCUMENTS = {fact.name: fact.attribute for fact in CONTENT}


class Recording:
    """One for each layer.

    Args:
        providers: for the logger of the events.
        table: the facts that this kind of span carries.
        settings: the vocabulary and the allow-lists; the defaults unless given.
        policy: of content; the one that the settings ask for unless given.
    """

    def __init__(
        self,
        providers: Providers,
        table: Iterable[Fact],
        settings: Settings | None = None,
        policy: ContentPolicy | None = None,
    ) -> None:
        settings = settings or Settings.resolve({})
        rows = list(table)
        self.policy = policy or ContentPolicy.of(settings)
        self._providers = providers
        self._who = Who(settings, self.policy)
        self._open_inference = settings.vocabulary != "gen_ai"
        self._is_llm = any(fact.name == "operation" for fact in rows)
        #: Of the GenAI event, which has these names in every vocabulary.
        self._names = {fact.name: fact.attribute for fact in rows}
        ours = [fact for fact in rows if settings.vocabulary != "openinference" or not fact.attribute.startswith("gen_ai.")]
        self._on_span = {fact.name: fact.attribute for fact in ours}
        self._at_start = {fact.name: fact.attribute for fact in ours if fact.at_start}
        self._shared: dict[str, str] = {name: self._names[name] for name in SHARED if name in self._names}

    def identify(self, facts: dict[str, Any], context: Context) -> None:
        """Add to ``facts`` who the call is for, as ``context``, that of the caller, and the call itself say."""
        facts.update(self._who.facts(facts, context))

    def at_start(self, facts: dict[str, Any]) -> Attributes:
        """The attributes that a sampler needs."""
        start = {name: facts[fact] for fact, name in self._at_start.items() if facts.get(fact) is not None}
        return {**start, **openinference.attributes(facts, self._is_llm)} if self._open_inference else start

    def attributes(self, facts: Mapping[str, Any]) -> Attributes:
        """All facts, by the names of the vocabularies."""
        done = _named(self._on_span, facts)
        return {**done, **openinference.attributes(facts, self._is_llm)} if self._open_inference else done

    def shared(self, facts: Mapping[str, Any]) -> Attributes:
        """Who the call is for, for the log records that belong to it."""
        return _named(self._shared, facts)

    def failed(self, invocation: Invocation, error: BaseException) -> None:
        """The exception event and the status. Their texts may quote the prompt: they are content."""
        said = self._exception(invocation, error) if self.policy.on_span else {gen_ai.EXCEPTION_TYPE: _type(error)}
        invocation.span.add_event(gen_ai.EVENT_EXCEPTION, said)
        invocation.span.set_status(Status(StatusCode.ERROR, said.get(gen_ai.EXCEPTION_MESSAGE)))

    def _exception(self, invocation: Invocation, error: BaseException) -> Attributes:
        """What is said of it where content goes: redacted once, on the span as on the event."""
        said: Attributes | None = invocation.kept.get("exception")
        if said is None:
            message, stack = self.policy.exception(error, invocation.kept.get("secrets", ()))
            said = {gen_ai.EXCEPTION_TYPE: _type(error), gen_ai.EXCEPTION_MESSAGE: message, gen_ai.EXCEPTION_STACKTRACE: stack}
            invocation.kept["exception"] = said
        return said

    def content(self, invocation: Invocation) -> None:
        """The conversation: on the span, on the event, to the completion hook, as the policy says.

        The event and the hook have that of a call that is not sampled, too: the event is there to store it
        independently from traces. Source: gen_ai.client.inference.operation.details of the GenAI conventions.
        """
        span, policy = invocation.span, self.policy
        conversation = invocation.kept.get("conversation")
        if conversation is None:
            return
        documents = policy.documents(conversation)
        if policy.on_span and span.is_recording():
            if "operation" in self._on_span:
                span.set_attributes({_DOCUMENTS[name]: document.json for name, document in documents.items()})
            if self._open_inference:
                span.set_attributes(openinference.content(invocation.facts, documents))
        self._emit(invocation, documents)

    def _emit(self, invocation: Invocation, documents: Mapping[str, Document]) -> None:
        """The GenAI events. The hook is given the record before it is emitted: it may add references to it."""
        policy, span = self.policy, invocation.span

        def tell_hook(record: Any) -> None:
            if policy.hook is not None:
                completion_hook.call(policy.hook, documents, span if span.is_recording() else None, record)

        if not policy.on_event:
            tell_hook(None)
            return
        structured = takes_structures()
        said = {
            _DOCUMENTS[name]: document.value if structured else document.json for name, document in documents.items()
        }
        attributes = {**_named(self._names, invocation.facts), **said}
        emit_record(self._providers.logger, span, gen_ai.EVENT_OPERATION_DETAILS, attributes, see=tell_hook)
        error = invocation.error
        if error is not None:
            said = {**self._exception(invocation, error), **self.shared(invocation.facts)}
            emit_record(self._providers.logger, span, gen_ai.EVENT_OPERATION_EXCEPTION, said, severity="WARN")


def _type(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"


def _named(names: Mapping[str, str], facts: Mapping[str, Any]) -> Attributes:
    """What ``facts`` says, by ``names``; not what it does not know."""
    done = {names[fact]: value for fact, value in facts.items() if value is not None and fact in names}
    for key, value in (facts.get("metadata") or {}).items():
        done[litellm.METADATA_PREFIX + key] = value
    return done

"""What is recorded of a conversation: its form, its limits, and who may have it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from opentelemetry.sdk._logs import LoggerProvider, export
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import TraceFlags

import otel_llm_bridge
from otel_llm_bridge import ContentPolicy, RedactingExporter, RedactingLogExporter, redactors, streams
from otel_llm_bridge.events import takes_structures
from otel_llm_bridge.litellm import conversations
from tests.conftest import Bridge
from tests.demo.families import BY_NAME, FAMILIES, PROMPT, Family

#: The class was renamed.
MemoryLogs: Final[Any] = getattr(export, "InMemoryLogRecordExporter", None) or export.InMemoryLogExporter  # type: ignore[attr-defined]
_SCHEMAS: Final = next(Path(__file__).parents[1].joinpath("semconv_data").rglob("gen-ai-input-messages.json")).parent
SCHEMAS: Final = {
    f"gen_ai.{name.replace('-', '_', 1) if name.startswith('system') else name.replace('-', '.')}": json.loads(
        (_SCHEMAS / f"gen-ai-{name}.json").read_text()
    )
    for name in ("input-messages", "output-messages", "system-instructions", "tool-definitions")
}


async def make(family: Family, provider: Any, **more: Any) -> Any:
    """Make the call of a row, and read its stream."""
    result = family.callable()(**family.kwargs(provider, **more))
    if family.is_async:
        result = await result
    if family.streams:
        return [chunk async for chunk in result] if family.is_async else list(result)
    return result


def valid(attribute: str, value: Any) -> list[Any]:
    """The document, checked against its schema, every part of a known type against the schema of that type."""
    document: list[Any] = json.loads(value) if isinstance(value, str) else json.loads(json.dumps(value))
    schema = SCHEMAS[attribute]
    jsonschema.validate(document, schema)
    known = {
        node["properties"]["type"]["const"]: name
        for name, node in schema["$defs"].items()
        if "const" in node.get("properties", {}).get("type", {})
    }
    for item in document:
        for part in item.get("parts", [item] if attribute == "gen_ai.system_instructions" else []):
            if part["type"] in known:
                jsonschema.validate(part, {"$ref": f"#/$defs/{known[part['type']]}", "$defs": schema["$defs"]})
            else:
                assert part["type"] == "generic", part
    return document


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
async def test_every_family_is_valid(family: Family, provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Each family's documents follow the schemas, and both sides of the conversation are there."""
    bridge = make_bridge(capture_content="SPAN_ONLY")
    await make(family, provider)
    said = dict(bridge.span().attributes or {})
    documents = {name: valid(name, value) for name, value in said.items() if name in SCHEMAS}
    if not family.path.endswith("transcription"):
        asked = family.arguments.get("query") or family.arguments.get("document", {}).get("document_url", PROMPT)
        assert asked in json.dumps(documents["gen_ai.input.messages"])
    if family.path.endswith("embedding"):
        assert "gen_ai.output.messages" not in documents, "vectors are never recorded"
    else:
        (answer, *_) = documents["gen_ai.output.messages"]
        assert answer["role"] == "assistant" and answer["parts"]


_PIXEL: Final = b"\x89PNG\r\n\x1a\n" + bytes(1500)
_DATA_URL: Final = "data:image/png;base64," + base64.b64encode(_PIXEL).decode()
RICH: Final[list[dict[str, Any]]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": _DATA_URL}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"seen": true}'},
]  # fmt: skip


def test_parts(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Text, images, tool calls and tool responses are parts of their own; data in place is type, size and hash."""
    import litellm

    bridge = make_bridge(capture_content="SPAN_ONLY")
    litellm.completion(model="openai/reasoning", api_base=provider.api_base, api_key="sk-x", messages=RICH)
    span = bridge.span()
    messages = valid("gen_ai.input.messages", (span.attributes or {})["gen_ai.input.messages"])
    assert [message["role"] for message in messages] == ["system", "user", "user", "assistant", "tool"]
    blob = messages[1]["parts"][1]
    assert (blob["type"], blob["mime_type"], blob["size"]) == ("blob", "image/png", len(_PIXEL))
    assert blob["sha256"] == hashlib.sha256(_PIXEL).hexdigest()
    assert messages[2]["parts"] == [{"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}]
    assert messages[3]["parts"] == [{"type": "tool_call", "name": "look", "arguments": {"at": "it"}, "id": "c1"}]
    assert messages[4]["parts"] == [{"type": "tool_call_response", "response": {"seen": True}, "id": "c1"}]
    assert _DATA_URL[40:200] not in span.to_json()
    answer = valid("gen_ai.output.messages", (span.attributes or {})["gen_ai.output.messages"])
    assert [part["type"] for part in answer[0]["parts"]] == ["reasoning", "text"]


def test_instructions_apart(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Instructions that an API takes beside its messages are recorded as such."""
    import litellm

    bridge = make_bridge(capture_content="SPAN_ONLY")
    litellm.responses(model="openai/gpt-4o-mini", input="Hi", instructions="Be brief.", api_base=provider.api_base, api_key="sk-x")
    value = (bridge.span().attributes or {})["gen_ai.system_instructions"]
    assert valid("gen_ai.system_instructions", value) == [{"type": "text", "content": "Be brief."}]


async def test_a_later_change_is_not_recorded(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """A list that the caller changes while the stream is open is recorded as it was at the call."""
    import litellm

    bridge = make_bridge(capture_content="SPAN_ONLY")
    messages = [{"role": "user", "content": "as it was"}]
    stream = await litellm.acompletion(model="openai/gpt-4o-mini", messages=messages, stream=True, api_base=provider.api_base, api_key="sk-x")
    messages[0]["content"] = "changed"
    messages.append({"role": "user", "content": "added"})
    async for _ in stream:
        pass
    recorded = str((bridge.span().attributes or {})["gen_ai.input.messages"])
    assert "as it was" in recorded and "changed" not in recorded and "added" not in recorded


@pytest.mark.parametrize(
    ("mode", "on_span", "on_event"),
    [("NO_CONTENT", False, False), ("SPAN_ONLY", True, False), ("EVENT_ONLY", False, True), ("SPAN_AND_EVENT", True, True)],
)
@pytest.mark.parametrize("behaviour", ["echo", "error-echo"])
def test_where_it_goes(mode: str, on_span: bool, on_event: bool, behaviour: str, provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Each mode puts content where it says, for answers and for errors; events have structured values where OpenTelemetry takes them."""
    import litellm

    memory = MemoryLogs()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(export.SimpleLogRecordProcessor(memory))
    bridge = make_bridge(capture_content=mode, logger_provider=logs)
    failed = behaviour.startswith("error")
    try:
        litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.at(behaviour), api_key="sk-x", max_retries=0)
    except litellm.BadRequestError:
        assert failed
    span = bridge.span()
    assert (PROMPT in span.to_json()) == on_span
    assert (PROMPT in str(span.status.description)) == (on_span and failed)
    found = [record.log_record for record in memory.get_finished_logs()]
    records = {getattr(record, "event_name", None) or record.attributes["event.name"]: dict(record.attributes) for record in found}
    assert ("gen_ai.client.inference.operation.details" in records) == on_event
    assert ("gen_ai.client.operation.exception" in records) == (on_event and failed)
    assert (PROMPT in repr(records)) == on_event
    if on_event:
        details = records["gen_ai.client.inference.operation.details"]
        messages = details["gen_ai.input.messages"]
        assert isinstance(messages, str) != takes_structures()
        valid("gen_ai.input.messages", messages if isinstance(messages, str) else json.loads(json.dumps(messages, default=dict)))
        assert details["gen_ai.operation.name"] == "chat"


@pytest.mark.parametrize(
    ("mode", "events"),
    [
        ("SPAN_ONLY", []),
        ("EVENT_ONLY", ["gen_ai.client.inference.operation.details", "gen_ai.client.operation.exception"]),
        ("SPAN_AND_EVENT", ["gen_ai.client.inference.operation.details", "gen_ai.client.operation.exception"]),
    ],
)
def test_a_call_that_is_not_sampled(mode: str, events: list[str], provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Its content is on events, which store it independently from traces; where there are none, nothing is even redacted."""
    import litellm

    memory = MemoryLogs()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(export.SimpleLogRecordProcessor(memory))
    seen: list[str] = []

    def redactor(text: str) -> str:
        seen.append(text)
        return text

    spans = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    make_bridge(tracer_provider=spans, capture_content=mode, logger_provider=logs, redactor=redactor)
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.at("error-echo"), api_key="sk-x", max_retries=0)
    records = [record.log_record for record in memory.get_finished_logs()]
    assert [getattr(record, "event_name", None) or record.attributes["event.name"] for record in records] == events
    assert bool(seen) == bool(events) == any(PROMPT in str(record.attributes) for record in records)
    assert all(record.trace_id and not (record.trace_flags or 0) & TraceFlags.SAMPLED for record in records)


class _OnlyLogical(Sampler):
    """Attempts are not sampled; the calls above them are."""

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.DROP if name.startswith("chat") else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "only logical calls"


def test_a_key_of_an_attempt_that_is_not_sampled(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """The logical call records the exception, which quotes the key that the attempt was made with."""
    import litellm

    memory = InMemorySpanExporter()
    spans = TracerProvider(sampler=_OnlyLogical(), shutdown_on_exit=False)
    spans.add_span_processor(SimpleSpanProcessor(memory))
    make_bridge(tracer_provider=spans, capture_content="SPAN_ONLY")
    key = "a key of no known shape"
    to = {"model": "openai/gpt-4o-mini", "api_base": provider.at("error-echo"), "api_key": key, "max_retries": 0}
    router = litellm.Router([{"model_name": "group", "litellm_params": to}], num_retries=0)
    with pytest.raises(litellm.BadRequestError, match=key):
        router.completion(model="group", messages=[{"role": "user", "content": f"{PROMPT} {key}"}])
    (span,) = memory.get_finished_spans()
    said = span.to_json()
    assert (PROMPT in said, "[key]" in said, key in said) == (True, True, False)


@pytest.mark.parametrize(("mode", "read"), [("SPAN_ONLY", 0), ("EVENT_ONLY", 1)])
def test_content_that_nobody_will_have_is_not_copied(
    mode: str, read: int, provider: Any, make_bridge: Callable[..., Bridge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a call that is not sampled, where it goes on spans only."""
    import litellm

    asked: list[Any] = []
    original = conversations.read_request
    monkeypatch.setattr(conversations, "read_request", lambda request, *more: asked.append(request) or original(request, *more))
    make_bridge(tracer_provider=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), capture_content=mode)
    answer = litellm.completion(
        model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.api_base, api_key="sk-x", stream=True
    )
    assert list(answer)
    assert len(asked) == read


def test_an_exception_is_redacted_once(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Its message and its stack are on the span and on the event, and the redactor is given each of them once."""
    import litellm

    seen: list[str] = []

    def redactor(text: str) -> str:
        seen.append(text)
        return text

    make_bridge(capture_content="SPAN_AND_EVENT", redactor=redactor, logger_provider=LoggerProvider(shutdown_on_exit=False))
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}], api_base=provider.at("error-echo"), api_key="sk-x", max_retries=0)
    assert len([text for text in seen if text.startswith("Traceback")]) == 1
    assert len([text for text in seen if text.startswith("litellm.BadRequestError")]) == 1


def test_limits(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """A document that is too long is shortened and still valid JSON in the schema's form."""
    import litellm

    bridge = make_bridge(capture_content="SPAN_ONLY", max_attribute_bytes=2048)
    litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "long words " * 5000}], api_base=provider.api_base, api_key="sk-x")
    value = str((bridge.span().attributes or {})["gen_ai.input.messages"])
    assert len(value.encode()) <= 2048
    assert "long words" in json.dumps(valid("gen_ai.input.messages", value))


@pytest.mark.parametrize(
    ("redactor", "text", "left"),
    [
        ("emails", "write to jane.doe@example.co.uk now", "write to [e-mail] now"),
        ("emails", "a@b is no address", "a@b is no address"),
        ("cards", "card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("cards", "number 4111 1111 1111 1112 is none", "number 4111 1111 1111 1112 is none"),
        ("keys", "use sk-proj-abcdefghijklmnop please", "use [key] please"),
        ("keys", "Authorization: Bearer abcdefgh12345678", "Authorization: [key] [key]"),
        ("keys", "AKIAIOSFODNN7EXAMPLE and AIzaSyA1234567890abcdefghijk", "[key] and [key]"),
        ("keys", "a task-force and a risk-free desk", "a task-force and a risk-free desk"),
        ("keys", "the Basic understanding of bearer instruments", "the Basic understanding of bearer instruments"),
        ("keys", "basic step-by-step instructions: key figures", "basic step-by-step instructions: key figures"),
        ("keys", "Basic bWU6c2VjcmV0 and bearer abcdefghijklmnopqrstuvwx", "Basic [key] and bearer [key]"),
        ("keys", "BASIC dXNlcjpwYXNz==, İ: bearer  AbCdEfGh", "BASIC [key], İ: bearer  [key]"),
        ("keys", "İ Bearer abc12345, password = hunter2222", "İ Bearer [key], password = [key]"),
        ("keys", """{"API_KEY": "abcdef123", 'client-secret':'abcdefgh', "monkey": "abcdefgh"}""",
         """{"API_KEY": "[key]", 'client-secret':'[key]', "monkey": "abcdefgh"}"""),
        ("everything", "four", "[4 characters]"),
    ],
)
def test_ready_made_redactors(redactor: str, text: str, left: str) -> None:
    """The ready-made redactors find what they are for, and leave the rest."""
    assert redactors.by_name(redactor)(text) == left


def test_redactor(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """A redactor sees every text, tool arguments included, and what it raises is recorded as nothing."""
    import litellm

    def mine(text: str) -> str:
        if "explode" in text:
            raise ValueError(text)
        return text.replace("Paris", "[city]")

    bridge = make_bridge(capture_content="SPAN_ONLY", redactor=redactors.chain(redactors.emails, mine))
    messages = [
        {"role": "user", "content": "Paris, a@example.com"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"Paris": ["Paris"]}'}}]},
        {"role": "tool", "tool_call_id": "1", "content": "explode now"},
    ]
    litellm.completion(model="openai/echo", messages=messages, api_base=provider.api_base, api_key="sk-x")
    said = bridge.span().to_json()
    assert "Paris" not in said and "a@example.com" not in said and "explode" not in said
    assert "[city], [e-mail]" in said and "the redactor failed" in said


@pytest.mark.parametrize("redactor", ["no.such.module:redact", "json:nothing", "emials", ","])
def test_a_redactor_that_is_not_there(redactor: str, provider: Any, make_bridge: Callable[..., Bridge], caplog: pytest.LogCaptureFixture) -> None:
    """Where the redactor cannot be loaded, or none is named, nothing is captured, and a warning says so."""
    import litellm

    bridge = make_bridge(capture_content="SPAN_ONLY", redactor=redactor)
    litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.api_base, api_key="sk-x")
    assert PROMPT not in bridge.span().to_json()
    assert f"the redactor {redactor!r} cannot be loaded" in caplog.text


@pytest.mark.parametrize("name", ["completion", "completion-stream", "error"])
async def test_two_destinations(name: str, provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """One exporter has everything, the other one no content, on success, failure and stream."""
    bridge = make_bridge(capture_content="SPAN_ONLY")
    outside = InMemorySpanExporter()
    bridge.tracer_provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(outside)))
    if name == "error":
        with pytest.raises(Exception, match="Invalid value"):
            await make(BY_NAME["completion"], provider, api_base=provider.at("error-echo"))
    else:
        await make(BY_NAME[name], provider)
    full, (copy,) = bridge.span(), outside.get_finished_spans()
    assert PROMPT in full.to_json() and PROMPT not in copy.to_json()
    assert copy.context == full.context and copy.name == full.name and copy.status.status_code == full.status.status_code
    left_out = set(full.attributes or {}) - set(copy.attributes or {})
    assert left_out and all(attribute.startswith("gen_ai.") and attribute in SCHEMAS for attribute in left_out)
    assert [event.name for event in copy.events] == [event.name for event in full.events]


def test_two_destinations_of_logs(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """The same for log records; with a redactor the other one has the redacted text."""
    import litellm

    memories = [MemoryLogs() for _ in range(3)]
    policies = [None, ContentPolicy(), ContentPolicy("EVENT_ONLY", redactor=lambda text: text.replace("France", "[land]"))]
    logs = LoggerProvider(shutdown_on_exit=False)
    for memory, policy in zip(memories, policies, strict=True):
        exporter = memory if policy is None else RedactingLogExporter(memory, policy)
        logs.add_log_record_processor(export.SimpleLogRecordProcessor(exporter))
    make_bridge(capture_content="EVENT_ONLY", logger_provider=logs)
    litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.api_base, api_key="sk-x")
    full, nothing, some = (repr([dict(one.log_record.attributes) for one in memory.get_finished_logs()]) for memory in memories)
    assert PROMPT in full and PROMPT not in nothing and "gen_ai.operation.name" in nothing
    assert "capital of [land]" in some and "France" not in some


class Hook:
    """A completion hook as the GenAI utilities define it."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def on_completion(self, **conversation: Any) -> None:
        self.calls.append(conversation)
        if conversation["span"] is not None:
            conversation["span"].set_attribute("gen_ai.input.messages_ref", "file:///there")


def test_completion_hook(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """The hook is given the conversation as objects, after the redactor, also where nothing else records content."""
    import litellm

    hook = Hook()
    bridge = make_bridge(completion_hook=hook, redactor=lambda text: text.replace("France", "[land]"))
    litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.api_base, api_key="sk-x")
    (call,) = hook.calls
    assert call["inputs"][0].role == "user" and call["inputs"][0].parts[0].content == "What is the capital of [land]?"
    assert call["outputs"][0].parts[0].type == "text" and call["outputs"][0].finish_reason == "stop"
    span = bridge.span()
    assert (span.attributes or {})["gen_ai.input.messages_ref"] == "file:///there"
    assert "gen_ai.input.messages" not in (span.attributes or {})


def test_a_hook_that_raises(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """A broken hook breaks neither the call nor the span."""
    import litellm

    class Broken:
        def on_completion(self, **_: Any) -> None:
            raise RuntimeError("broken")

    bridge = make_bridge(completion_hook=Broken())
    answer = litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], api_base=provider.api_base, api_key="sk-x")
    assert answer.choices and bridge.span().end_time


async def test_a_stream_that_is_left(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Of a stream that is left early, what the caller was given is recorded."""
    import litellm

    bridge = make_bridge(capture_content="SPAN_ONLY")
    stream = await litellm.acompletion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], stream=True, api_base=provider.api_base, api_key="sk-x")
    given = ""
    async for chunk in stream:
        given += chunk.choices[0].delta.content or ""
        if given.count(" ") >= 2:
            break
    if hasattr(stream, "aclose"):  # old versions of LiteLLM have none
        await stream.aclose()
    del stream
    streams.settle_left_streams(5)
    (answer,) = valid("gen_ai.output.messages", (bridge.span().attributes or {})["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": given}] and answer["finish_reason"] == "unknown"


_CALLS: Final[dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]] = {
    "a function call of before there were tools": (
        [{"function_call": {"name": "look", "arguments": '{"at"'}}, {"function_call": {"arguments": ': "it"}'}}],
        [{"type": "tool_call", "name": "look", "arguments": {"at": "it"}}],
    ),
    "two tool calls with one number": (
        [
            {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": '}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"it"}'}}]},
            {"content": "And"},
            {"tool_calls": [{"index": 0, "id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"at"'}}]},
            {"tool_calls": [{"index": 0, "id": "c2", "function": {"arguments": ': "me"}'}}]},
        ],
        [
            {"type": "tool_call", "name": "look", "arguments": {"at": "it"}, "id": "c1"},
            {"type": "text", "content": "And"},
            {"type": "tool_call", "name": "look", "arguments": {"at": "me"}, "id": "c2"},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _CALLS)
def test_calls_in_a_stream(name: str, make_bridge: Callable[..., Bridge]) -> None:
    """A call is put together from its pieces, and is one of its own, however the provider writes it."""
    import httpx
    import litellm
    import openai

    deltas, expected = _CALLS[name]
    chunks: list[dict[str, Any]] = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"  # without one a newer LiteLLM takes the stream for cut off
    text = "".join(f"data: {said}\n\n" for said in (*map(json.dumps, chunks), "[DONE]"))
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text)
    http = httpx.Client(transport=httpx.MockTransport(lambda _request: answer))

    bridge = make_bridge(capture_content="SPAN_ONLY")
    client = openai.OpenAI(api_key="sk-x", base_url="http://localhost", http_client=http)
    list(litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], stream=True, client=client))
    (said,) = valid("gen_ai.output.messages", (bridge.span().attributes or {})["gen_ai.output.messages"])
    assert said["parts"] == expected


def test_public_names() -> None:
    """Everything that the manual names is importable from the package."""
    for name in otel_llm_bridge.__all__:
        assert getattr(otel_llm_bridge, name) is not None

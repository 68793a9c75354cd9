"""Who a call is for, what it belongs to, and the calls that are not recorded."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, cast

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider, export

import otel_llm_bridge
from otel_llm_bridge import trace_ids
from tests.conftest import Bridge
from tests.demo.families import BY_NAME, FAMILIES, MESSAGES, Family
from tests.privacy.test_content import MemoryLogs, make

CHAT: Final = {"model": "openai/gpt-4o-mini", "messages": [*MESSAGES], "api_key": "sk-x"}
SECRET: Final = "user-4711"


def router(provider: Any) -> Any:
    """A Router that first fails and then falls back."""
    import litellm

    def deployment(name: str, behaviour: str) -> dict[str, Any]:
        params = {"model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour), "api_key": "sk-x", "max_retries": 0}
        return {"model_name": name, "litellm_params": params}

    return litellm.Router([deployment("first", "error-500"), deployment("second", "ok")], num_retries=0, fallbacks=[{"first": ["second"]}])


async def test_around_a_router(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """What is set around a Router call is on its span, each attempt and the log records, and in no request."""
    memory = MemoryLogs()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(export.SimpleLogRecordProcessor(memory))
    bridge = make_bridge(metadata_keys=["team"], capture_content="EVENT_ONLY", logger_provider=logs)
    provider.reset()
    with otel_llm_bridge.attributes(user=SECRET, session="session-4711", tags=["tag-4711"], team="team-4711"):
        await router(provider).acompletion(model="first", messages=[*MESSAGES])
    spans = bridge.all()
    assert len(spans) == 3
    wanted = {"litellm.end_user": SECRET, "gen_ai.conversation.id": "session-4711", "litellm.tags": ("tag-4711",), "litellm.metadata.team": "team-4711"}
    for span in spans:
        assert wanted.items() <= dict(span.attributes or {}).items()
    records = [dict(record.log_record.attributes) for record in memory.get_finished_logs()]
    assert len(records) >= 3
    for record in records:
        assert {name: tuple(value) if isinstance(value, list) else value for name, value in record.items() if name in wanted} == wanted
    for request in provider.requests:
        assert b"4711" not in request.body and "4711" not in str(request.headers)


@pytest.mark.parametrize(("keys", "found"), [((), set()), (("user", "tags", "team"), {"litellm.end_user", "litellm.tags", "litellm.metadata.team"})])
async def test_allow_list(keys: tuple[str, ...], found: set[str], provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Of LiteLLM's own `user` and `metadata` only what is listed is recorded, on the Router's span and the attempt."""
    bridge = make_bridge(metadata_keys=keys)
    metadata = {"team": "blue", "tags": ["a"], "secret": "s3cret"}
    await router(provider).acompletion(model="second", messages=[*MESSAGES], user=SECRET, metadata=metadata)
    names = {"litellm.end_user", "litellm.tags", "litellm.metadata.team", "litellm.metadata.secret"}
    assert [names & set(span.attributes or {}) for span in bridge.all()] == [found, found]


def test_what_is_not_listed(provider: Any, make_bridge: Callable[..., Bridge], caplog: pytest.LogCaptureFixture) -> None:
    """A name that the allow-list does not have is left out, and one warning says which option has to list it."""
    import litellm

    bridge = make_bridge()
    for _ in range(2):
        with otel_llm_bridge.attributes(department="blue"):
            litellm.completion(**CHAT, api_base=provider.api_base)
    assert all("blue" not in span.to_json() for span in bridge.all())
    assert caplog.text.count("department") == 1 and "metadata_keys" in caplog.text


def test_baggage(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Listed entries of the baggage are recorded, others are not; a key in one of them is not shown."""
    import litellm

    bridge = make_bridge(baggage_keys=["user.id", "tenant", "note"])
    entries = {"user.id": SECRET, "tenant": "blue", "other": "red", "note": "sk-abcdefghijklmnop"}
    current = context.get_current()
    for name, value in entries.items():
        current = baggage.set_baggage(name, value, current)
    token = context.attach(current)
    try:
        litellm.completion(**CHAT, api_base=provider.api_base)
    finally:
        context.detach(token)
    said = dict(bridge.span().attributes or {})
    assert (said["litellm.end_user"], said["litellm.metadata.tenant"]) == (SECRET, "blue")
    assert said["litellm.metadata.note"] == "[key]" and "litellm.metadata.other" not in said


def test_nested_blocks(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Blocks add up, the inner one wins, and nothing is left behind."""
    import litellm

    bridge = make_bridge()
    with otel_llm_bridge.attributes(user="outer", tags=["a"]), otel_llm_bridge.attributes(user="inner", tags="b"):
        litellm.completion(**CHAT, api_base=provider.api_base)
    litellm.completion(**CHAT, api_base=provider.api_base)
    first, second = (dict(span.attributes or {}) for span in bridge.all())
    assert (first["litellm.end_user"], first["litellm.tags"]) == ("inner", ("a", "b"))
    assert "litellm.end_user" not in second


@pytest.mark.parametrize("around", [contextlib.nullcontext, otel_llm_bridge.attributes], ids=["alone", "in a block"])
async def test_what_the_call_says_is_a_label(around: Callable[[], AbstractContextManager[None]], provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """A key in the user, a tag or the session of the call itself is not shown, and none of them is long, in a block or not."""
    bridge = make_bridge(metadata_keys=["user", "tags"], max_attribute_bytes=256)
    key = "sk-abcdefghijklmnop"
    with around():
        await router(provider).acompletion(
            model="second", messages=[*MESSAGES], user=key, metadata={"tags": [key, "x" * 1000]}, litellm_session_id=f"of {key}"
        )
    assert len(bridge.all()) == 2
    for span in bridge.all():
        said = dict(span.attributes or {})
        first, second = cast("tuple[str, str]", said["litellm.tags"])
        assert (said["litellm.end_user"], first, said["gen_ai.conversation.id"]) == ("[key]", "[key]", "of [key]")
        assert len(second.encode()) <= 256


# --- from a response to its trace ----------------------------------------------------------------------


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.is_async], ids=lambda family: family.name)
async def test_trace_id(family: Family, provider: Any, bridge: Bridge) -> None:
    """From the response alone the helper returns the trace that was exported."""
    result = await family.callable()(**family.kwargs(provider))
    found = otel_llm_bridge.get_trace_id(result)
    if family.streams:
        async for _ in result:
            pass
    assert found == f"{bridge.span().context.trace_id:032x}"


async def test_trace_id_of_a_router(provider: Any, bridge: Bridge) -> None:
    """A Router's answer belongs to the trace of its logical call."""
    answer = await router(provider).acompletion(model="first", messages=[*MESSAGES])
    assert {f"{span.context.trace_id:032x}" for span in bridge.all()} == {otel_llm_bridge.get_trace_id(answer)}


def test_no_growth(provider: Any, bridge: Bridge) -> None:
    """The table keeps no response alive, and forgets it when it is gone."""
    import litellm

    gc.collect()
    before = len(trace_ids._traces._alive)
    for _ in range(20):
        litellm.completion(**CHAT, api_base=provider.api_base)
    gc.collect()
    assert len(trace_ids._traces._alive) <= before + 2, "LiteLLM itself may hold the last one"
    for number in range(3000):
        trace_ids.remember({"id": str(number)}, trace.INVALID_SPAN)
    assert len(trace_ids._traces._by_id) == 1024
    assert otel_llm_bridge.get_trace_id(object()) is None


# --- what is not recorded -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["completion", "acompletion", "acompletion-stream", "embedding", "aresponses", "aanthropic_messages"])
async def test_suppressed(name: str, provider: Any, bridge: Bridge) -> None:
    """In a `suppressed` block, in OpenTelemetry's own, and with `no-log` the call works and leaves nothing."""
    family = BY_NAME[name]
    with otel_llm_bridge.suppressed():
        assert await make(family, provider) is not None
    with suppress_instrumentation():
        await make(family, provider)
    if name in ("completion", "acompletion", "acompletion-stream"):
        await make(family, provider, **{"no-log": True})
    assert bridge.all() == []
    await make(family, provider)
    assert len(bridge.all()) == 1


async def test_no_log_at_a_router(provider: Any, bridge: Bridge) -> None:
    """`no-log` at a Router leaves neither its span nor those of its attempts."""
    await router(provider).acompletion(model="first", messages=[*MESSAGES], **{"no-log": True})
    assert bridge.all() == []


async def test_health_checks(provider: Any, bridge: Bridge) -> None:
    """LiteLLM's health check calls the model and leaves nothing, be it well or ill."""
    import litellm

    pytest.importorskip("cryptography", reason="old versions of LiteLLM need it for health checks, without saying so")
    for behaviour in ("ok", "error-500"):
        provider.reset()
        params = {"model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour), "api_key": "sk-x", "max_retries": 0}
        await litellm.ahealth_check(params, mode="chat")
        assert provider.requests, "it did call"
    assert bridge.all() == []


async def test_a_recovered_fallback_is_no_error(provider: Any, bridge: Bridge) -> None:
    """A fallback that worked leaves the Router's span without an error."""
    await router(provider).acompletion(model="first", messages=[*MESSAGES])
    logical, failed, served = bridge.all()
    assert [span.status.status_code.name for span in (logical, failed, served)] == ["UNSET", "ERROR", "UNSET"]

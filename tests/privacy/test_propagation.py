"""`traceparent` goes to the hosts that were named, from the attempt's span, and changes nothing else."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, Final

import pytest
from packaging.version import Version

from otel_llm_bridge.propagation import Traceparent
from tests.conftest import Bridge
from tests.demo.families import BY_NAME, FAMILIES, MESSAGES, Family
from tests.privacy.test_content import make

#: Families for which LiteLLM sends no header of the caller's, or puts it into the body.
WITHOUT: Final = frozenset({
    "transcription", "atranscription", "speech", "aspeech", "moderation", "amoderation",
    "interactions-openai", "ainteractions-openai", "interactions-openai-stream", "ainteractions-openai-stream",
}) | (
    {"image_generation", "aimage_generation", "aimage_edit"} if Version(importlib.metadata.version("litellm")) < Version("1.81") else set()
)  # fmt: skip
#: What the boundary of a form, random for each request, is part of.
_FORMS: Final = ("image_edit", "transcription")
_CHANGING: Final = frozenset({"traceparent", "content-type"})


def is_without(family: Family) -> bool:
    """Whether the header cannot be sent."""
    return family.name in WITHOUT


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
async def test_every_family(family: Family, provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """The provider sees the attempt's span as the parent; body and all other headers are as without us."""
    provider.reset()
    await make(family, provider)
    bridge = make_bridge(traceparent_hosts=["127.0.0.1"])
    await make(family, provider)
    before, after = provider.requests[0], provider.requests[-1]
    sent = after.headers.get("traceparent")
    if is_without(family):
        assert sent is None
    else:
        context = bridge.span().context
        assert sent == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if not family.name.removeprefix("a").startswith(_FORMS):
        assert after.body == before.body
    assert {name: value for name, value in after.headers.items() if name not in _CHANGING} == {
        name: value for name, value in before.headers.items() if name not in _CHANGING
    }


@pytest.mark.parametrize("hosts", [[], ["api.openai.com"], ["0.0.1"]])
def test_other_hosts(hosts: list[str], provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """No header for hosts that were not named, and none by default."""
    import litellm

    make_bridge(traceparent_hosts=hosts)
    provider.reset()
    litellm.completion(model="openai/gpt-4o-mini", messages=[*MESSAGES], api_base=provider.api_base, api_key="sk-x")
    assert "traceparent" not in provider.requests[0].headers


def test_the_callers_headers(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """The caller's dictionaries stay as they are; a traceparent of its own is what is sent."""
    import litellm

    bridge = make_bridge(traceparent_hosts="*")
    provider.reset()
    own = {"x-own": "1"}
    arguments = {"model": "openai/gpt-4o-mini", "messages": [*MESSAGES], "api_base": provider.api_base, "api_key": "sk-x", "extra_headers": own}
    litellm.completion(**arguments)
    assert own == {"x-own": "1"} and arguments["extra_headers"] is own
    given = f"00-{1:032x}-{2:016x}-01"
    litellm.completion(**{**arguments, "extra_headers": {"Traceparent": given}})
    first, second = provider.requests
    assert first.headers["x-own"] == "1" and f"{bridge.all()[0].context.span_id:016x}" in first.headers["traceparent"]
    assert second.headers["traceparent"] == given


async def test_each_attempt_of_a_router(provider: Any, make_bridge: Callable[..., Bridge]) -> None:
    """Each attempt of a Router sends its own span."""
    import litellm

    bridge = make_bridge(traceparent_hosts="127.0.0.1")
    provider.reset()
    params = {"model": "openai/gpt-4o-mini", "api_base": provider.at("error-500,ok"), "api_key": "sk-x", "max_retries": 0}
    router = litellm.Router([{"model_name": "group", "litellm_params": params}], num_retries=1, retry_after=0)
    await router.acompletion(model="group", messages=[*MESSAGES])
    sent = [request.headers["traceparent"].split("-")[2] for request in provider.requests]
    assert sent == [f"{span.context.span_id:016x}" for span in bridge.inference()] and len(set(sent)) == 2


@pytest.mark.parametrize(
    ("hosts", "host", "wanted"),
    [("*", "any.example", True), ("*", None, True), (".example.com", "api.example.com", True), (".example.com", "example.com", False), ("Api.Example.com", "api.example.com", True), ("example.com", "notexample.com", False), ("example.com", None, False)],
)
def test_hosts(hosts: str, host: str | None, wanted: bool) -> None:
    """A name is that host, a leading dot is all below it, a star is everybody."""
    assert Traceparent([hosts]).is_for(host) is wanted


def test_no_row_is_forgotten() -> None:
    """The families without the header are named here, one by one."""
    from otel_llm_bridge.litellm.wrap_points import FAMILIES as ROWS

    assert sorted(row.operation for row in ROWS if not row.headers) == sorted(["transcription", "speech", "moderation"])
    assert all(name in BY_NAME for name in WITHOUT)

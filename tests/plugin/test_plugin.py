"""The pytest plugin, in test sessions of its own."""

from __future__ import annotations

import re

import pytest

from otel_llm_bridge.demo.provider import FakeProvider

pytest_plugins = ["pytester"]

_HEAD = """
import asyncio, os, sys
import pytest

def ask(**more):
    import litellm
    return litellm.completion(
        model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}],
        api_base=os.environ["PROVIDER"], api_key="sk-test", max_retries=0, **more,
    )
"""

_UNUSED = """
def test_nothing():
    assert "litellm" not in sys.modules
    from otel_llm_bridge import LiteLLMInstrumentor
    assert not LiteLLMInstrumentor().is_instrumented_by_opentelemetry
"""

#: What a user's test does -> how many such tests pass and fail, and what the session prints.
_SESSIONS = {
    "a call": (
        """
def test_one(llm_spans):
    ask()
    assert llm_spans.one().name == "chat gpt-4o-mini"
    assert [span.name for span in llm_spans.named("chat gpt-4o-mini")] == ["chat gpt-4o-mini"]
    llm_spans.assert_no_orphans()
""",
        {"passed": 1}, (),
    ),
    "ids count from 1 in each test": (
        """
@pytest.mark.parametrize("again", [1, 2])
def test_ids(llm_spans, again):
    ask()
    context = llm_spans.one().get_span_context()
    assert (context.trace_id, context.span_id) == (1, 1)
    llm_spans.clear()
    assert llm_spans.all() == []
""",
        {"passed": 2}, (),
    ),
    "a tree under a span of the test": (
        """
def test_tree(llm_spans):
    with llm_spans.tracer_provider.get_tracer("mine").start_as_current_span("request"):
        ask()
        list(ask(stream=True))
    assert llm_spans.tree() == "request\\n  chat gpt-4o-mini\\n  chat gpt-4o-mini"
    llm_spans.assert_no_orphans()
""",
        {"passed": 1}, (),
    ),
    "a stream that was dropped needs no sleep": (
        """
def test_dropped(llm_spans):
    next(iter(ask(stream=True)))
    assert llm_spans.one().attributes["litellm.stream.outcome"] in ("abandoned", "closed_early")
""",
        {"passed": 1}, (),
    ),
    "a stream that is still held is open": (
        """
def test_held(llm_spans):
    stream = ask(stream=True)
    next(iter(stream))
    with pytest.raises(AssertionError, match="has not ended"):
        llm_spans.assert_no_orphans()
    stream.close() if hasattr(stream, "close") else list(stream)
    llm_spans.assert_no_orphans()
""",
        {"passed": 1}, (),
    ),
    "a parent that was recorded elsewhere": (
        """
def test_orphan(llm_spans):
    from opentelemetry.sdk.trace import TracerProvider
    with TracerProvider().get_tracer("other").start_as_current_span("elsewhere"):
        ask()
    llm_spans.assert_no_orphans()
""",
        {"failed": 1}, ("*its parent * was recorded elsewhere*",),
    ),
    "more calls than one": (
        """
def test_two(llm_spans):
    ask(); ask()
    llm_spans.one()
""",
        {"failed": 1}, ("*2 LLM spans, not 1*",),
    ),
    "options by a mark": (
        """
@pytest.mark.llm_spans(capture_content="SPAN_ONLY", vocabulary="openinference")
def test_options(llm_spans):
    ask()
    assert "Hello" in llm_spans.one().attributes["input.value"]
""",
        {"passed": 1}, (),
    ),
    "an environment that switches everything off": (
        """
def test_still_on(llm_spans):
    ask()
    llm_spans.one()

@pytest.fixture(autouse=True, scope="module")
def off():
    os.environ.update(OTEL_LLM_BRIDGE_DISABLED="true", OTEL_TRACES_SAMPLER="always_off")
    yield
    del os.environ["OTEL_LLM_BRIDGE_DISABLED"], os.environ["OTEL_TRACES_SAMPLER"]
""",
        {"passed": 1}, (),
    ),
    "a program that has switched the bridge on": (
        """
import otel_llm_bridge
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

theirs, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(theirs))
otel_llm_bridge.instrument(tracer_provider=provider, metadata_keys=["mine"], handle_signals=False)

def test_ours(llm_spans):
    otel_llm_bridge.instrument()
    ask(metadata={"mine": 1})
    assert "litellm.metadata.mine" not in llm_spans.one().attributes
    assert theirs.get_finished_spans() == ()

def test_theirs_again():
    ask(metadata={"mine": 1})
    (span,) = theirs.get_finished_spans()
    assert span.attributes["litellm.metadata.mine"] == 1
""",
        {"passed": 2}, (),
    ),
}  # fmt: skip


def test_sessions(pytester: pytest.Pytester, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's tests end as they should, in a process that has loaded the plugin by its entry point."""
    monkeypatch.setenv("PROVIDER", f"{provider.url}/v1")
    files = {f"test_{name.replace(' ', '_')}": body for name, (body, _, _) in _SESSIONS.items()}
    pytester.makepyfile(**{name: _HEAD + body for name, body in files.items()})
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers", "-rA", timeout=150)
    seen: dict[tuple[str, str], int] = {}
    for outcome, file in re.findall(r"^(PASSED|FAILED|ERROR) (\w+)\.py::", result.stdout.str(), re.MULTILINE):
        seen[file, outcome.lower()] = seen.get((file, outcome.lower()), 0) + 1
    rows = {f"test_{name.replace(' ', '_')}": outcomes for name, (body, outcomes, _) in _SESSIONS.items()}
    assert seen == {(name, outcome): count for name, outcomes in rows.items() for outcome, count in outcomes.items()}
    for _, _, lines in _SESSIONS.values():
        result.stdout.fnmatch_lines_random(lines)


def test_unused(pytester: pytest.Pytester) -> None:
    """Where no test asks for the fixture, nothing is instrumented and LiteLLM is not imported."""
    pytester.makepyfile(_HEAD + _UNUSED)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=100).assert_outcomes(passed=1)


def test_help(pytester: pytest.Pytester) -> None:
    """``pytest --markers`` and ``--fixtures`` explain the plugin."""
    assert "llm_spans(**options)" in pytester.runpytest_subprocess("--markers", timeout=60).stdout.str()
    assert "llm_spans" in pytester.runpytest_subprocess("--fixtures", timeout=60).stdout.str()

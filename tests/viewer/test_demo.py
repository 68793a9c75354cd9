"""The demo, whole: real LiteLLM calls against the fake provider, counted, and shown as trees."""

from __future__ import annotations

import re

import pytest

from otel_llm_bridge.semconv import gen_ai, litellm
from otel_llm_bridge.viewer import Span

from .commands import Demo


def test_every_span_is_delivered(demo: Demo) -> None:
    """The closing line counts what ended against what arrived, and the file holds just as many."""
    done, store, _ = demo
    assert done.returncode == 0, done.stderr
    closing = re.fullmatch(r"delivered (\d+) of (\d+) spans, 0 dropped", done.stderr.splitlines()[-1])
    assert closing, done.stderr
    assert closing[1] == closing[2] == str(len(store.spans()))
    assert len(store.spans()) >= 17
    assert store.counts.duplicates == 0


def test_program_speaks_for_itself(demo: Demo) -> None:
    """Stdout is the program's own: a line for each of its about a dozen steps."""
    done = demo.done
    assert [line.split(".")[0].strip() for line in done.stdout.splitlines()] == [str(n) for n in range(1, 14)]


def test_router_trees(demo: Demo) -> None:
    """The Router's calls stand above their attempts: one with a retry, one with a fallback, each served in the end."""
    done, store, _ = demo
    logical = [trace for trace in store.traces() if trace.spans[0].name.startswith(litellm.SPAN_ROUTER)]
    kinds = [[span.attributes[litellm.ATTEMPT_KIND] for span in trace.spans[1:]] for trace in logical]
    assert kinds == [["first", "retry"], ["first", "fallback"]]
    assert "2 attempts, 1 retry · served by" in done.stderr
    assert "2 attempts, 1 fallback · served by" in done.stderr
    for trace in logical:
        assert {span.parent_span_id for span in trace.spans[1:]} == {trace.spans[0].span_id}


@pytest.mark.parametrize(
    "shows",
    [
        r"▸ chat gpt-4o-mini .* \d+→\d+ tokens",
        r"first chunk \d",
        r"stream complete, \d+ chunks",
        r"✗ AuthenticationError 401",
        r"✗ CancelledError",
        r"▸ embeddings text-embedding-3-small",
        r"\$0\.\d+",
        r"\d+ cached, \d+ reasoning",
    ],
)
def test_tree_shows(shows: str, demo: Demo) -> None:
    """What a reader looks for is there: tokens, cost, first chunk, streams, errors, embeddings."""
    assert re.search(shows, demo.done.stderr), demo.done.stderr


def test_no_content_leaves(demo: Demo) -> None:
    """Neither questions nor answers are in what was exported."""
    exported = str([(span.attributes, span.events, span.status_message) for span in demo.store.spans()])
    assert not any(text in exported for text in ("capital of France", "Paris", "sk-no-key-is-needed"))


def test_scope_and_resource(demo: Demo) -> None:
    """Each span names the bridge as its scope, the program as its service, and has a known operation or is a Router's."""

    def known(span: Span) -> bool:
        return gen_ai.OPERATION_NAME in span.attributes or span.name.startswith(litellm.SPAN_ROUTER)

    spans = demo.store.spans()
    assert {span.scope_name for span in spans} == {"otel_llm_bridge"}
    assert {span.scope.service for span in spans} == {"otel_llm_bridge.demo.program"}
    assert all(known(span) for span in spans)

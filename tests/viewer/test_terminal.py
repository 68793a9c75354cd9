"""The trees word for word, the same with and without colour, and nothing of a span steers the terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from otel_llm_bridge.semconv import gen_ai, litellm
from otel_llm_bridge.viewer import Counts
from otel_llm_bridge.viewer.delivery import Delivery
from otel_llm_bridge.viewer.summary import duration, money
from otel_llm_bridge.viewer.terminal import ASCII, plain, show, tree

from .making import add_log, span, store_of

ROUTER = span(
    "litellm.router assistant", 1, ms=1200,
    events=[(litellm.EVENT_DEPLOYMENT, 1), (litellm.EVENT_RETRY, 300), (litellm.EVENT_DEPLOYMENT, 310)],
    attributes={litellm.ROUTER_ATTEMPTS: 2, litellm.ROUTER_RETRIES: 1, litellm.ROUTER_SERVED_DEPLOYMENT: "b"},
)  # fmt: skip
FAILED = span(
    "chat gpt-4o", 2, 1, start_ms=2, ms=290, kind=3, error=True,
    attributes={
        litellm.ATTEMPT_NUMBER: 1, litellm.ATTEMPT_KIND: "first", litellm.DEPLOYMENT_ID: "a",
        gen_ai.ERROR_TYPE: "RateLimitError", litellm.HTTP_STATUS: 429,
    },
)  # fmt: skip
SERVED = span(
    "chat gpt-4o", 3, 1, start_ms=600, ms=600, kind=3,
    attributes={
        litellm.ATTEMPT_NUMBER: 2, litellm.ATTEMPT_KIND: "retry", litellm.ATTEMPT_WAIT: 0.308, litellm.DEPLOYMENT_ID: "b",
        gen_ai.OPERATION_NAME: "chat", gen_ai.USAGE_INPUT_TOKENS: 120, gen_ai.USAGE_OUTPUT_TOKENS: 45,
        gen_ai.USAGE_CACHE_READ: 100, gen_ai.USAGE_REASONING: 8, litellm.COST_TOTAL: 0.00123,
        gen_ai.RESPONSE_TIME_TO_FIRST_CHUNK: 0.12, litellm.STREAM_OUTCOME: "complete", litellm.STREAM_CHUNKS: 12,
    },
)  # fmt: skip

TREE = """\
trace 00000000000000000000000000000001 · shop · 1.20 s · 3 spans · 120→45 tokens · $0.00123 · 1 error
○ litellm.router assistant     1.20 s ▕██████████████▏ 2 attempts, 1 retry · served by b
│    deployment_selected ×2 +1.00 ms, retry +300 ms
├─ ▸ chat gpt-4o               290 ms ▕███           ▏ #1 first · on a · ✗ RateLimitError 429
└─ ▸ chat gpt-4o               600 ms ▕       ███████▏ #2 retry after 308 ms · on b · 120→45 tokens (100 cached, 8 reasoning) · $0.00123
                                                       first chunk 120 ms · stream complete, 12 chunks
        success +610 ms
"""


def test_router_tree() -> None:
    """A Router call reads as it happened: attempts in order, numbers, cost, errors, events, those after the end too."""
    store = store_of(SERVED, FAILED, ROUTER)
    add_log(store, litellm.EVENT_SUCCESS, SERVED, 610)
    assert plain(tree(store.traces()[0], store.logs(), 140)) == TREE


class Pipe(io.StringIO):
    """A stream that takes all of Unicode."""

    encoding = "utf-8"


class Terminal(Pipe):
    """And says that it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_colours_change_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rich on a terminal there are colours, and under them the very same text."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("NO_COLOR", raising=False)
    store = store_of(ROUTER, FAILED, SERVED)
    coloured, pipe = Terminal(), Pipe()
    show(store, coloured, "done")
    show(store, pipe, "done")
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b" not in pipe.getvalue()
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured.getvalue())
    assert [line.rstrip() for line in bare.splitlines()] == pipe.getvalue().splitlines()


@pytest.mark.parametrize("without", ["rich", "NO_COLOR"])
def test_no_colour(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich, or with NO_COLOR, no colour is written even to a terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    if without == "rich":
        monkeypatch.setitem(sys.modules, "rich.console", None)
    else:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    show(store_of(ROUTER), stream)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", stream.getvalue())
    assert "litellm.router assistant" in stream.getvalue()


def test_ascii_terminal() -> None:
    """A terminal without Unicode gets the same tree in ASCII."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(store_of(ROUTER, FAILED, SERVED, span("名前", 4, 1)), stream, "done")
    text = raw.getvalue().decode("ascii")
    assert "|- > chat gpt-4o" in text
    assert "120->45 tokens" in text


@pytest.mark.parametrize("evil", ["\x1b[31mred", "two\nlines", "\r", "\u202eright to left", "\x9b1m", "\ud800"])
def test_nothing_steers_the_terminal(evil: str) -> None:
    """Escapes, line ends and direction changes in names and values come out as harmless signs."""
    attributes = {} if evil == "\ud800" else {gen_ai.ERROR_TYPE: evil, litellm.DEPLOYMENT_ID: evil}
    name = "x" if evil == "\ud800" else evil
    store = store_of(span(name, 1, attributes=attributes, events=[(name, 1)]))
    lines = tree(store.traces()[0], glyphs=ASCII)
    text = plain(lines, ASCII)
    assert len(text.splitlines()) == len(lines)
    assert not set(text) & set("\x1b\r\u202e\x9b")


def test_newest_trees_are_shown() -> None:
    """Of many traces the newest are shown, and the rest is counted; none at all leaves the closing line."""
    store, short, none = store_of(*(span(f"n{n}", 1, trace=n, start_ms=n) for n in range(1, 6))), Pipe(), Pipe()
    show(store, short, "done", limit=2)
    assert re.findall(r"○ (n\d)", short.getvalue()) == ["n4", "n5"]
    assert "3 earlier traces are not shown" in short.getvalue()
    show(store, none, "done", limit=0)
    assert none.getvalue() == "\ndone\n"


def test_broken_trees_are_shown() -> None:
    """A missing parent, a cycle and a span that is its own parent still show every span once."""
    spans = [span("orphan", 1, 99), span("self", 2, 2), span("x", 3, 4), span("y", 4, 3), span("deep", 5, 1)]
    text = plain(tree(store_of(*spans).traces()[0]))
    assert all(text.count(f"○ {one.name}") == 1 for one in spans)


def test_deep_and_wide_traces_stay_quick() -> None:
    """Five hundred levels and five thousand siblings are shown, each span on its line."""
    deep = [span(f"d{n}", n, n - 1) for n in range(1, 501)]
    wide = [span(f"w{n}", n, 1, trace=2) for n in range(2, 5002)]
    for trace in store_of(*deep, *wide).traces():
        assert len(tree(trace)) == len(trace.spans) + 1


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0.00 µs"), (999, "1.00 µs"), (12_345, "12.3 µs"), (1e6, "1.00 ms"), (999.4e6, "999 ms"), (1.5e9, "1.50 s"), (119e9, "119 s"), (123e9, "2 min 03 s")],
)
def test_duration(nanoseconds: float, text: str) -> None:
    """Durations have three figures and a unit that suits them."""
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [(0, "USD", "$0.0000"), (0.00123, "USD", "$0.00123"), (3e-07, "USD", "$0.000000300"), (0.0123456, "USD", "$0.0123"), (12.5, "EUR", "€12.5000"), (1, "CHF", "1.0000 CHF")],
)
def test_money(amount: float, currency: str, text: str) -> None:
    """Prices of single tokens are not rounded to nothing."""
    assert money(amount, currency) == text


FULL = {"pid": 1, "ended": 17, "exported": 17, "dropped": {}, "failed": 0, "pending": 0, "spooled": 0}


@pytest.mark.parametrize(
    ("received", "duplicates", "reports", "complete", "text"),
    [
        (17, 0, [FULL], True, "delivered 17 of 17 spans, 0 dropped"),
        (1, 0, [{**FULL, "ended": 1}], True, "delivered 1 of 1 span, 0 dropped"),
        (15, 0, [{**FULL, "dropped": {"queue_full": 2}}], False, "delivered 15 of 17 spans, 2 dropped (queue_full 2)"),
        (14, 0, [{**FULL, "failed": 1, "pending": 2}], False, "delivered 14 of 17 spans, 0 dropped, 1 failed, 2 still in memory when the process ended"),
        (34, 1, [FULL, {**FULL, "pid": 2}], True, "delivered 34 of 34 spans, 0 dropped, 1 duplicate ignored"),
        (17, 0, [{**FULL, "ended": 3}, FULL], True, "delivered 17 of 17 spans, 0 dropped"),
        (19, 0, [FULL], True, "delivered 17 of 17 spans, 0 dropped, 2 more received that no report counts"),
        (2, 0, [{"pid": 1, "ended": "many", "dropped": 7}], True, "delivered 0 of 0 spans, 0 dropped, 2 more received that no report counts"),
    ],
)  # fmt: skip
def test_closing_line(received: int, duplicates: int, reports: list[dict[str, object]], complete: bool, text: str) -> None:
    """The closing line compares what was ended with what arrived, and adds up processes."""
    delivery = Delivery.of(Counts(spans=received, duplicates=duplicates), reports)
    assert (str(delivery), delivery.complete) == (text, complete)


def test_closing_line_without_a_report() -> None:
    """Without a report the line does not claim that anything is complete."""
    delivery = Delivery.of(Counts(spans=3), [])
    assert str(delivery).startswith("received 3 spans; no report came")
    assert not delivery.complete

"""The page in a real browser: what it shows, how it is steered, and that nothing of a span is ever executed."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_llm_bridge.semconv import gen_ai, litellm
from otel_llm_bridge.viewer import Receiver, Store
from otel_llm_bridge.viewer.page import Pages, html

from .commands import Demo
from .making import add_log, request, span, store_of

if TYPE_CHECKING:
    from .chromium import Chromium

pytestmark = pytest.mark.browser

IMAGE = Path(__file__).parents[2] / "docs" / "images" / "viewer.png"
QUESTION = '[{"role":"user","parts":[{"type":"text","content":"the question"}]}]'


def a_store() -> Store:
    """A Router call with two attempts, a plain call, and a call of another service that failed."""
    router = span("litellm.router fast", 1, ms=900, events=[(litellm.EVENT_RETRY, 300)], attributes={litellm.ROUTER_ATTEMPTS: 2, litellm.ROUTER_SERVED_DEPLOYMENT: "b"})
    failed = span("chat gpt-4o", 2, 1, ms=300, kind=3, error=True, attributes={gen_ai.ERROR_TYPE: "RateLimitError", litellm.ATTEMPT_NUMBER: 1})
    served = span(
        "chat gpt-4o", 3, 1, start_ms=400, ms=500, kind=3,
        attributes={
            gen_ai.REQUEST_MODEL: "gpt-4o", gen_ai.USAGE_INPUT_TOKENS: 12, gen_ai.USAGE_OUTPUT_TOKENS: 30, litellm.COST_TOTAL: 0.00123,
            gen_ai.RESPONSE_TIME_TO_FIRST_CHUNK: 0.12, litellm.ATTEMPT_NUMBER: 2, gen_ai.INPUT_MESSAGES: QUESTION,
        },
    )  # fmt: skip
    store = store_of(router, failed, served, span("embeddings small", 1, trace=2, start_ms=-1000, ms=40, kind=3))
    store.add("traces", request(span("chat other", 1, trace=3, start_ms=-2000, ms=5, error=True), service="bank"))
    add_log(store, litellm.EVENT_SUCCESS, served, 520)
    return store


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Chromium]:
    """The live page on `a_store`, with a system that prefers light; no fault may be left at the end."""
    store = a_store()
    with Receiver(store, grpc_port=None, pages=Pages(store)) as receiver:
        yield opened(chromium, receiver.http_endpoint + "/")
        # Wakes up what the browser still has to tell.
        chromium.read("1")
        assert chromium.faults == []
        assert {url.partition("/api")[0].rstrip("/") for url in chromium.requested if not url.startswith("data:")} == {receiver.http_endpoint}
        chromium.call("Page.navigate", url="about:blank")


def opened(chromium: Chromium, url: str) -> Chromium:
    """The browser on the page, with nothing noted from before."""
    chromium.call("Page.navigate", url="about:blank")
    chromium.dark(False)
    chromium.read("1")
    chromium.faults.clear()
    chromium.requested.clear()
    chromium.open(url)
    chromium.wait("document.querySelector('.row.chosen') && document.querySelector('.span')")
    return chromium


def texts(page: Chromium, selector: str) -> list[str]:
    """The visible text of each element."""
    found: list[str] = page.read(f"[...document.querySelectorAll({selector!r})].map((element) => element.innerText)")
    return found


def test_list_and_tree(page: Chromium) -> None:
    """The newest trace is open: the Router above its attempts, with errors, tokens, cost, first chunk, events on the bars."""
    assert texts(page, ".row .name") == ["litellm.router fast", "embeddings small", "chat other"]
    assert texts(page, "#state") == ["3 of 3 traces · 5 spans"]
    assert texts(page, ".span .label") == ["litellm.router fast", "chat gpt-4o", "chat gpt-4o"]
    assert texts(page, ".span .time") == ["900 ms", "300 ms", "500 ms"]
    assert {"2 attempts", "served by b", "RateLimitError", "#2", "12→30 tokens", "$0.00123", "first chunk 120 ms"} <= set(texts(page, ".span .chip"))
    assert texts(page, ".moments") == ["retry +300 ms", "success +520 ms"]
    assert page.read("[...document.querySelectorAll('.bar b')].length") == 2
    assert page.read("[...document.querySelectorAll('.bar i')].map((bar) => bar.style.left)") == ["0%", "0%", "44.4444%"]
    assert page.read("[...document.querySelectorAll('.span')].map((s) => s.className.split(' ')[1])") == ["router", "client", "client"]


def test_messages_are_folded(page: Chromium) -> None:
    """Captured messages are in the page only as a fold that opens on request; other attributes are in a table."""
    page.press("Enter", "ArrowDown", "ArrowDown", "Enter")
    page.wait("document.querySelector('.more details')")
    assert "the question" not in page.read("document.querySelector('.more').innerText")
    assert gen_ai.INPUT_MESSAGES not in "".join(texts(page, ".more td"))
    assert gen_ai.REQUEST_MODEL in texts(page, ".more td")
    page.read("document.querySelector('.more details > summary').click()")
    assert "the question" in page.read("document.querySelector('.more').innerText")


def test_keyboard(page: Chromium) -> None:
    """List and trace are walked through without a mouse, both ways, and the help opens."""
    page.press("ArrowDown")
    page.wait("document.querySelector('h2').innerText === 'embeddings small'")
    page.press("k")
    page.wait("document.querySelector('h2').innerText === 'litellm.router fast'")
    page.press("ArrowRight", "j")
    assert page.read("document.querySelector('.span.chosen .time').innerText") == "300 ms"
    page.press("Escape")
    assert page.read("document.querySelector('.span.chosen')") is None
    page.press("?")
    assert page.read("document.querySelector('dialog').open") is True
    page.read("document.querySelector('dialog').close()")
    page.press("/", "b", "a", "n", "k")
    assert texts(page, ".row .name") == ["chat other"]
    assert page.read("document.activeElement.id") == "search"


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("search", "ratelimit", ["litellm.router fast"]),
        ("search", "router served", ["litellm.router fast"]),
        ("search", "nothing like it", []),
        ("service", "bank", ["chat other"]),
        ("model", "gpt-4o", ["litellm.router fast"]),
        ("least", "30", ["litellm.router fast", "embeddings small"]),
        ("errors", "", ["litellm.router fast", "chat other"]),
    ],
)
def test_filters(page: Chromium, field: str, value: str, left: list[str]) -> None:
    """Each filter leaves the traces that it should; the key e is the errors' one."""
    if field == "errors":
        page.press("e")
    else:
        page.read(f"(() => {{ const field = document.getElementById({field!r}); field.value = {value!r}; field.dispatchEvent(new Event('input')); }})()")
    assert texts(page, ".row .name") == left
    assert left or texts(page, ".empty") == ["No trace passes the filters."]


def test_dark_mode(page: Chromium) -> None:
    """The page follows the system until the reader chooses, and remembers the choice."""
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.read(colour)
    page.dark(True)
    page.wait(f"{colour} !== {light!r}")
    page.press("d")
    assert page.read(colour) == light
    page.call("Page.reload")
    page.wait(f"{colour} === {light!r} && document.querySelector('.row')")
    page.read("localStorage.clear()")


def test_live(chromium: Chromium) -> None:
    """A page without traces says where to send them; a new trace appears by itself; a lost receiver is said and found again."""
    store = Store()
    with Receiver(store, grpc_port=None, pages=Pages(store)) as receiver:
        port = int(receiver.http_endpoint.rpartition(":")[2])
        chromium.open(receiver.http_endpoint + "/")
        chromium.wait("document.querySelector('.empty')")
        assert f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.http_endpoint}" in chromium.read("document.body.innerText")
        store.add("traces", request(span("first", 1)))
        chromium.wait("document.querySelector('.row .name')?.innerText === 'first'")
        store.add("traces", request(span("its child", 2, 1)))
        chromium.wait("document.querySelectorAll('.span').length === 2")
    chromium.wait("document.getElementById('state').className.includes('off')")
    with Receiver(store_of(span("after restart", 1, trace=9)), http_port=port, grpc_port=None) as receiver:
        receiver._http.pages = Pages(receiver.store)  # type: ignore[union-attr]
        chromium.wait("document.querySelector('.row .name')?.innerText === 'after restart'")
    chromium.call("Page.navigate", url="about:blank")


EVIL = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "<!--", "javascript:alert(1)", "\u2028'\"`${1}", "]]>"]


@pytest.mark.parametrize("kind", ["live", "file"])
def test_nothing_is_executed(kind: str, chromium: Chromium, tmp_path: Path) -> None:
    """Names, attributes, events, services and messages that look like markup are shown letter by letter."""
    store = Store()
    for number, evil in enumerate(EVIL, 1):
        attributes = {evil: evil, gen_ai.ERROR_TYPE: evil, gen_ai.REQUEST_MODEL: evil, gen_ai.INPUT_MESSAGES: evil}
        store.add("traces", request(span(evil, number, events=[(evil, 1)], attributes=attributes), service=evil))
    file = tmp_path / "page.html"
    file.write_text(html(store), "utf-8")
    with Receiver(store, grpc_port=None, pages=Pages(store)) as receiver:
        opened(chromium, receiver.http_endpoint + "/" if kind == "live" else file.as_uri())
        chromium.read("state.trace.spans.forEach((span) => state.open.add(span.id)), drawTrace()")
        assert chromium.read("[...document.querySelectorAll('.span .label')].map((label) => label.textContent)") == EVIL
        assert chromium.read("document.querySelectorAll('main img, main script, main a').length") == 0
        assert chromium.read("document.querySelectorAll('script').length") == 2
        assert chromium.faults == []
    chromium.call("Page.navigate", url="about:blank")


def test_own_policy_stops_foreign_scripts(page: Chromium) -> None:
    """Were something to get through, the page's policy would not run it, nor let it ask another server."""
    page.read("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.got = 1' }))")
    assert page.read("window.got") is None
    assert page.read("fetch('http://127.0.0.2:9/').then(() => 'went', () => 'stopped')") == "stopped"
    page.read("1")
    assert all("Content Security Policy" in fault for fault in page.faults)
    assert len(page.faults) >= 2
    page.faults.clear()
    page.requested[:] = [url for url in page.requested if "127.0.0.2" not in url]


def test_file_needs_no_server(chromium: Chromium, tmp_path: Path) -> None:
    """The frozen page shows the same, opened from the disk, and asks nobody for anything."""
    file = tmp_path / "page.html"
    file.write_text(html(a_store()), "utf-8")
    opened(chromium, file.as_uri())
    assert texts(chromium, ".row .name") == ["litellm.router fast", "embeddings small", "chat other"]
    assert texts(chromium, ".span .time") == ["900 ms", "300 ms", "500 ms"]
    assert chromium.faults == []
    assert [url for url in chromium.requested if not url.startswith(("file:", "data:"))] == []
    chromium.call("Page.navigate", url="about:blank")


def test_large_trace(chromium: Chromium) -> None:
    """A trace of two thousand spans beside a thousand others is shown without a fault."""
    store = store_of(*(span(f"s{n}", n, n // 2, start_ms=n, trace=5000) for n in range(1, 2001)))
    for trace in range(1, 1001):
        store.add("traces", request(span("one", 1, trace=trace, start_ms=-trace * 10)))
    with Receiver(store, grpc_port=None, pages=Pages(store)) as receiver:
        opened(chromium, receiver.http_endpoint + "/")
        chromium.wait("document.querySelectorAll('.span').length === 2000")
        assert "1 older traces not shown" in chromium.read("document.getElementById('state').innerText")
        assert chromium.faults == []
    chromium.call("Page.navigate", url="about:blank")


def test_picture_of_the_demo(demo: Demo, chromium: Chromium, tmp_path: Path) -> None:
    """The demo's Router call with a fallback, on the page; the picture in the manual is this one.

    It is written where there is none yet, or when UPDATE_IMAGES is set, so that a test run leaves no change behind.
    """
    store = demo.store
    wanted = next(trace for trace in store.traces() if trace.spans[0].attributes.get(litellm.ROUTER_FALLBACKS))
    with Receiver(store, grpc_port=None, pages=Pages(store)) as receiver:
        opened(chromium, receiver.http_endpoint + "/#" + wanted.trace_id)
        chromium.wait("document.querySelectorAll('.span').length === 3")
        chromium.press("Enter", "ArrowDown", "ArrowDown", "Enter")
        chromium.wait("document.querySelector('.more')")
        chromium.read("document.fonts.ready.then(() => 1)")
        picture = chromium.picture()
        assert chromium.faults == []
    assert struct.unpack(">II", picture[16:24]) == (1400, 860)
    (tmp_path / "viewer.png").write_bytes(picture)
    if os.environ.get("UPDATE_IMAGES") or not IMAGE.exists():
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        IMAGE.write_bytes(picture)
    chromium.call("Page.navigate", url="about:blank")

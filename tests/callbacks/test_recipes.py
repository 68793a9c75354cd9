"""Every code block of the page on callbacks runs, as it stands, against the real LiteLLM."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider

from .switch import switched_on

PAGE = Path(__file__).parents[2] / "docs" / "callbacks.md"


def _blocks() -> list[Any]:
    blocks, title = [], "Callbacks"
    for match in re.finditer(r"^#+ ([^\n]+)$|^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if match[1]:
            title = match[1]
        else:
            blocks.append(pytest.param(match[2], id=title.replace(" ", "-").lower()))
    return blocks


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A webhook on loopback, and what it has been sent."""
    sent: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_address[1]}/")
        yield sent
        server.shutdown()


@pytest.mark.parametrize("source", _blocks())
def test_recipe(
    source: str, the_dispatcher: Any, provider: FakeProvider, webhook: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block runs to its end, its own assertions hold, and an alert has arrived if it sends one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_API_BASE", f"{provider.url}/v1")
    with switched_on():
        exec(compile(source, str(PAGE), "exec"), {"__name__": "__main__"})  # noqa: S102
    if "ALERT_WEBHOOK" in source:
        assert [list(one) for one in webhook] == [["text", "call"]]
        assert "InternalServerError" in webhook[0]["text"]

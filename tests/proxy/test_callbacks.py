"""Callbacks in a real Proxy: once for each call, however often the operator's file is run; all of them at its end."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver

from ..export.support import until
from . import support

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Line = dict[str, Any]


class Report:
    """What the callbacks have written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self, who: str) -> list[Line]:
        """Those of one callback."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        return [line for line in lines if line["who"] == who]

    def points(self, who: str) -> Counter[str]:
        """How often each point was told."""
        return Counter(line["point"] for line in self.lines(who))

    def wait_for(self, condition: Callable[[], bool], timeout: float = 30) -> None:
        """Until ``condition`` holds."""
        until(condition, timeout, f"the condition on {self.path}")


def _leave_early(proxy: support.Proxy) -> None:
    """A client that goes away in the middle of its answer."""
    connection = proxy.connection()
    body = json.dumps(support.chat_body("talker", stream=True))
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", **support.headers()})
    connection.getresponse().read(200)
    connection.close()


def test_once_for_each_call_and_complete_at_the_end(proxy_python: str, provider: FakeProvider, receiver: Receiver, tmp_path: Path) -> None:
    """In each mode, for answers, streams, failed attempts and clients that leave; and for what is pending at SIGTERM.

    The Proxy runs the operator's file once for each name in the configuration: that duplicates nothing.
    """
    shutil.copy(Path(__file__).with_name("reporting.py"), tmp_path)
    report = Report(tmp_path / "report.jsonl")
    with support.running(
        proxy_python, tmp_path, provider, receiver,
        callbacks=("reporting.own", "reporting.also"), environment={"REPORT_FILE": str(report.path)},
    ) as proxy:  # fmt: skip
        assert report.points("module")["loaded"] >= 2
        assert proxy.chat()[0] == 200
        assert report.points("inline") == {"success": 1}, "before the client has its answer"
        assert proxy.chat(stream=True)[0] == 200
        assert proxy.chat("broken")[0] == 503  # two attempts
        _leave_early(proxy)
        report.wait_for(lambda: report.points("inline") == {"success": 3, "failure": 2})
        for _ in range(5):
            assert proxy.chat()[0] == 200
        proxy.terminate()
    for who in ("inline", "tracked", "background"):
        assert report.points(who) == {"success": 8, "failure": 2}, who
        # Attempts of one request have its id.
        assert sorted(Counter(line["call"] for line in report.lines(who)).values()) == [*[1] * 8, 2], who
    assert report.points("own") == {"success": 8}
    for line in (*report.lines("inline"), *report.lines("background")):
        assert line["url"].endswith("/v1/chat/completions")
        assert line["key_alias"] == "checkout"
        assert line["model_info"] in {"assistant-1", "talker-1", "broken-1"}

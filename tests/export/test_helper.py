"""What may hang is left behind, also where no thread can be started any longer: late in the exit of Python 3.12."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from otel_llm_bridge.export import helper


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper is there, and another thread cannot be started."""
    monkeypatch.setattr(helper, "_helper", None)
    monkeypatch.setattr(sys, "version_info", (3, 12))
    helper.prepare()

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)


@pytest.mark.usefixtures("prepared")
def test_what_hangs_is_left_behind() -> None:
    """Nobody waits for it, nor for what comes after it while it hangs; and afterwards all has been done, in order."""
    go_on, done, order = threading.Event(), threading.Event(), []
    assert helper.bounded(lambda: order.append(1), 60) is True
    assert helper.bounded(lambda: go_on.wait(60) and order.append(2), 0.01) is False
    assert helper.bounded(lambda: (order.append(3), done.set()), 0.01) is False
    assert order == [1]
    go_on.set()
    assert done.wait(60)
    assert order == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though that of the parent hangs."""
    monkeypatch.setattr(helper, "_helper", None)
    monkeypatch.setattr(sys, "version_info", (3, 12))
    helper.prepare()
    assert helper._helper is not None
    go_on = threading.Event()
    assert helper._helper.run(lambda: go_on.wait(60), 0.01) is False
    child = os.fork()
    if child == 0:
        os._exit(0 if helper._helper.run(lambda: None, 30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go_on.set()

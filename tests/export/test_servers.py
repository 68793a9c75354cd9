"""uvicorn, gunicorn, uWSGI and celery, ended the way they are ended in production: by a signal."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_llm_bridge.viewer.receiver import Receiver

from .servers import SERVERS, WORKERS, serve, work
from .support import missing, received


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_told_to_stop_loses_nothing(name: str, tmp_path: Path, receiver: Receiver) -> None:
    """The application imports us when the server already runs; after the signal all spans have arrived once."""
    pytest.importorskip(SERVERS[name].needs)
    ended = serve(SERVERS[name], tmp_path, receiver, requests=100)
    assert len(ended.ended) >= 100, ended.errors
    assert missing(ended.ended, receiver) == set(), ended.errors
    assert len(received(receiver)) == len(set(received(receiver)))


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKERS)
def test_celery_loses_nothing(name: str, tmp_path: Path, receiver: Receiver) -> None:
    """Forked and recycled workers deliver what their tasks made."""
    pytest.importorskip("celery")
    ended = work(WORKERS[name], tmp_path, receiver, tasks=40)
    assert len(ended.ended) == 40
    assert missing(ended.ended, receiver) == set(), ended.errors[-2000:]
    assert len(received(receiver)) == len(set(received(receiver)))

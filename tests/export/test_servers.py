"""uvicorn, gunicorn and celery, ended the way they are ended in production: by a signal."""

from __future__ import annotations

import signal
import socket
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest

from otel_llm_bridge.viewer.receiver import Receiver

from .support import PREAMBLE, Program, missing, received, until

_ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                span(0, where="shutdown")
                return
    span(1, where="request")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""

_WSGI = """
def app(environ, start_response):
    span(1, where="request")
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]
"""

#: Name → (module, command behind ``python``, signal). ``APP`` and ``PORT`` are filled in.
_SERVERS = {
    "uvicorn": (_ASGI, "-m uvicorn APP:app --port PORT --no-access-log", signal.SIGTERM),
    "uvicorn ended by SIGINT": (_ASGI, "-m uvicorn APP:app --port PORT --no-access-log", signal.SIGINT),
    "uvicorn with uvloop": (_ASGI, "-m uvicorn APP:app --port PORT --loop uvloop", signal.SIGTERM),
    "uvicorn workers": (_ASGI, "-m uvicorn APP:app --port PORT --workers 2", signal.SIGTERM),
    "gunicorn": (_WSGI, "-m gunicorn -w 2 -b 127.0.0.1:PORT APP:app", signal.SIGTERM),
    "gunicorn preload": (_WSGI, "-m gunicorn -w 2 --preload -b 127.0.0.1:PORT APP:app", signal.SIGTERM),
    "gunicorn threads, quick": (_WSGI, "-m gunicorn -w 2 --threads 4 -b 127.0.0.1:PORT APP:app", signal.SIGINT),
    "gunicorn uvicorn worker": (_ASGI, "-m gunicorn -w 2 -k uvicorn_worker.UvicornWorker -b 127.0.0.1:PORT APP:app", signal.SIGTERM),
    "uvicorn.run": (_ASGI + "\nif __name__ == '__main__':\n    import uvicorn\n    uvicorn.run(app, port=PORT)\n", "APP.py", signal.SIGTERM),
}
_REQUESTS = 100


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _get(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("name", _SERVERS)
def test_a_server_that_is_told_to_stop_loses_nothing(name: str, tmp_path: Path, receiver: Receiver) -> None:
    """The application imports us when the server already runs; after the signal all spans have arrived once."""
    for module in ("uvicorn_worker", "uvloop"):
        if module in name.replace("uvicorn worker", "uvicorn_worker") and name != "uvicorn workers":
            pytest.importorskip(module)
    module, command, number = _SERVERS[name]
    port = _free_port()
    (tmp_path / "served.py").write_text(PREAMBLE + module.replace("PORT", str(port)))
    words = command.replace("APP", "served").replace("PORT", str(port)).split()
    environ = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"}
    with Program("", tmp_path, receiver, environ=environ, command=[sys.executable, *words]) as program:
        until(lambda: _get(port) or program.process.poll() is not None, 30, "the server")
        assert all(_get(port) for _ in range(_REQUESTS)), program.errors()
        ended = program.send(number).wait(30)
    assert len(ended.ended) >= _REQUESTS, ended.errors
    assert missing(ended.ended, receiver) == set(), ended.errors
    assert len(received(receiver)) == len(set(received(receiver)))


_CELERY = """
import celery
app = celery.Celery("tasks", broker="filesystem://")
folder = os.environ["BROKER"]
app.conf.update(
    broker_transport_options={"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder},
    worker_hijack_root_logger=False, task_ignore_result=True,
)
@app.task
def work(number):
    span(number)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "number"),
    [("--concurrency 2", signal.SIGTERM), ("--concurrency 2 --max-tasks-per-child 5", signal.SIGTERM), ("--pool solo", signal.SIGTERM),
     ("--concurrency 2", signal.SIGQUIT)],
    ids=["prefork", "recycled children", "solo", "cold shutdown"],
)  # fmt: skip
def test_celery_loses_nothing(options: str, number: int, tmp_path: Path, receiver: Receiver) -> None:
    """Forked and recycled workers deliver what their tasks made."""
    pytest.importorskip("celery")
    broker = tmp_path / "broker"
    broker.mkdir()
    (tmp_path / "tasks.py").write_text(PREAMBLE + textwrap.dedent(_CELERY))
    environ = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}", "BROKER": str(broker), "C_FORCE_ROOT": "1"}
    words = f"-m celery -A tasks worker --loglevel INFO --without-gossip --without-mingle {options}".split()
    with Program("", tmp_path, receiver, environ=environ, command=[sys.executable, *words]) as program:
        sender = "from tasks import work\nfor i in range(40): work.delay(i)\n"
        with Program(sender, tmp_path / ".", receiver, environ={**environ, "ENDED": "/dev/null"}, preamble="") as sending:
            assert sending.wait(60).status == 0
        until(lambda: program.ended_file.exists() and len(program.ended_file.read_text().split()) >= 40, 60, "the tasks")
        ended = program.send(number).wait(60)
    assert len(ended.ended) == 40
    assert missing(ended.ended, receiver) == set(), ended.errors[-2000:]
    assert len(received(receiver)) == len(set(received(receiver)))

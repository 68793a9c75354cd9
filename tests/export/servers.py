"""Servers and workers as they run in production, with a small application that makes spans."""

from __future__ import annotations

import dataclasses
import signal
import socket
import sys
import textwrap
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from otel_llm_bridge.viewer.receiver import Receiver

from .support import PREAMBLE, ROOT, Ended, Program, until

#: Seconds that a server may take to its start, or a worker to its tasks; a busy machine starves them.
_PATIENCE = 120.0

_ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                span(0, where="shutdown")
                return
    [span(i, where="request") for i in range(EACH)]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""

_WSGI = """
def app(environ, start_response):
    [span(i, where="request") for i in range(EACH)]
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]
"""

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
    [span(number) for _ in range(EACH)]
"""


@dataclasses.dataclass(frozen=True)
class Server:
    """One way to run the application: its module, the words behind ``python`` or a program beside it, and the signal that ends it."""

    module: str
    command: str
    number: int = signal.SIGTERM
    #: What has to be installed for it.
    needs: str = "uvicorn"


_UWSGI = "uwsgi --master -p 2 --die-on-term --http-socket 127.0.0.1:PORT --module served:app --disable-logging"

#: ``PORT`` is filled in.
SERVERS = {
    "uvicorn": Server(_ASGI, "-m uvicorn served:app --port PORT --no-access-log"),
    "uvicorn ended by SIGINT": Server(_ASGI, "-m uvicorn served:app --port PORT --no-access-log", signal.SIGINT),
    "uvicorn with uvloop": Server(_ASGI, "-m uvicorn served:app --port PORT --loop uvloop", needs="uvloop"),
    "uvicorn workers": Server(_ASGI, "-m uvicorn served:app --port PORT --workers 2"),
    "gunicorn": Server(_WSGI, "-m gunicorn -w 2 -b 127.0.0.1:PORT served:app", needs="gunicorn"),
    "gunicorn preload": Server(_WSGI, "-m gunicorn -w 2 --preload -b 127.0.0.1:PORT served:app", needs="gunicorn"),
    "gunicorn threads, quick": Server(_WSGI, "-m gunicorn -w 2 --threads 4 -b 127.0.0.1:PORT served:app", signal.SIGINT, "gunicorn"),
    "gunicorn uvicorn worker": Server(
        _ASGI, "-m gunicorn -w 2 -k uvicorn_worker.UvicornWorker -b 127.0.0.1:PORT served:app", needs="uvicorn_worker"
    ),
    "uwsgi": Server(_WSGI, _UWSGI, needs="pyuwsgi"),
    # One worker: uWSGI does not end while another one is interrupted in its imports.
    "uwsgi lazy apps, threads": Server(_WSGI, _UWSGI.replace("-p 2", "-p 1 --lazy-apps --enable-threads"), needs="pyuwsgi"),
    "uwsgi recycled workers": Server(_WSGI, _UWSGI + " --max-requests 10", signal.SIGINT, "pyuwsgi"),
    "uvicorn.run": Server(_ASGI + "\nif __name__ == '__main__':\n    import uvicorn\n    uvicorn.run(app, port=PORT)\n", "served.py"),
}  # fmt: skip

_WORKER = "-m celery -A tasks worker --loglevel INFO --without-gossip --without-mingle "
WORKERS = {
    "celery prefork": Server(_CELERY, _WORKER + "--concurrency 2", needs="celery"),
    "celery recycled children": Server(_CELERY, _WORKER + "--concurrency 2 --max-tasks-per-child 5", needs="celery"),
    "celery solo": Server(_CELERY, _WORKER + "--pool solo", needs="celery"),
    "celery cold shutdown": Server(_CELERY, _WORKER + "--concurrency 2", signal.SIGQUIT, "celery"),
}


def serve(
    server: Server, folder: Path, receiver: Receiver, requests: int, each: int = 1, kind: str = "bridge", environ: Mapping[str, str] | None = None
) -> Ended:
    """Run a server, have ``requests`` answered that make ``each`` spans, and end it by its signal.

    The application imports us when the server already runs.
    """
    port = _free_port()
    head = PREAMBLE + f"EACH = {each}\n"
    (folder / "served.py").write_text(head + server.module.replace("PORT", str(port)))
    words = server.command.replace("PORT", str(port)).split()
    environ = {"PYTHONPATH": f"{folder}:{ROOT}", **(environ or {})}
    beside = Path(sys.executable).with_name(words[0])
    command = [str(beside), *words[1:]] if beside.exists() else [sys.executable, *words]
    with Program("", folder, receiver, kind=kind, environ=environ, command=command) as program:
        until(lambda: _answers(port) or program.process.poll() is not None, _PATIENCE, "the server")
        assert all(_answers(port) for _ in range(requests)), program.errors()
        return program.send(server.number).wait(_PATIENCE)


def work(
    worker: Server, folder: Path, receiver: Receiver, tasks: int, each: int = 1, kind: str = "bridge", environ: Mapping[str, str] | None = None
) -> Ended:
    """The same for a worker of celery and ``tasks`` tasks."""
    broker = folder / "broker"
    broker.mkdir()
    (folder / "tasks.py").write_text(PREAMBLE + f"EACH = {each}\n" + textwrap.dedent(worker.module))
    environ = {"PYTHONPATH": f"{folder}:{ROOT}", "BROKER": str(broker), "C_FORCE_ROOT": "1", **(environ or {})}
    with Program("", folder, receiver, kind=kind, environ=environ, command=[sys.executable, *worker.command.split()]) as program:
        sender = f"from tasks import work\nfor i in range({tasks}): work.delay(i)\n"
        with Program(sender, folder / ".", receiver, kind=kind, environ={**environ, "ENDED": "/dev/null"}, preamble="") as sending:
            assert sending.wait(_PATIENCE).status == 0
        done = lambda: program.ended_file.exists() and program.ended_file.read_text().count("\n") >= tasks * each  # noqa: E731
        until(done, _PATIENCE, "the tasks")
        return program.send(worker.number).wait(_PATIENCE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=_PATIENCE) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False

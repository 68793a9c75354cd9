"""A provider that answers with whatever it is given, and answers with something wrong in them."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hypothesis import strategies as st

_USAGE = {
    "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
_TOOL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}
_CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "system_fingerprint": "fp", "usage": _USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "Hi", "tool_calls": [_TOOL]}}],
}  # fmt: skip


def _chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", "choices": [choice], **more}


_STREAM = [
    _chunk({"role": "assistant", "content": ""}), _chunk({"content": "Hi"}), _chunk({"tool_calls": [{"index": 0, **_TOOL}]}),
    {**_chunk({}), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {**_chunk({}), "choices": [], "usage": _USAGE},
]  # fmt: skip
_EMBEDDING = {
    "object": "list", "model": "text-embedding-3-small", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}  # fmt: skip
_RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-4o-mini", "error": None, "incomplete_details": None,
    "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
    "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
    "usage": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8, "input_tokens_details": {"cached_tokens": 1},
              "output_tokens_details": {"reasoning_tokens": 2}},
}  # fmt: skip

#: Kind of call -> an answer with nothing wrong in it.
ANSWERS: dict[str, Any] = {"chat": _CHAT, "stream": _STREAM, "embedding": _EMBEDDING, "responses": _RESPONSE}

_ODD = st.sampled_from([None, "", "x", 0, -1, 10**20, 1.5, True, [], {}, [None], [[]], {"a": 1}, "\N{BELL}", "\\ud800"])
_GONE = object()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


def _changed(answer: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return answer if odd is _GONE else odd
    where = answer
    for key in path[:-1]:
        try:
            where = where[key]
        except (KeyError, IndexError, TypeError):
            return answer  # an earlier change has taken it away
    try:
        if odd is _GONE:
            del where[path[-1]]
        else:
            where[path[-1]] = odd
    except (KeyError, IndexError, TypeError):
        pass
    return answer


@st.composite
def malformed(draw: Callable[[Any], Any], kind: str) -> Any:
    """An answer of that kind with one to four fields missing, null or of the wrong type."""
    answer = copy.deepcopy(ANSWERS[kind])
    paths = list(_paths(answer))
    for _ in range(draw(st.integers(1, 4))):
        answer = _changed(answer, draw(st.sampled_from(paths)), draw(st.one_of(_ODD, st.just(_GONE))))
    return answer


class Saying:
    """A server on loopback that answers with `body`: JSON, or a list as a stream of events where the request streams."""

    def __init__(self) -> None:
        saying = self
        self.body: Any = None

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                streams = bool(asked.get("stream"))
                body = saying.events() if streams else json.dumps(saying.body).encode()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream" if streams else "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def events(self) -> bytes:
        """The body as server-sent events."""
        chunks = self.body if isinstance(self.body, list) else [self.body]
        return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"

    def __enter__(self) -> Saying:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

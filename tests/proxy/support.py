"""The real LiteLLM Proxy in processes of its own, against the fake provider and the real receiver."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from otel_llm_bridge.viewer.records import Span, Trace

GOOD, LIMITED = "sk-good-key-0123456789abcdef", "sk-slow-key-0123456789abcdef"
ADMIN = "sk-admin-key-0123456789abcdef"
MASTER = "sk-master-" + "m" * 40
UPSTREAM = "sk-upstream-key-0123456789"
OURS = "otel_llm_bridge"
#: The Proxy takes its time to start on a busy machine.
START = 400.0


def config(provider: FakeProvider, callbacks: list[str], **settings: Any) -> dict[str, Any]:
    """A configuration with a good deployment, one that fails, one that talks for long and one that takes its time."""

    def deployment(group: str, behaviour: str) -> dict[str, Any]:
        params = {"model": "openai/gpt-4o-mini", "api_base": provider.at(behaviour), "api_key": UPSTREAM, "max_retries": 0}
        return {"model_name": group, "litellm_params": params, "model_info": {"id": f"{group}-1"}}

    guardrails = [
        {
            "guardrail_name": f"rule-{mode}",
            "litellm_params": {"guardrail": f"extension.{name}", "mode": mode, "default_on": True},
        }
        for name, mode in (("Before", "pre_call"), ("During", "during_call"), ("After", "post_call"))
    ]
    groups = {"assistant": "ok", "flaky": "error-500", "talker": "stream-50ms+words-400", "slow": "slow-3000ms", "broken": "error-503"}
    return {
        "model_list": [deployment(group, behaviour) for group, behaviour in groups.items()],
        "router_settings": {"num_retries": 1, "fallbacks": [{"flaky": ["assistant"]}], "disable_cooldowns": True},
        "litellm_settings": {"callbacks": callbacks},
        "general_settings": {
            "master_key": MASTER,
            "custom_auth": "extension.user_api_key_auth",
            "cancel_on_disconnect": True,  # else the Proxy itself does not notice that a client has left
        },
        "guardrails": guardrails,
        **settings,
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Proxy:
    """One running Proxy.

    Args:
        python: an interpreter whose environment has ``litellm[proxy]``.
        folder: for its configuration and its output.
        launcher: whether it is started by ``opentelemetry-instrument``; else the callback instruments it.
        bridge: the name of that callback in the configuration.
        arguments: further arguments of ``litellm``.
    """

    def __init__(
        self,
        python: str,
        folder: Path,
        provider: FakeProvider,
        receiver: Receiver,
        *,
        launcher: bool = False,
        bridge: str = "otel_llm_bridge.proxy.callback",
        arguments: tuple[str, ...] = (),
        callbacks: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.receiver, self.port, self._folder = receiver, free_port(), folder
        # An operator's callbacks are there too; one of them refuses.
        names = [*callbacks, *([] if launcher else [bridge]), "extension.hook"]
        (folder / "config.yaml").write_text(json.dumps(config(provider, names)))  # JSON is YAML
        shutil.copy(Path(__file__).with_name("extension.py"), folder)
        (folder / "beside.py").write_text("from otel_llm_bridge.proxy import callback\n")  # for old versions of LiteLLM
        binary = Path(python).parent
        command = [str(binary / "litellm"), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(self.port), *arguments]
        if launcher:
            command = [str(binary / "opentelemetry-instrument"), "--", *command]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LITELLM_"))}
        self._output = folder / "output.txt"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **kept,
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "True",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "OTEL_BSP_SCHEDULE_DELAY": "200",
                    "OTEL_SERVICE_NAME": "llm-gateway",
                    "OTEL_PYTHON_EXCLUDED_URLS": "health",
                    **(environment or {}),
                },
            )

    @property
    def output(self) -> str:
        """What the Proxy has printed."""
        return self._output.read_text(errors="replace")

    def wait_until_ready(self) -> Proxy:
        """Wait until it answers.

        Raises:
            RuntimeError: it ended, or does not answer in time; with its output.
        """
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/health/liveliness")[0] == 200:
                    return self
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
        raise RuntimeError(f"the Proxy does not answer: {self.output[-4000:]}")

    def connection(self) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """One request; status and body of the answer."""
        connection = self.connection()
        try:
            text = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, text, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def chat(self, model: str = "assistant", text: str = "Hello?", key: str = GOOD, trace: str | None = None, **more: Any) -> tuple[int, bytes]:
        """One chat completion; ``trace`` is the trace id that the client sends along."""
        return self.call("POST", "/v1/chat/completions", chat_body(model, text, **more), headers(key, trace))

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, as an orchestrator does; its exit code."""
        self._process.send_signal(number)
        return self._process.wait(60)

    def close(self) -> None:
        """End it however it can be ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)


@contextlib.contextmanager
def running(*arguments: Any, **options: Any) -> Iterator[Proxy]:
    """A Proxy that answers, for as long as the block lasts."""
    proxy = Proxy(*arguments, **options)
    try:
        yield proxy.wait_until_ready()
    finally:
        proxy.close()


def chat_body(model: str = "assistant", text: str = "Hello?", **more: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


#: Span id that the client sends along.
CLIENT_SPAN = "00000000000000aa"


def new_trace() -> str:
    """A trace id that no other test has."""
    return secrets.token_hex(16)


def headers(key: str = GOOD, trace: str | None = None) -> dict[str, str]:
    """The headers of a client's request."""
    sent = {"authorization": f"Bearer {key}"}
    if trace:
        sent["traceparent"] = f"00-{trace}-{CLIENT_SPAN}-01"
    return sent


def ours(trace: Trace) -> list[Span]:
    """The bridge's own spans."""
    return [span for span in trace.spans if span.scope_name == OURS]


def request_span(trace: Trace) -> Span:
    """The bridge's span of the request itself: SERVER, or below somebody else's."""
    (span,) = [span for span in ours(trace) if span.kind == "SERVER" or span.name.startswith("litellm.proxy")]
    return span


def attempts(trace: Trace) -> list[Span]:
    """Spans of upstream attempts, whoever made them."""
    return [span for span in trace.spans if "gen_ai.request.model" in span.attributes]


def wait_for_trace(receiver: Receiver, trace_id: str, complete: Callable[[Trace], bool] | None = None, timeout: float = 30) -> Trace:
    """The trace once the request span is there and ``complete`` holds.

    Raises:
        TimeoutError: not in time.
    """

    def there(_store: Any) -> bool:
        trace = receiver.store.trace(trace_id)
        return (
            trace is not None
            and any(span.kind == "SERVER" or span.name.startswith("litellm.proxy") for span in ours(trace))
            and (complete is None or complete(trace))
        )

    receiver.store.wait_for(there, timeout)
    trace = receiver.store.trace(trace_id)
    assert trace is not None
    return trace

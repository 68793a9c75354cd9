"""The stack of this repository's files on free ports of loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .programs import ROOT, Program, free_port, get, program


class Stack:
    """Collector, Jaeger and Prometheus with the shipped configuration; each is started by itself.

    Args:
        folder: where their data and their output go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = (
            "OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "COLLECTOR_HEALTH_PORT", "COLLECTOR_PROMETHEUS_PORT", "COLLECTOR_TELEMETRY_PORT",
            "JAEGER_UI_PORT", "JAEGER_QUERY_GRPC_PORT", "JAEGER_HEALTH_PORT", "JAEGER_OTLP_PORT", "PROMETHEUS_PORT",
        )  # fmt: skip
        self.ports = {name: free_port() for name in names}
        self.environ = {
            **{name: str(port) for name, port in self.ports.items()},
            "JAEGER_OTLP_ENDPOINT": f"127.0.0.1:{self.ports['JAEGER_OTLP_PORT']}",
            "PROMETHEUS_URL": self.url("PROMETHEUS_PORT"),
            "COLLECTOR_STORAGE_DIR": str(folder / "collector"),
            "JAEGER_STORAGE_DIR": str(folder / "jaeger"),
            # Only so that tests wait less.
            "SPAN_METRICS_INTERVAL": "500ms",
            "JAEGER_RETRY_MAX_INTERVAL": "1s",
        }
        self._programs = contextlib.ExitStack()

    def url(self, port: str) -> str:
        """The root URL of the listener behind a port's variable."""
        return f"http://127.0.0.1:{self.ports[port]}"

    @property
    def otlp_environ(self) -> dict[str, str]:
        """What an application is told to export to the Collector."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url("OTLP_HTTP_PORT"), "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}

    def collector(self, *overlays: str) -> Program:
        """A running Collector; ``overlays`` are further configuration files of the repository."""
        files = [f"--config={name}" for name in ("collector-config.yaml", *overlays)]
        running = self._run("collector", [program("collector"), *files])
        running.wait_until(lambda: get(self.url("COLLECTOR_HEALTH_PORT")), "the Collector is healthy")
        return running

    def jaeger(self) -> Program:
        """A running Jaeger."""
        running = self._run("jaeger", [program("jaeger"), "--config=deploy/jaeger/config.yaml"])
        running.wait_until(lambda: get(self.url("JAEGER_HEALTH_PORT") + "/status"), "Jaeger is healthy")
        return running

    def prometheus(self) -> Program:
        """A running Prometheus; its file reads no environment, so the targets and the interval are replaced in a copy."""
        text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
        for target, port in (("collector:8889", "COLLECTOR_PROMETHEUS_PORT"), ("collector:8888", "COLLECTOR_TELEMETRY_PORT")):
            assert target in text
            text = text.replace(target, f"127.0.0.1:{self.ports[port]}")
        config = self.folder / "prometheus.yml"
        config.write_text(text.replace("scrape_interval: 15s", "scrape_interval: 1s"))
        running = self._run("prometheus", [
            program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self.ports['PROMETHEUS_PORT']}", "--enable-feature=exemplar-storage",
        ])  # fmt: skip
        running.wait_until(lambda: get(self.url("PROMETHEUS_PORT") + "/-/ready"), "Prometheus is ready")
        return running

    def _run(self, name: str, command: list[str]) -> Program:
        return self._programs.enter_context(Program(command, self.folder / f"{name}.log", self.environ))

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans that Jaeger's query API has of a trace; empty while it has none."""
        answer = get(self.url("JAEGER_UI_PORT") + f"/api/traces/{trace_id}")
        return answer["data"][0]["spans"] if answer and answer.get("data") else []

    def traces(self, service: str) -> list[dict[str, Any]]:
        """The traces of a service, newest first."""
        answer = get(self.url("JAEGER_UI_PORT") + "/api/traces", service=service, limit=1000, lookback="1h")
        return (answer or {}).get("data") or []

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that Prometheus answers."""
        answer = get(self.url("PROMETHEUS_PORT") + "/api/v1/query", query=expression)
        return answer["data"]["result"] if answer else []

    def close(self) -> None:
        """End what still runs."""
        self._programs.close()


@contextlib.contextmanager
def stack_in(folder: Path) -> Iterator[Stack]:
    """A stack, and its end."""
    stack = Stack(folder)
    try:
        yield stack
    finally:
        stack.close()

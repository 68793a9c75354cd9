"""What delivery costs: one span at its end, and one delivered span in all, as ratios to the plain SDK.

Run ``python benchmarks/delivery.py``. Contestants are interleaved, round by round, in processes of their own,
and compared by their medians: on a shared machine absolute times mean little, the ratios hold. The receiver is
a process of its own that answers and parses nothing, so that its work is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_SINK = r"""
import socketserver
class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    def handle(self):
        while True:
            length = 0
            line = self.rfile.readline()
            if not line:
                return
            while line not in (b"\r\n", b""):
                line = self.rfile.readline()
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

_RUN = r"""
import gc, json, os, resource, sys, time
kind, count = sys.argv[1], int(sys.argv[2])
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(shutdown_on_exit=False)
if kind == "pipeline":
    from otel_llm_bridge.export import pipeline
    from otel_llm_bridge.settings import Settings
    line = pipeline.build(Settings.resolve(queue_size=count + 1))
    provider = line.tracer_provider
    flush = lambda: line.flush(60)
elif kind == "sdk":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    processor = BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=count + 1)
    flush = lambda: processor.force_flush(60_000)
    provider.add_span_processor(processor)
else:
    from otel_llm_bridge.export.providers import span_processor
    from otel_llm_bridge.settings import Settings
    processor = span_processor(Settings.resolve(queue_size=count + 1))
    flush = lambda: processor.delivery.flush(60)
    provider.add_span_processor(processor)
tracer = provider.get_tracer("otel_llm_bridge" if kind in ("spool+journal", "pipeline") else "benchmark")
attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
              "gen_ai.response.model": "gpt-4o-2024-08-06", "server.address": "api.openai.com", "server.port": 443,
              "gen_ai.usage.input_tokens": 1234, "gen_ai.usage.output_tokens": 321, "litellm.cost.total": 0.0123,
              "gen_ai.response.finish_reasons": ["stop"]}
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
for _ in range(200):
    tracer.start_span("chat gpt-4o", attributes=attributes).end()
flush()
ends, starts, lives = [], [], []
clock, thread = time.perf_counter_ns, time.thread_time_ns
begin_cpu = cpu()
burst = 400
for _ in range(count // burst):
    for _ in range(burst):
        a = clock()
        span = tracer.start_span("chat gpt-4o", attributes=attributes)
        b = clock()
        span.add_event("litellm.first_chunk")
        c = clock()
        span.end()
        d = clock()
        ends.append(d - c)
        starts.append(b - a)
        lives.append(d - a)
    flush()
whole = cpu() - begin_cpu
ends.sort(); starts.sort(); lives.sort()
print(json.dumps({"end_us": ends[len(ends) // 2] / 1e3, "end_p99_us": ends[len(ends) * 99 // 100] / 1e3,
                  "start_us": starts[len(starts) // 2] / 1e3, "life_us": lives[len(lives) // 2] / 1e3, "whole_us": whole / len(ends) * 1e6}), flush=True)
os._exit(0)
"""

#: Contestant → whether it has a spool.
KINDS = {"sdk": False, "bridge": False, "spool": True, "spool+journal": True, "pipeline": True}


def measure(kind: str, port: int, count: int) -> dict[str, float]:
    """One process of one contestant."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            **({"OTEL_LLM_BRIDGE_SPOOL_DIR": folder} if KINDS[kind] else {}),
        }
        done = subprocess.run(
            [sys.executable, "-c", _RUN, kind, str(count)], env=environ, capture_output=True, text=True, timeout=300, check=True
        )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(rounds: int = 7, count: int = 8000) -> dict[str, dict[str, Any]]:
    """Medians of all contestants, and their ratios to the SDK."""
    sink = subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        port = int(sink.stdout.readline())
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind in KINDS:
                runs[kind].append(measure(kind, port, count))
    finally:
        sink.kill()
        sink.wait()
    table = {}
    for kind, results in runs.items():
        row: dict[str, Any] = {name: statistics.median(result[name] for result in results) for name in results[0]}
        for name in ("end", "life", "whole"):
            pairs = zip(results, runs["sdk"], strict=True)
            row[f"{name}_ratio"] = statistics.median(ours[f"{name}_us"] / sdk[f"{name}_us"] for ours, sdk in pairs)
        table[kind] = row
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spans", type=int, default=8000, help="spans of each run")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = compare(arguments.rounds, arguments.spans)
    if arguments.json:
        print(json.dumps(table))
        return
    shown = ("start_us", "end_us", "end_p99_us", "life_us", "whole_us", "end_ratio", "life_ratio", "whole_ratio")
    print(f"{'':14}" + "".join(f"{name.removesuffix('_us'):>13}" for name in shown))
    for kind, row in table.items():
        print(f"{kind:14}" + "".join(f"{row[name]:13.2f}" for name in shown))


if __name__ == "__main__":
    main()

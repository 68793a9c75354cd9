"""Measure which LLM spans arrive, of the bridge and of others: ``python docs/compare.py``. The table of comparison.md.

Each cell is one program in a process of its own, which makes its calls against a fake provider on loopback and exports through the
SDK's batch processor to a real OTLP receiver. The TracerProvider is set after ``import litellm``, which is the usual order. Peers
are installed into environments of their own, those of ``python -m benchmarks``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import runner  # noqa: E402
from benchmarks.variants import VARIANTS  # noqa: E402
from otel_llm_bridge.demo.provider import FakeProvider  # noqa: E402
from otel_llm_bridge.viewer.receiver import Receiver  # noqa: E402

#: Who -> (the row of the benchmarks whose environment it has, how it is switched on, variables).
PEERS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    "bridge": ("ours", "import otel_llm_bridge; otel_llm_bridge.instrument()", {}),
    "LiteLLM otel v1": ("LiteLLM otel", "litellm.callbacks = ['otel']", {"OTEL_EXPORTER": "otlp_http"}),
    "LiteLLM otel v2": ("LiteLLM otel", "litellm.callbacks = ['otel']", {"OTEL_EXPORTER": "otlp_http", "LITELLM_OTEL_V2": "true"}),
    "OpenInference": ("OpenInference", "from openinference.instrumentation.litellm import LiteLLMInstrumentor; LiteLLMInstrumentor().instrument()", {}),
    "Traceloop": ("Traceloop", "from opentelemetry.instrumentation.litellm import LiteLLMInstrumentor; LiteLLMInstrumentor().instrument()", {}),
}  # fmt: skip

_HEAD: Final = """
import asyncio, os, sys
import litellm
from litellm import completion as early
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
{switch_on}
base = os.environ["PROVIDER"]
asked = dict(model="openai/gpt-4o-mini", messages=[{{"role": "user", "content": "Hello"}}], api_base=base, api_key="sk-test", max_retries=0)
async def read(limit=None):
    stream = await litellm.acompletion(**asked, stream=True)
    async for chunk in stream:
        if limit is not None:
            return stream
def call():
    litellm.completion(**asked)
if __name__ == "__main__":
    with trace.get_tracer("program").start_as_current_span("program"):
{body}
"""

#: Program -> (its body, LLM spans that it should give).
PROGRAMS: Final[dict[str, tuple[str, int]]] = {
    "one `asyncio.run`": ("asyncio.run(litellm.acompletion(**asked))", 1),
    "three of them": ("for _ in range(3):\n    asyncio.run(litellm.acompletion(**asked))", 3),
    "sync call": ("call()", 1),
    "name bound before": ("early(**asked)", 1),
    "async stream, read": ("asyncio.run(read())", 1),
    "async stream, left after a chunk": ("asyncio.run(read(1))", 1),
    "sync stream, read": ("list(litellm.completion(**asked, stream=True))", 1),
    "sync stream, held at exit": ("held = litellm.completion(**asked, stream=True)\nnext(iter(held))", 1),
    "failure": ("try:\n    litellm.completion(**{**asked, 'model': 'openai/error-500'})\nexcept litellm.InternalServerError:\n    pass", 1),
    "text completion": ("litellm.text_completion(**{**{k: v for k, v in asked.items() if k != 'messages'}, 'prompt': 'Hello', 'model': 'text-completion-openai/gpt-3.5-turbo-instruct'})", 1),
    "Router, failed attempt and fallback": (
        (
            "deployment = lambda group, model: {'model_name': group, 'litellm_params': {'model': model, 'api_base': base, 'api_key': 'k', 'max_retries': 0}}\n"
            "router = litellm.Router([deployment('a', 'openai/error-500'), deployment('b', 'openai/gpt-4o-mini')], fallbacks=[{'a': ['b']}], num_retries=0)\n"
            "asyncio.run(router.acompletion(model='a', messages=asked['messages']))"
        ), 2),
    "child of multiprocessing": ("import multiprocessing\nchild = multiprocessing.get_context('fork').Process(target=call)\nchild.start(); child.join()", 1),
    "SIGTERM after the call": ("call()\nimport signal; os.kill(os.getpid(), signal.SIGTERM)", 1),
}  # fmt: skip


def is_llm(span: Any) -> bool:
    """Whether the span says that a model was called, by the name of any of the peers' conventions."""
    if span.name in ("program", "raw_gen_ai_request") or span.name.startswith("litellm.router"):
        return False
    names = set(span.attributes)
    return bool(names & {"gen_ai.operation.name", "gen_ai.request.model", "llm.request.type"}) or "openinference.span.kind" in names


def measure(peer: str, program: str, provider: FakeProvider) -> str:
    """One cell: spans seen of those expected; ``detached`` where some are not in the caller's trace."""
    row, switch_on, environ = PEERS[peer]
    body, expected = PROGRAMS[program]
    python = runner.environment(VARIANTS[row], lambda what: print(what, file=sys.stderr))
    with Receiver() as receiver:
        source = _HEAD.format(switch_on=switch_on, body="\n".join(" " * 8 + line for line in body.split("\n")))
        file = Path(os.environ.get("TMPDIR", "/tmp")) / f"otel_llm_bridge_compare_{os.getpid()}.py"  # a child of fork needs no file, spawn would
        file.write_text(source, "utf-8")
        try:
            clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
            subprocess.run(
                [str(python), str(file)], check=False, timeout=120, capture_output=True,
                env={**clean, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PROVIDER": f"{provider.url}/v1", "PYTHONPATH": str(ROOT) if row == "ours" else "",
                     "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **environ},
            )  # fmt: skip
        finally:
            file.unlink()
        seen = [span for trace in receiver.store.traces() for span in trace.spans]
    mine = {span.trace_id for span in seen if span.name == "program"}
    llm = [span for span in seen if is_llm(span)]
    detached = mine and any(span.trace_id not in mine for span in llm)
    return f"{len(llm)}/{expected}" + (" detached" if detached else "")


def main() -> None:
    """Print the table."""
    peers = [peer for peer in PEERS if not sys.argv[1:] or peer in sys.argv[1:]]
    print("| program | " + " | ".join(peers) + " |\n" + "| --- " * (len(peers) + 1) + "|")
    with FakeProvider() as provider:
        for program in PROGRAMS:
            print(f"| {program} | " + " | ".join(measure(peer, program, provider) for peer in peers) + " |", flush=True)


if __name__ == "__main__":
    main()

"""A fork while another thread of the parent is in the middle of something: the child goes on without it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: A thread holds each lock of ours but those of the delivery. The child then needs them.
_PROGRAM = """
import gc, os, select, signal, sys, threading
import litellm, otel_llm_bridge
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from otel_llm_bridge import callbacks, guard

def call(model):
    return litellm.completion(model=model, messages=[{"role": "user", "content": "x"}], mock_response="y")

async def told(event):
    seen.append(event.kwargs["model"])

def fields(one):
    slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(one, "__dict__", {}).values(), *(getattr(one, name, None) for name in slots)]

def home(one):
    return str(one.__name__ if isinstance(one, type(sys)) else type(one).__module__)

seen = []
otel_llm_bridge.instrument(tracer_provider=TracerProvider(), meter_provider=MeterProvider(), handle_signals=False)
callbacks.register(told)
call("gpt-4o")
kinds = (type(threading.Lock()), type(threading.RLock()))
ours = [one for one in gc.get_objects() if home(one).startswith("otel_llm_bridge")]
locks = {id(lock): (home(one), lock) for one in ours if not home(one).startswith("otel_llm_bridge.export.") for lock in fields(one) if isinstance(lock, kinds)}
held = threading.Event()

def hold():
    for _, lock in locks.values():
        lock.acquire()
    held.set()
    threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    del seen[:]
    with callbacks.registered(told, on="pre_call", key="another"):
        call("gpt-4o-mini")
    stream = litellm.completion(model="gpt-4o", messages=[], mock_response="y", stream=True)
    list(stream)
    guard.report("child", ValueError())
    assert otel_llm_bridge.get_trace_id({"id": "unknown"}) is None
    otel_llm_bridge.uninstrument()
    otel_llm_bridge.instrument()
    os.write(writing, " ".join(seen).encode())
    os._exit(0)
os.close(writing)
through, _, _ = select.select([reading], [], [], 30)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(os.read(reading, 1000).decode() if through else "the child hangs")
print(*sorted({home for home, _ in locks.values()}))
sys.stdout.flush()
os._exit(0)  # the locks are still held
"""


def test_whatever_lock_is_held() -> None:
    """Locks that another thread held at the fork are open in the child: callbacks are registered, calls made and told."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=False)
    said, homes = (done.stdout.splitlines() + ["", ""])[:2]
    assert said == "gpt-4o-mini gpt-4o-mini gpt-4o", done.stderr
    assert {"otel_llm_bridge.bridge", "otel_llm_bridge.callbacks.registry", "otel_llm_bridge.guard", "otel_llm_bridge.series", "otel_llm_bridge.trace_ids"} <= set(homes.split())


#: A thread is in the middle of `instrument()` or `uninstrument()`, in code of the user's, when the main thread forks.
_SWITCHING = """
import importlib.metadata, logging, os, select, signal, sys, threading
import litellm, otel_llm_bridge
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

where, parent, reached, never = sys.argv[1], os.getpid(), threading.Event(), threading.Event()

def stay():
    if os.getpid() == parent:
        reached.set()
        never.wait()

class Slow(logging.Handler):
    def emit(self, record):
        stay()

class Hook:
    def __init__(self):
        stay()
    def on_completion(self, **conversation):
        pass

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
options = {"tracer_provider": provider, "handle_signals": False}
if where == "a warning about a variable":
    os.environ["OTEL_LLM_BRIDGE_EXIT_TIMEOUT"] = "soon"
    logging.getLogger("otel_llm_bridge").addHandler(Slow())
else:
    options["completion_hook"] = "slow"
    found = importlib.metadata.EntryPoint("slow", "__main__:Hook", "opentelemetry_genai_completion_hook")
    importlib.metadata.entry_points = lambda **asked: [found] if asked == {"group": found.group, "name": found.name} else []

threading.Thread(target=otel_llm_bridge.instrument, kwargs=options, daemon=True).start()
assert reached.wait(60)
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    def call():
        litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "x"}], mock_response="y")
        made = [span.name for span in spans.get_finished_spans()]
        spans.clear()
        return made
    otel_llm_bridge.instrument(**options)
    said = [call(), otel_llm_bridge.flush(5).ended]
    otel_llm_bridge.uninstrument()
    said.append(call())
    otel_llm_bridge.instrument(**options)
    said.append(call())
    os.write(writing, repr(said).encode())
    os._exit(0)
os.close(writing)
through, _, _ = select.select([reading], [], [], 30)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(os.read(reading, 1000).decode() if through else "the child hangs", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("where", ["a warning about a variable", "the completion hook"])
def test_a_thread_that_switches_it_on(where: str) -> None:
    """The child switches it on and off itself: each call is one span while it is on, and none while it is off."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", _SWITCHING, where], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "[['chat gpt-4o'], 1, [], ['chat gpt-4o']]\n", done.stderr

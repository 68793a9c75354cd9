"""A fork while another thread of the parent is in the middle of something: the child goes on without it."""

from __future__ import annotations

import os
import subprocess
import sys

#: A thread holds each lock of ours but those of the switch and of the delivery. The child then needs them.
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
others = ("otel_llm_bridge.export.", "otel_llm_bridge.bridge", "otel_llm_bridge.instrumentor")
locks = {id(lock): (home(one), lock) for one in ours if not home(one).startswith(others) for lock in fields(one) if isinstance(lock, kinds)}
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
    assert {"otel_llm_bridge.callbacks.registry", "otel_llm_bridge.guard", "otel_llm_bridge.series", "otel_llm_bridge.trace_ids"} <= set(homes.split())

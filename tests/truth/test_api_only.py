"""With OpenTelemetry's API and nothing of its SDK: everything imports, every call works, and one line says why there are no spans."""

from __future__ import annotations

import subprocess
import sys

import pytest

from otel_llm_bridge.demo.provider import FakeProvider

#: Importing any of these fails, as it does where the packages are not installed.
_BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class NotInstalled(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""

_PROGRAM = """
import asyncio, logging
logging.basicConfig(stream=sys.stdout, format="LOG %(name)s %(levelname)s %(message)s", level=logging.WARNING)
logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)

import otel_llm_bridge
otel_llm_bridge.instrument()
import litellm
litellm.suppress_debug_info = True

kwargs = dict(model="openai/gpt-4o-mini", api_base=sys.argv[1], api_key="k", messages=[{"role": "user", "content": "Hello"}])

async def main():
    await litellm.acompletion(**kwargs)
    print(len([chunk async for chunk in await litellm.acompletion(stream=True, **kwargs)]) > 2)
    try:
        await litellm.acompletion(**{**kwargs, "model": "openai/error-401"}, num_retries=0)
    except litellm.AuthenticationError:
        print("AuthenticationError")

print(litellm.completion(**kwargs).choices[0].message.content != "")
asyncio.run(main())
router = litellm.Router([{"model_name": "g", "litellm_params": {name: kwargs[name] for name in ("model", "api_base", "api_key")}}])
print(router.completion(model="g", messages=kwargs["messages"]).choices[0].message.content != "")
otel_llm_bridge.uninstrument()
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
print("end")
"""


@pytest.mark.slow
def test_only_the_api(provider: FakeProvider) -> None:
    """Import, instrument, calls of all kinds, uninstrument, exit: nothing raises, one warning, exit code 0."""
    done = subprocess.run(
        [sys.executable, "-c", _BLOCK + _PROGRAM, provider.api_base], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    ours = [line for line in lines if line.startswith("LOG otel_llm_bridge")]
    assert len(ours) == 1, lines
    assert "no spans" in ours[0]
    assert [line for line in lines if not line.startswith("LOG")] == ["True", "True", "AuthenticationError", "True", "end"]
    assert "otel_llm_bridge" not in done.stderr

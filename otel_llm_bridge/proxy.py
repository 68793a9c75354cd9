"""For the configuration of the LiteLLM Proxy: the bridge without ``opentelemetry-instrument``.

.. code-block:: yaml

    litellm_settings:
      callbacks: otel_llm_bridge.proxy.callback

or, without touching the configuration, ``LITELLM_WORKER_STARTUP_HOOKS=otel_llm_bridge.proxy:startup``.
Both instrument each worker process when it starts. This module keeps no state: the Proxy may load it twice.
"""

from __future__ import annotations

from typing import Any

__all__ = ["callback", "startup"]

#: What the configuration names. Asking for it instruments this process.
callback: Any


def startup() -> None:
    """Instrument this worker of the Proxy, and make its providers."""
    from .bridge import bridge

    bridge.instrument()
    providers = bridge.providers
    if providers is not None:
        # Now, not at the first call: the spans of other instrumentations before it need them, too.
        _ = providers.tracer


def __getattr__(name: str) -> Any:
    if name != "callback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    startup()
    from otel_llm_bridge.litellm.inert_callback import inert_callback

    return inert_callback()

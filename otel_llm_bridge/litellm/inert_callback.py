"""What LiteLLM gets to hold when the Proxy's configuration names the bridge as a callback: an object that does nothing.

The spans do not depend on LiteLLM's callbacks; the configuration only needs something that it may name.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def inert_callback() -> Any:
    """A `CustomLogger` without a hook; always the same one."""
    from litellm.integrations.custom_logger import CustomLogger

    class OtelLlmBridge(CustomLogger):
        """Instruments LiteLLM by being named."""

    return OtelLlmBridge()

"""An operator's callbacks, one for each mode and one of LiteLLM's own: each writes a line for each call.

The tests copy this file into the folder of the configuration. The Proxy runs it once for each name that the
configuration takes from it, as it does with any such file.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from otel_llm_bridge import callbacks


def write(who: str, point: str, kwargs: dict[str, Any] | None = None) -> None:
    """One line: this callback has run to its end."""
    params = (kwargs or {}).get("litellm_params") or {}
    line = {
        "who": who,
        "point": point,
        "call": (kwargs or {}).get("litellm_call_id"),
        "url": (params.get("proxy_server_request") or {}).get("url"),
        "model_info": (params.get("model_info") or {}).get("id"),
        "key_alias": (params.get("metadata") or {}).get("user_api_key_alias"),
    }
    with open(os.environ["REPORT_FILE"], "a") as file:
        file.write(json.dumps(line) + "\n")


class Inline:
    """Both hooks of an object; runs before the Proxy has its answer."""

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A sync hook."""
        write("inline", "success", kwargs)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """An async hook."""
        write("inline", "failure", kwargs)


async def tracked(event: Any) -> None:
    """A coroutine function on the Proxy's loop."""
    await asyncio.sleep(0.2)
    write("tracked", event.point, event.kwargs)


async def background(event: Any) -> None:
    """A slow one, on our loop: some are still to run when the Proxy is told to end."""
    await asyncio.sleep(1)
    write("background", event.point, event.kwargs)


class Own(CustomLogger):
    """Registered with LiteLLM itself."""

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """As slow as the one above."""
        await asyncio.sleep(1)
        write("own", "success", kwargs)


write("module", "loaded")
callbacks.register(Inline())
callbacks.register(tracked, on="both", mode="tracked")
callbacks.register(background, on="both", mode="background")
own = Own()
also = CustomLogger()

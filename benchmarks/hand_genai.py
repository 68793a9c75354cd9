"""The same by hand with the official utilities (opentelemetry-util-genai)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class HandGenAI:
    """Wraps a call with an inference invocation of the utilities."""

    def __init__(self) -> None:
        from opentelemetry.util.genai.handler import get_telemetry_handler

        self._handler = get_telemetry_handler()

    def _start(self) -> Any:
        invocation = self._handler.inference("openai", request_model="gpt-4o-mini", server_address="api.openai.com", server_port=443)
        invocation.temperature, invocation.max_tokens = 0.2, 200
        return invocation

    @staticmethod
    def _answered(invocation: Any) -> None:
        invocation.response_id, invocation.response_model_name = "chatcmpl-1", "gpt-4o-mini-2024-07-18"
        invocation.finish_reasons = ["stop"]
        invocation.input_tokens, invocation.output_tokens = 11, 7
        invocation.stop()

    def sync(self, one: Callable[..., Any], messages: Any) -> Any:
        """Around a function that makes one call and reads its answer."""
        invocation = self._start()
        one()
        self._answered(invocation)

    async def awaited(self, one: Callable[..., Any], messages: Any) -> Any:
        """The same for a coroutine function."""
        invocation = self._start()
        await one()
        self._answered(invocation)

"""LiteLLM's functions replaced by trivial ones that go through the same hooks, before anybody instruments them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .scenarios import MODEL


class Stream:
    """A stream that has all its chunks."""

    def __init__(self, chunk: Any, last: Any, count: int) -> None:
        self._rest: Iterator[Any] = iter([*[chunk] * (count - 1), last])
        self.chunks: list[Any] = []

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        chunk = next(self._rest)
        self.chunks.append(chunk)
        return chunk


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    self.litellm_call_id = "3f2b8c1e-0000-4000-8000-000000000000"
    self.model, self.call_type, self.stream = MODEL, "completion", False
    self.dynamic_success_callbacks = self.dynamic_async_success_callbacks = None
    self.model_call_details = {"custom_llm_provider": "openai"}


# The names of the arguments are LiteLLM's.
def _pre_call(self: Any, input: Any, api_key: Any, model: Any = None, additional_args: Any = None) -> None:
    pass


def _post_call(
    self: Any,
    original_response: Any,
    input: Any = None,
    api_key: Any = None,
    additional_args: Any = None,
) -> None:
    pass


def _success(self: Any, result: Any = None, start_time: Any = None, end_time: Any = None, cache_hit: Any = None, **kwargs: Any) -> None:
    pass


def _cost(self: Any, result: Any, *args: Any, **kwargs: Any) -> float:
    return 0.0000123


def replace() -> None:
    """Put the trivial functions in place."""
    import litellm
    from litellm.litellm_core_utils.litellm_logging import Logging
    from litellm.types.utils import Delta, StreamingChoices

    Logging.__init__ = _init
    Logging.pre_call = _pre_call
    Logging.post_call = _post_call
    Logging.success_handler = _success
    Logging.response_cost_calculator = Logging._response_cost_calculator = _cost  # newer and older versions
    usage = litellm.Usage(prompt_tokens=11, completion_tokens=7, total_tokens=18)
    response = litellm.ModelResponse(
        id="chatcmpl-1",
        model="gpt-4o-mini-2024-07-18",
        choices=[litellm.Choices(finish_reason="stop", index=0, message=litellm.Message(content="Hello, world.", role="assistant"))],
        usage=usage,
    )
    response._hidden_params = {"response_cost": 0.0000123, "additional_headers": {"llm_provider-x-request-id": "req-1"}}
    # Real streams say why they ended with their last chunk, and only there.
    chunk, last = (
        litellm.ModelResponseStream(
            id="chatcmpl-1", model="gpt-4o-mini-2024-07-18", choices=[StreamingChoices(finish_reason=reason, index=0, delta=Delta(content=said))]
        )
        for reason, said in ((None, "abc"), ("stop", None))
    )
    last.usage = usage  # as a provider reports it that is asked for it

    def completion(model: str, messages: list[Any], **kwargs: Any) -> Any:
        logging = Logging()
        logging.pre_call(messages, "sk-1", additional_args={"api_base": "https://api.openai.com/v1", "headers": {}})
        if kwargs.get("stream"):
            return Stream(chunk, last, len(kwargs["mock_response"]) // 3)
        logging.post_call("{}", messages, "sk-1")
        logging.success_handler(response)
        return response

    async def acompletion(model: str, messages: list[Any], **kwargs: Any) -> Any:
        logging = Logging()
        logging.pre_call(messages, "sk-1", additional_args={"api_base": "https://api.openai.com/v1", "headers": {}})
        logging.post_call("{}", messages, "sk-1")
        logging.success_handler(response)
        return response

    for module in (litellm, litellm.main):
        module.completion = completion
        module.acompletion = acompletion

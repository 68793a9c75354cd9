"""How each family of LiteLLM's calls is made against the fake provider: the one table that every test takes its calls from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import reduce
from importlib.metadata import version
from typing import Any, Final, cast

from otel_llm_bridge.demo.provider import FakeProvider

#: Not a secret: it only has to look like a key.
API_KEY: Final = "sk-fake-key-of-the-tests"
PROMPT: Final = "What is the capital of France?"
MESSAGES: Final = ({"role": "user", "content": PROMPT},)


@dataclasses.dataclass(frozen=True)
class Family:
    """One row: a call in the way that a user makes it.

    Attributes:
        name: the row's name, also a test id.
        path: where the callable is, from the module: ``litellm.acompletion``.
        model: what LiteLLM is asked for; the part before the first ``/`` is LiteLLM's provider.
        arguments: the rest of the call.
        is_async: whether the call is awaited.
        streams: whether the result is iterated.
        base: what LiteLLM wants after the root URL.
        tries: requests that one call makes if each fails with 500; LiteLLM does not let ``max_retries`` of 0
            reach the client for embeddings.
    """

    name: str
    path: str
    model: str
    arguments: Mapping[str, Any]
    is_async: bool
    streams: bool = False
    base: str = "/v1"
    tries: int = 1

    def kwargs(self, provider: FakeProvider, behaviour: str | None = None, **more: Any) -> dict[str, Any]:
        """The arguments of the call; ``behaviour`` chooses what the provider does, ``more`` overrides."""
        base = provider.at(behaviour, self.base) if behaviour else provider.url + self.base
        # Clients repeat a failed call by themselves, unseen; a test wants to know how many calls there were.
        return {"model": self.model, "api_base": base, "api_key": API_KEY, "max_retries": 0, **self.arguments, **more}

    def callable(self) -> Callable[..., Any]:
        """The function itself, looked up now; it imports litellm."""
        import litellm

        if self.path.startswith("litellm.google_genai."):
            import litellm.google_genai
        found: Any = reduce(getattr, self.path.split(".")[1:], cast("Any", litellm))
        return found  # type: ignore[no-any-return]


#: Not every supported version has every family.
LITELLM: Final = tuple(int(number) for number in version("litellm").split(".")[:2])

_AUDIO: Final = ("speech.mp3", b"\xff\xfb\x90\x00" + bytes(413), "audio/mpeg")
_CHAT: Final = {"messages": [*MESSAGES]}
_BILLED: Final = {"stream": True, "stream_options": {"include_usage": True}}
_SPEECH: Final = {"input": PROMPT, "voice": "alloy"}
_RERANK: Final = {"query": "capital France", "documents": ["Paris is the capital of France", "Berlin is in Germany"], "top_n": 2}
_ANTHROPIC: Final = {**_CHAT, "max_tokens": 64}
_GOOGLE: Final = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
_PDF: Final = {"document": {"type": "document_url", "document_url": "https://example.com/letter.pdf"}}
_FIELDS: Final = {"state": PROMPT, "fields": {"capital": {"type": "text"}}}
_TOOLS: Final = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ]
}


def _both(name: str, function: str, model: str, arguments: Mapping[str, Any], *, streams: bool = False, base: str = "/v1", tries: int = 1) -> tuple[Family, Family]:
    """The sync row and the async row of one call; LiteLLM names the second one by a leading ``a``."""
    module, _, last = function.rpartition(".")
    return (
        Family(name, f"{module}.{last}", model, arguments, False, streams, base, tries),
        Family(f"a{name}", f"{module}.a{last}", model, arguments, True, streams, base, tries),
    )


# fmt: off
FAMILIES: Final[tuple[Family, ...]] = (
    *_both("completion", "litellm.completion", "openai/gpt-4o-mini", _CHAT),
    *_both("completion-stream", "litellm.completion", "openai/gpt-4o-mini", {**_CHAT, **_BILLED}, streams=True),
    *_both("completion-tool", "litellm.completion", "openai/gpt-4o-mini", {**_CHAT, **_TOOLS}),
    *_both("completion-anthropic", "litellm.completion", "anthropic/claude-sonnet-4-5", _ANTHROPIC, base=""),
    *_both("completion-anthropic-stream", "litellm.completion", "anthropic/claude-sonnet-4-5", {**_ANTHROPIC, "stream": True}, streams=True, base=""),
    *_both("completion-gemini", "litellm.completion", "gemini/gemini-2.5-flash", _CHAT, base="/v1beta"),
    *_both("completion-gemini-stream", "litellm.completion", "gemini/gemini-2.5-flash", {**_CHAT, "stream": True}, streams=True, base="/v1beta"),
    *_both("text_completion", "litellm.text_completion", "text-completion-openai/gpt-3.5-turbo-instruct", {"prompt": PROMPT}),
    *_both("text_completion-stream", "litellm.text_completion", "text-completion-openai/gpt-3.5-turbo-instruct", {"prompt": PROMPT, **_BILLED}, streams=True),
    *_both("embedding", "litellm.embedding", "openai/text-embedding-3-small", {"input": [PROMPT, "Another text"]}, tries=3),
    *_both("responses", "litellm.responses", "openai/gpt-4o-mini", {"input": PROMPT}),
    *_both("responses-stream", "litellm.responses", "openai/gpt-4o-mini", {"input": PROMPT, "stream": True}, streams=True),
    Family("aanthropic_messages", "litellm.anthropic.messages.acreate", "anthropic/claude-sonnet-4-5", _ANTHROPIC, True, base=""),
    Family("aanthropic_messages-stream", "litellm.anthropic.messages.acreate", "anthropic/claude-sonnet-4-5", {**_ANTHROPIC, "stream": True}, True, True, base=""),
    *_both("image_generation", "litellm.image_generation", "openai/gpt-image-1", {"prompt": PROMPT}),
    *_both("image_edit", "litellm.image_edit", "openai/gpt-image-1", {"prompt": PROMPT, "image": b"\x89PNG\r\n\x1a\n" + bytes(16)}),
    *_both("transcription", "litellm.transcription", "openai/whisper-1", {"file": _AUDIO}),
    *_both("speech", "litellm.speech", "openai/tts-1", _SPEECH),
    *_both("rerank", "litellm.rerank", "cohere/rerank-v3.5", _RERANK, base=""),
    *_both("moderation", "litellm.moderation", "omni-moderation-latest", {"input": PROMPT}),
    *_both("ocr", "litellm.ocr", "mistral/mistral-ocr-latest", _PDF),
    *(_both("extraction", "litellm.extraction", "cloudflare/clairic", _FIELDS, base="") if LITELLM >= (1, 109) else ()),
    *_both("generate_content", "litellm.google_genai.generate_content", "gemini/gemini-2.5-flash", _GOOGLE, base="/v1beta"),
    *_both("generate_content_stream", "litellm.google_genai.generate_content_stream", "gemini/gemini-2.5-flash", _GOOGLE, streams=True, base="/v1beta"),
    *_both("interactions", "litellm.interactions.create", "gemini/gemini-2.5-flash", {"input": PROMPT}, base=""),
    *_both("interactions-stream", "litellm.interactions.create", "gemini/gemini-2.5-flash", {"input": PROMPT, "stream": True}, streams=True, base=""),
    *_both("interactions-tool", "litellm.interactions.create", "gemini/gemini-2.5-flash", {"input": PROMPT, "tools": [{"type": "function", **_TOOLS["tools"][0]["function"]}]}, base=""),
    *_both("interactions-openai", "litellm.interactions.create", "openai/gpt-4o-mini", {"input": PROMPT}),
    *_both("interactions-openai-stream", "litellm.interactions.create", "openai/gpt-4o-mini", {"input": PROMPT, "stream": True}, streams=True),
)
# fmt: on

BY_NAME: Final[Mapping[str, Family]] = {family.name: family for family in FAMILIES}

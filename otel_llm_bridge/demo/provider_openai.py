"""The fake provider's answers in the forms of the OpenAI API (https://platform.openai.com/docs/api-reference)."""

from __future__ import annotations

import array
import base64
import time
import zlib
from collections.abc import Iterator
from typing import Any, Final

from .provider_behaviours import Error
from .provider_reply import Answer, Call, data_event, json_answer, named_event, pieces, stream_answer, texts, tokens

#: A transparent picture of one pixel.
_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
#: The header of one silent MP3 frame, and its silence.
_MP3: Final = b"\xff\xfb\x90\x00" + bytes(413)
_DONE: Final = b"data: [DONE]\n\n"
_CATEGORIES: Final = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")


def error_body(error: Error, message: str, number: int) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": error.type, "param": None, "code": error.code}}


def error_event(error: Error, message: str, number: int) -> bytes:
    """An error in the middle of a stream."""
    return data_event(error_body(error, message, number))


def response_error_event(error: Error, message: str, number: int) -> bytes:
    """An error in the middle of a stream of the Responses API: nested, as it is sent, not flat as it is documented."""
    nested = {"type": error.type, "code": error.code or error.type, "message": message, "param": None}
    return named_event({"type": "error", "sequence_number": 999, "error": nested})


def _usage(call: Call) -> dict[str, Any]:
    reply = call.reply
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens, "audio_tokens": 0},
    }


def _with_usage(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "usage": _usage(call)} if call.behaviour.usage else body


# Chat completions -----------------------------------------------------------------------------------------------


def chat(call: Call) -> Answer:
    """``POST /chat/completions``."""
    head = {"id": f"chatcmpl-{call.id}", "created": int(time.time()), "model": call.model, "system_fingerprint": "fp_fake", "service_tier": "default"}
    if call.wants("stream"):
        return stream_answer(*_chat_chunks(call, {**head, "object": "chat.completion.chunk"}), _DONE)
    choices = [
        {"index": index, "message": _message(call, text), "logprobs": None, "finish_reason": _finish(call)}
        for index, text in enumerate(call.reply.texts)
    ]
    return json_answer(_with_usage(call, {**head, "object": "chat.completion", "choices": choices}))


def _finish(call: Call) -> str:
    return "tool_calls" if call.reply.tool else "stop"


def _message(call: Call, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if call.reply.reasoning:
        message["reasoning_content"] = call.reply.reasoning
    if tool := call.reply.tool:
        message["tool_calls"] = [{"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}]
    return message


def _chat_chunks(call: Call, head: dict[str, Any]) -> Iterator[bytes]:
    """One chunk for each delta of each choice, one that finishes it, and the usage if it was asked for."""
    bill = {"usage": None} if (asked := call.wants("stream_options", "include_usage")) else {}
    for index, text in enumerate(call.reply.texts):
        for delta, finish in [*((delta, None) for delta in _deltas(call, text)), ({}, _finish(call))]:
            yield data_event({**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}], **bill})
    if asked and call.behaviour.usage:
        yield data_event({**head, "choices": [], "usage": _usage(call)})


def _deltas(call: Call, text: str) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces(call.reply.reasoning):
        yield {"reasoning_content": piece}
    for piece in pieces(text):
        yield {"content": piece}
    if tool := call.reply.tool:
        yield {"tool_calls": [{"index": 0, "id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": ""}}]}
        for piece in pieces(tool.arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


# Legacy completions ---------------------------------------------------------------------------------------------


def completion(call: Call) -> Answer:
    """``POST /completions``."""
    head = {"id": f"cmpl-{call.id}", "object": "text_completion", "created": int(time.time()), "model": call.model}

    def choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}

    if not call.wants("stream"):
        return json_answer(_with_usage(call, {**head, "choices": [choice(*item, "stop") for item in enumerate(call.reply.texts)]}))
    chunks = [{**head, "choices": [choice(index, piece, None)]} for index, text in enumerate(call.reply.texts) for piece in pieces(text)]
    chunks += [{**head, "choices": [choice(index, "", "stop")]} for index in range(len(call.reply.texts))]
    if call.wants("stream_options", "include_usage"):
        chunks.append(_with_usage(call, {**head, "choices": []}))
    return stream_answer(*map(data_event, chunks), _DONE)


# Responses ------------------------------------------------------------------------------------------------------


def responses(call: Call) -> Answer:
    """``POST /responses``."""
    if call.wants("stream"):
        return stream_answer(*(named_event({**event, "sequence_number": n}) for n, event in enumerate(_response_events(call))))
    return json_answer(_response(call, "completed", [_done(item) for item in _output(call)]))


def _response(call: Call, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    reply, body = call.reply, call.body
    usage = {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
    return {
        "id": f"resp_{call.id}", "object": "response", "created_at": int(time.time()), "status": status, "model": call.model,
        "output": output, "error": None, "incomplete_details": None, "instructions": body.get("instructions"), "metadata": {},
        "parallel_tool_calls": True, "previous_response_id": body.get("previous_response_id"), "reasoning": {"effort": None, "summary": None},
        "store": True, "temperature": body.get("temperature", 1.0), "text": {"format": {"type": "text"}}, "tool_choice": "auto",
        "tools": body.get("tools") or [], "top_p": 1.0, "truncation": "disabled", "max_output_tokens": body.get("max_output_tokens"),
        "usage": usage if status == "completed" and call.behaviour.usage else None,
    }  # fmt: skip


def _output(call: Call) -> list[dict[str, Any]]:
    """The items of the answer, finished."""
    reply, items = call.reply, []
    if reply.reasoning:
        items.append({"type": "reasoning", "id": f"rs_{call.id}", "summary": [{"type": "summary_text", "text": reply.reasoning}]})
    if reply.tool:
        items.append({"type": "function_call", "id": f"fc_{call.id}", "call_id": reply.tool.id, "name": reply.tool.name, "arguments": reply.tool.arguments})
    else:
        items.append({"type": "message", "id": f"msg_{call.id}", "role": "assistant", "content": [{"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}]})
    return items  # fmt: skip


#: How the text of each kind of item travels: key and part of the item, event of a part, event of a delta, its text.
_TRAVEL: Final = {
    "reasoning": ("summary", "summary_index", "response.reasoning_summary_part", "response.reasoning_summary_text"),
    "message": ("content", "content_index", "response.content_part", "response.output_text"),
}


def _done(item: dict[str, Any]) -> dict[str, Any]:
    return item if item["type"] == "reasoning" else {**item, "status": "completed"}


def _response_events(call: Call) -> Iterator[dict[str, Any]]:
    for status in ("created", "in_progress"):
        yield {"type": f"response.{status}", "response": _response(call, "in_progress", [])}
    for index, item in enumerate(items := _output(call)):
        at = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "function_call":
            yield {"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": "", "status": "in_progress"}}
            for piece in pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            yield {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}
        else:
            key, part_index, part_event, text_event = _TRAVEL[item["type"]]
            yield {"type": "response.output_item.added", "output_index": index, "item": {**item, key: [], "status": "in_progress"}}
            part = item[key][0]
            yield {"type": f"{part_event}.added", **at, part_index: 0, "part": {**part, "text": ""}}
            for piece in pieces(part["text"]):
                yield {"type": f"{text_event}.delta", **at, part_index: 0, "delta": piece, "logprobs": []}
            yield {"type": f"{text_event}.done", **at, part_index: 0, "text": part["text"], "logprobs": []}
            yield {"type": f"{part_event}.done", **at, part_index: 0, "part": part}
        yield {"type": "response.output_item.done", "output_index": index, "item": _done(item)}
    yield {"type": "response.completed", "response": _response(call, "completed", [_done(item) for item in items])}


# Everything that is not a conversation --------------------------------------------------------------------------


def embeddings(call: Call) -> Answer:
    """``POST /embeddings``: a vector for each text or list of token numbers, as floats or base64."""
    given = call.body.get("input") or [""]
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    read = sum(tokens(item) if isinstance(item, str) else len(item) for item in inputs)
    data = [{"object": "embedding", "index": index, "embedding": _vector(call, item)} for index, item in enumerate(inputs)]
    usage = {"usage": {"prompt_tokens": read, "total_tokens": read}} if call.behaviour.usage else {}
    return json_answer({"object": "list", "data": data, "model": call.model, **usage})


def _vector(call: Call, item: Any) -> list[float] | str:
    seed = zlib.crc32(repr(item).encode())
    # Eighths are exact in every float format, so that both encodings carry the very same numbers.
    vector = [((seed >> shift) % 16 - 8) / 8 for shift in range(int(call.body.get("dimensions") or 8))]
    if call.body.get("encoding_format") == "base64":
        return base64.b64encode(array.array("f", vector).tobytes()).decode()
    return vector


def images(call: Call) -> Answer:
    """``POST /images/generations`` and ``/images/edits``."""
    read, count = call.reply.prompt_tokens, int(call.body.get("n") or 1)
    revised = call.reply.text if call.behaviour.echo else "A revised prompt."
    form = {"b64_json": _PNG} if call.body.get("response_format") != "url" else {"url": "https://images.invalid/1.png"}
    body: dict[str, Any] = {"created": int(time.time()), "data": [{**form, "revised_prompt": revised}] * count}
    if call.behaviour.usage:
        body["usage"] = {
            "input_tokens": read, "output_tokens": 272 * count, "total_tokens": read + 272 * count,
            "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
        }  # fmt: skip
    return json_answer(body)


def transcription(call: Call) -> Answer:
    """``POST /audio/transcriptions`` (and translations)."""
    text = call.reply.text
    match call.body.get("response_format"):
        case "text" | "srt" | "vtt":
            return Answer(text.encode(), "text/plain; charset=utf-8")
        case "verbose_json":
            return json_answer({"task": "transcribe", "language": "english", "duration": 1.5, "text": text, "segments": []})
    return json_answer({"text": text, "usage": {"type": "duration", "seconds": 2}})


def speech(call: Call) -> Answer:
    """``POST /audio/speech``: a silent MP3, one frame for each word."""
    return Answer(_MP3 * max(1, call.reply.prompt_tokens), "audio/mpeg")


def moderations(call: Call) -> Answer:
    """``POST /moderations``: a text with the word ``violence`` is flagged."""
    results = []
    for text in list(texts(call.body.get("input"))) or [""]:
        scores = {name: 0.99 if name in text.lower() else 0.001 for name in _CATEGORIES}
        flags = {name: score > 0.5 for name, score in scores.items()}
        kinds = {name: ["text"] for name in _CATEGORIES}
        results.append({"flagged": any(flags.values()), "categories": flags, "category_scores": scores, "category_applied_input_types": kinds})
    return json_answer({"id": f"modr-{call.id}", "model": call.model, "results": results})


def models(call: Call) -> Answer:
    """``GET /models``."""
    names = ("gpt-4o-mini", "text-embedding-3-small", "ok", "echo", "tool", "reasoning")
    return json_answer({"object": "list", "data": [{"id": name, "object": "model", "created": 1700000000, "owned_by": "fake"} for name in names]})

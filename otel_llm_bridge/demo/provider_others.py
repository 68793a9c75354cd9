"""The fake provider's answers in the forms of Anthropic, Google, Cohere, Mistral and Cloudflare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .provider_behaviours import Error
from .provider_reply import Answer, Call, data_event, json_answer, named_event, pieces, stream_answer, texts

# Anthropic (https://docs.anthropic.com/en/api/messages) ----------------------------------------------------------


def anthropic_error(error: Error, message: str, number: int) -> dict[str, Any]:
    """The body of an error."""
    return {"type": "error", "error": {"type": error.anthropic_type, "message": message}, "request_id": f"req_{number:06d}"}


def anthropic_error_event(error: Error, message: str, number: int) -> bytes:
    """An error in the middle of a stream."""
    return named_event(anthropic_error(error, message, number))


def messages(call: Call) -> Answer:
    """``POST /v1/messages``."""
    blocks = list(_blocks(call))
    head: dict[str, Any] = {"id": f"msg_{call.id}", "type": "message", "role": "assistant", "model": call.model, "stop_sequence": None}
    stop = "tool_use" if call.reply.tool else "end_turn"
    if not call.wants("stream"):
        return json_answer({**head, "content": blocks, "stop_reason": stop, "usage": _anthropic_usage(call, call.reply.completion_tokens)})
    start: dict[str, Any] = {**head, "content": [], "stop_reason": None, "usage": _anthropic_usage(call, 1)}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(blocks):
        empty, deltas = _block_stream(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    usage = {"output_tokens": call.reply.completion_tokens if call.behaviour.usage else 0}
    events += [{"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage}, {"type": "message_stop"}]
    return stream_answer(*map(named_event, events))


def _anthropic_usage(call: Call, written: int) -> dict[str, Any]:
    """Anthropic's `input_tokens` leaves out what was read from the cache and what was written to it."""
    if not call.behaviour.usage:
        return {"input_tokens": 0, "output_tokens": 0}
    cached, stored = call.reply.cached_tokens, call.reply.cache_written_tokens
    return {
        "input_tokens": call.reply.prompt_tokens - cached - stored,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": stored,
        "output_tokens": written,
        "service_tier": "standard",
    }


def _blocks(call: Call) -> Iterator[dict[str, Any]]:
    if call.reply.reasoning:
        yield {"type": "thinking", "thinking": call.reply.reasoning, "signature": "c2lnbmF0dXJl"}
    if call.reply.text:
        yield {"type": "text", "text": call.reply.text}
    if tool := call.reply.tool:
        yield {"type": "tool_use", "id": tool.id, "name": tool.name, "input": json.loads(tool.arguments)}


def _block_stream(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The block as it starts, and the deltas that fill it."""
    match block["type"]:
        case "thinking":
            deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            return {**block, "thinking": "", "signature": ""}, [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
        case "tool_use":
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(json.dumps(block["input"]))]
    return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]


def count_tokens(call: Call) -> Answer:
    """``POST /v1/messages/count_tokens``."""
    return json_answer({"input_tokens": call.reply.prompt_tokens})


# Google (https://ai.google.dev/api/generate-content) --------------------------------------------------------------


def google_error(error: Error, message: str, number: int) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"code": error.status, "message": message, "status": error.google_status}}


def google_error_event(error: Error, message: str, number: int) -> bytes:
    """An error in the middle of a stream."""
    return data_event(google_error(error, message, number))


def generate_content(call: Call) -> Answer:
    """``POST /models/{model}:generateContent``."""
    return json_answer(_google(call, list(_parts(call)), "STOP"))


def stream_generate_content(call: Call) -> Answer:
    """``POST /models/{model}:streamGenerateContent?alt=sse``: texts word by word, a tool call in one piece."""
    parts = [{**part, "text": piece} for part in _parts(call) for piece in pieces(part.get("text", ""))]
    parts += [part for part in _parts(call) if "text" not in part]
    return stream_answer(*(data_event(_google(call, [part], "STOP" if part is parts[-1] else None)) for part in parts))


def _parts(call: Call) -> Iterator[dict[str, Any]]:
    if call.reply.reasoning:
        yield {"text": call.reply.reasoning, "thought": True}
    if call.reply.text:
        yield {"text": call.reply.text}
    if tool := call.reply.tool:
        yield {"functionCall": {"name": tool.name, "args": json.loads(tool.arguments)}}


def _google(call: Call, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    reply = call.reply
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    body: dict[str, Any] = {"candidates": [candidate], "modelVersion": call.model, "responseId": f"resp-{call.id}"}
    if finish:
        candidate["finishReason"] = finish
    if finish and call.behaviour.usage:
        body["usageMetadata"] = {
            "promptTokenCount": reply.prompt_tokens,
            "cachedContentTokenCount": reply.cached_tokens,
            "candidatesTokenCount": reply.completion_tokens - reply.reasoning_tokens,
            "thoughtsTokenCount": reply.reasoning_tokens,
            "totalTokenCount": reply.prompt_tokens + reply.completion_tokens,
        }
    return body


def google_count_tokens(call: Call) -> Answer:
    """``POST /models/{model}:countTokens``."""
    return json_answer({"totalTokens": call.reply.prompt_tokens})


# Google's Interactions API (https://ai.google.dev/api/interactions-api) -------------------------------------------


def interaction_error_event(error: Error, message: str, number: int) -> bytes:
    """An error in the middle of a stream."""
    return _sent({"event_type": "error", "error": {"code": error.google_status, "message": message}})


def interactions(call: Call) -> Answer:
    """``POST /interactions``."""
    steps, status = list(_steps(call)), "requires_action" if call.reply.tool else "completed"
    if not call.wants("stream"):
        return json_answer({**_interaction(call, status), "steps": steps})
    events: list[dict[str, Any]] = [{"event_type": "interaction.created", "interaction": _interaction(call, "in_progress")}]
    for index, step in enumerate(steps):
        empty, deltas = _step_stream(step)
        events.append({"event_type": "step.start", "index": index, "step": empty})
        events += [{"event_type": "step.delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"event_type": "step.stop", "index": index})
    events.append({"event_type": "interaction.completed", "interaction": _interaction(call, status)})
    return stream_answer(*map(_sent, events), b"event: done\ndata: [DONE]\n\n")


def _sent(event: dict[str, Any]) -> bytes:
    return f"event: {event['event_type']}\n".encode() + data_event(event)


def _interaction(call: Call, status: str) -> dict[str, Any]:
    reply = call.reply
    asked = {"agent": call.body["agent"]} if call.body.get("agent") else {"model": call.model}
    body: dict[str, Any] = {"id": f"v1_{call.id}", "object": "interaction", **asked, "status": status}
    if status != "in_progress" and call.behaviour.usage:
        body["usage"] = {
            "total_input_tokens": reply.prompt_tokens,
            "total_cached_tokens": reply.cached_tokens,
            "total_output_tokens": reply.completion_tokens - reply.reasoning_tokens,
            "total_thought_tokens": reply.reasoning_tokens,
            "total_tool_use_tokens": 0,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        }
    return body


def _steps(call: Call) -> Iterator[dict[str, Any]]:
    if call.reply.reasoning:
        yield {"type": "thought", "summary": [{"type": "text", "text": call.reply.reasoning}], "signature": "c2lnbmF0dXJl"}
    if call.reply.text:
        yield {"type": "model_output", "content": [{"type": "text", "text": call.reply.text}]}
    if tool := call.reply.tool:
        yield {"type": "function_call", "id": tool.id, "name": tool.name, "arguments": json.loads(tool.arguments)}


def _step_stream(step: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The step as it starts, and the deltas that fill it."""
    match step["type"]:
        case "thought":
            deltas: list[dict[str, Any]] = [{"type": "thought_summary", "content": piece} for piece in step["summary"]]
            return {"type": "thought"}, [*deltas, {"type": "thought_signature", "signature": step["signature"]}]
        case "function_call":
            said = pieces(json.dumps(step["arguments"]))
            return {**step, "arguments": {}}, [{"type": "arguments_delta", "arguments": piece} for piece in said]
    return {"type": "model_output"}, [{"type": "text", "text": piece} for piece in pieces(step["content"][0]["text"])]


# Cohere (https://docs.cohere.com/reference/rerank) ----------------------------------------------------------------


def cohere_error(error: Error, message: str, number: int) -> dict[str, Any]:
    """The body of an error."""
    return {"message": message, "id": f"req_{number:06d}"}


def rerank(call: Call) -> Answer:
    """``POST /v1/rerank`` and ``/v2/rerank``: the more words of the query a document has, the better."""
    wanted = set(" ".join(texts(call.body.get("query"))).lower().split())
    documents = [" ".join(texts(document)) for document in call.body.get("documents") or ()]
    scores = [(len(wanted & set(document.lower().split())) + 0.5) / (len(wanted) + 1) for document in documents]
    best = sorted(range(len(documents)), key=lambda index: -scores[index])[: call.body.get("top_n")]
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": round(scores[index], 6)} for index in best]
    if call.wants("return_documents"):
        results = [{**result, "document": {"text": documents[result["index"]]}} for result in results]
    return json_answer({"id": f"rerank-{call.id}", "results": results, "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}})


# Mistral (https://docs.mistral.ai/api/endpoint/ocr) ---------------------------------------------------------------


def ocr(call: Call) -> Answer:
    """``POST /v1/ocr``: one page."""
    page = {"index": 0, "markdown": call.reply.text, "images": [], "dimensions": {"dpi": 200, "height": 2200, "width": 1700}}
    return json_answer({"pages": [page], "model": call.model, "usage_info": {"pages_processed": 1, "doc_size_bytes": 2048}})


# Cloudflare (https://developers.cloudflare.com/workers-ai) --------------------------------------------------------


def extraction(call: Call) -> Answer:
    """``POST …/ai/run/{model}`` with fields to find in a text: each of them is the reply."""
    answers = {name: {"type": field.get("type"), "value": call.reply.text} for name, field in (call.body.get("fields") or {}).items()}
    usage = {"input_tokens": call.reply.prompt_tokens, "output_tokens": call.reply.completion_tokens}
    result = {"model": call.model, "answers": answers, "truncated": False, "usage": usage}
    return json_answer({"result": result, "success": True, "errors": [], "messages": []})

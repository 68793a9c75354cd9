"""The store in the shape of Jaeger's query API, so that what reads Jaeger reads this as well.

Source: Jaeger, "Internal HTTP JSON" of the query service (``/api/services``, ``/api/operations``,
``/api/traces``) and ``model/json`` for the shape of traces.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from ..semconv import jaeger
from .http_server import Reply
from .records import Attributes, Span, Trace
from .store import Store

Query = Mapping[str, list[str]]

_DEFAULT_LIMIT: Final = 100
_MAX_LIMIT: Final = 1500
_UNITS: Final = {"ns": 1e-3, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class BadQuery(ValueError):
    """A parameter of the query that is missing or not understood."""


def answer(store: Store, path: str, query: Query) -> Reply | None:
    """The reply to a GET request, or None when the path is none of this API."""
    for pattern, handle in _ROUTES:
        if match := pattern.fullmatch(path):
            try:
                return handle(store, query, *(unquote(group) for group in match.groups()))
            except BadQuery as error:
                return _errors(400, str(error))
    return None


def trace_json(trace: Trace) -> dict[str, Any]:
    """One trace as Jaeger's JSON; times in microseconds since the epoch."""
    processes: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    spans = []
    for span in trace.spans:
        process = {
            "serviceName": span.scope.service,
            "tags": _tags({key: value for key, value in span.resource.items() if key != jaeger.SERVICE_NAME}),
        }
        identity = json.dumps(process, sort_keys=True, default=str)
        name = names.setdefault(identity, f"p{len(names) + 1}")
        processes[name] = process
        spans.append(_span_json(span, name))
    return {"traceID": trace.trace_id, "spans": spans, "processes": processes, "warnings": None}


def _span_json(span: Span, process: str) -> dict[str, Any]:
    references = [("CHILD_OF", span.trace_id, span.parent_span_id)] if span.parent_span_id else []
    references += [("FOLLOWS_FROM", link.trace_id, link.span_id) for link in span.links]
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": [{"refType": kind, "traceID": trace, "spanID": of} for kind, trace, of in references],
        "startTime": span.start_ns // 1000,
        "duration": span.duration_ns // 1000,
        "tags": _tags(tags_of(span)),
        "logs": [
            {"timestamp": event.time_ns // 1000, "fields": _tags({jaeger.EVENT: event.name, **event.attributes})}
            for event in span.events
        ],
        "processID": process,
        "warnings": None,
    }


def tags_of(span: Span) -> dict[str, Any]:
    """The attributes, and as tags what OTLP has fields for."""
    extra = {
        jaeger.SPAN_KIND: span.kind.lower() if span.kind != "UNSPECIFIED" else None,
        jaeger.STATUS_CODE: span.status_code if span.status_code != "UNSET" else None,
        jaeger.ERROR: True if span.status_code == "ERROR" else None,
        jaeger.STATUS_DESCRIPTION: span.status_message,
        jaeger.SCOPE_NAME: span.scope_name,
        jaeger.SCOPE_VERSION: span.scope_version,
    }
    return {**span.attributes, **{key: value for key, value in extra.items() if value}}


def _tags(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, **_typed(value)} for key, value in attributes.items()]


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for these.
        return {"type": "string", "value": str(value)}
    for kind, name in ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "string")):
        if isinstance(value, kind):
            return {"type": name, "value": value}
    if isinstance(value, bytes):
        return {"type": "binary", "value": value.hex()}
    return {"type": "string", "value": "" if value is None else json.dumps(value, ensure_ascii=False, default=str)}


def _services(store: Store, query: Query) -> Reply:
    return _data(sorted({span.scope.service for span in store.spans()}))


def _operations_of(store: Store, query: Query, service: str) -> Reply:
    return _data(sorted({span.name for span in store.spans() if span.scope.service == service}))


def _operations(store: Store, query: Query) -> Reply:
    service, kind = _required(query, "service"), _one(query, "spanKind").lower()
    found = {(span.name, span.kind.lower()) for span in store.spans() if span.scope.service == service}
    return _data([{"name": name, "spanKind": of} for name, of in sorted(found) if kind in ("", of)])


def _trace(store: Store, query: Query, trace_id: str) -> Reply:
    trace = store.trace(trace_id.lower().zfill(32))
    return _data([trace_json(trace)]) if trace else _errors(404, "trace not found")


def _traces(store: Store, query: Query) -> Reply:
    if "traceID" in query:
        found = [store.trace(one.lower().zfill(32)) for one in query["traceID"][:_MAX_LIMIT]]
        return _data([trace_json(trace) for trace in found if trace])
    matches = _matcher(query)
    limit = _whole(query, "limit", _DEFAULT_LIMIT, 1, _MAX_LIMIT)
    newest_first = (trace for trace in reversed(store.traces()) if any(map(matches, trace.spans)))
    return _data([trace_json(trace) for _, trace in zip(range(limit), newest_first, strict=False)])


def _matcher(query: Query) -> Callable[[Span], bool]:
    """Whether one span fulfils the whole query; a trace with such a span is found."""
    service, operation = _required(query, "service"), _one(query, "operation")
    tags = {**dict(_pairs(query.get("tag", ()))), **_json_tags(_one(query, "tags"))}
    earliest, latest = _whole(query, "start", 0), _whole(query, "end", 2**63 - 1)
    least, most = _duration(query, "minDuration", 0.0), _duration(query, "maxDuration", float("inf"))

    def matches(span: Span) -> bool:
        if span.scope.service != service or operation not in ("", "all", span.name):
            return False
        if not earliest <= span.start_ns // 1000 <= latest or not least <= span.duration_ns / 1000 <= most:
            return False
        own = {**span.resource, **tags_of(span)} if tags else {}
        return all(key in own and _as_text(own[key]) == wanted for key, wanted in tags.items())

    return matches


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(_typed(value)["value"])


def _pairs(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        key, colon, value = text.partition(":")
        if not colon:
            raise BadQuery(f"parameter 'tag' must be key:value, not {text!r}")
        yield key, value


def _json_tags(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        tags = None
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise BadQuery("parameter 'tags' must be a JSON object of strings")
    return tags


def _one(query: Query, name: str) -> str:
    return query.get(name, [""])[0]


def _required(query: Query, name: str) -> str:
    if not _one(query, name):
        raise BadQuery(f"parameter '{name}' is required")
    return _one(query, name)


def _whole(query: Query, name: str, default: int, least: int = 0, most: int = 2**63 - 1) -> int:
    text = _one(query, name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise BadQuery(f"parameter '{name}' must be a whole number from {least} to {most}")
    return int(text)


def _duration(query: Query, name: str, default: float) -> float:
    """Microseconds from Go's notation: ``1.5s``, ``100ms``, ``1m30s``."""
    text = _one(query, name)
    if not text:
        return default
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise BadQuery(f"parameter '{name}' must be a duration such as 100ms or 1.5s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _data(data: list[Any]) -> Reply:
    return Reply.json({"data": data, "total": len(data), "limit": 0, "offset": 0, "errors": None})


def _errors(status: int, message: str) -> Reply:
    errors = [{"code": status, "msg": message}]
    return Reply.json({"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors}, status)


_ROUTES: Final[tuple[tuple[re.Pattern[str], Callable[..., Reply]], ...]] = (
    (re.compile("/api/services"), _services),
    (re.compile("/api/services/([^/]+)/operations"), _operations_of),
    (re.compile("/api/operations"), _operations),
    (re.compile("/api/traces"), _traces),
    (re.compile("/api/traces/([0-9a-fA-F]{1,32})"), _trace),
)

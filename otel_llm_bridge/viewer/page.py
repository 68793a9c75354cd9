"""The page: one self-contained file, live from the receiver or frozen with its data inside.

The page itself knows no attribute names: it is given the same short texts as the terminal (`summary`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from . import api
from .http_server import Reply
from .messages import conversation
from .records import Attributes, LogRecord, Span, Trace, logs_by_span
from .store import Store
from .summary import CONTENT, Occurred, Totals, duration, facts, moments, occurred

#: What the page lists at most; the newest ones.
MAX_LISTED: Final = 1000
_TEMPLATE: Final = Path(__file__).with_name("page.html")


class Pages:
    """Answers GET requests: the page, its data, and Jaeger's API."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, path: str, query: Mapping[str, list[str]]) -> Reply | None:
        """See `otel_llm_bridge.viewer.http_server.OnGet`."""
        if path == "/":
            return Reply(200, html(None).encode(), "text/html; charset=utf-8", {"Cache-Control": "no-store"})
        if path == "/api/view/traces":
            since = query.get("since", ["0"])[0]
            return Reply.json(listing(self._store, int(since) if since.isascii() and since.isdigit() else 0))
        if path.startswith("/api/view/traces/"):
            trace = self._store.trace(unquote(path.rpartition("/")[2]))
            return Reply.json(details(trace, self._store.logs())) if trace else Reply.text(404, "No such trace.")
        return api.answer(self._store, path, query)


def listing(store: Store, since: int = 0) -> dict[str, Any]:
    """The ids of all traces, newest first, and a row for each that changed after version ``since``.

    When nothing has changed since, there is nothing but the version.
    """
    version = store.version
    if since == version:
        return {"version": version, "ids": [], "rows": [], "counts": {}}
    traces = sorted(store.traces(), key=lambda trace: -trace.start_ns)[:MAX_LISTED]
    changed = {trace.trace_id for trace in store.traces(since)} if since else None
    counts = store.counts
    return {
        "version": version,
        "ids": [trace.trace_id for trace in traces],
        "rows": [_row(trace) for trace in traces if changed is None or trace.trace_id in changed],
        "counts": {
            "spans": counts.spans,
            "duplicates": counts.duplicates,
            "evicted_traces": counts.evicted_traces,
            "hidden_traces": max(0, len(store.trace_ids()) - len(traces)),
        },
    }


def _row(trace: Trace) -> dict[str, Any]:
    totals = Totals.of(trace)
    first = next(span for _, span in trace.walk())
    return {
        "id": trace.trace_id,
        "name": first.name,
        "services": list(dict.fromkeys(span.scope.service for span in trace.spans)),
        "models": list(totals.models),
        "start_ms": trace.start_ns / 1e6,
        "ms": (trace.end_ns - trace.start_ns) / 1e6,
        "duration": duration(trace.end_ns - trace.start_ns),
        "errors": totals.errors,
        "totals": {fact.label: fact.text for fact in totals.texts()},
        # What the search box looks through.
        "words": " ".join(dict.fromkeys(word for span in trace.spans for word in _words(span))).lower(),
    }


def _words(span: Span) -> Iterable[str]:
    yield span.name
    yield from (fact.text for fact in facts(span) if fact.label in ("error", "deployment", "served", "stream"))


def details(trace: Trace, logs: Iterable[LogRecord] = ()) -> dict[str, Any]:
    """Everything about one trace, in the order of its tree."""
    late = logs_by_span(trace.trace_id, logs)
    return {
        **_row(trace),
        "axis": ["0", *(duration((trace.end_ns - trace.start_ns) * part / 4) for part in (1, 2, 3, 4))],
        "spans": [_span(span, depth, trace, late.get(span.span_id, ())) for depth, span in trace.walk()],
    }


def _span(span: Span, depth: int, trace: Trace, logs: Iterable[LogRecord]) -> dict[str, Any]:
    logs = list(logs)
    events = occurred(span, logs)
    return {
        "id": span.span_id,
        "depth": depth,
        "name": span.name,
        "kind": span.kind,
        "error": span.status_code == "ERROR",
        "status": " ".join(filter(None, (span.status_code, span.status_message))),
        "offset_ms": (span.start_ns - trace.start_ns) / 1e6,
        "ms": span.duration_ns / 1e6,
        "duration": duration(span.duration_ns),
        "facts": [[fact.label, fact.text] for fact in facts(span)],
        "moments": [str(moment) for moment in moments(span, logs)],
        # The same messages may stand on the span and on its event.
        "content": list(
            dict.fromkeys((CONTENT[key], conversation(value)) for key, value in _content(span.attributes, events))
        ),
        "attributes": _pairs({key: value for key, value in span.attributes.items() if key not in CONTENT}),
        "events": [
            {
                "name": event.name,
                "at": f"{'+' if event.time_ns >= span.start_ns else '-'}{duration(abs(event.time_ns - span.start_ns))}",
                "ms": (event.time_ns - trace.start_ns) / 1e6,
                "late": event.late,
                "attributes": _pairs({key: value for key, value in event.attributes.items() if key not in CONTENT}),
            }
            for event in events
        ],
        "links": [f"{link.trace_id} {link.span_id}" for link in span.links],
        "service": span.scope.service,
        "scope": f"{span.scope_name} {span.scope_version}".strip(),
        "resource": _pairs(span.resource),
    }


def _content(attributes: Attributes, events: Iterable[Occurred]) -> Iterable[tuple[str, Any]]:
    for source in (attributes, *(event.attributes for event in events)):
        yield from ((key, source[key]) for key in CONTENT if key in source)


def _pairs(attributes: Attributes) -> list[list[str]]:
    return [[key, _text(value)] for key, value in sorted(attributes.items())]


def _text(value: Any) -> str:
    """A value for reading; JSON in a string is indented."""
    if isinstance(value, str):
        if value[:1] in ("[", "{"):
            try:
                return json.dumps(json.loads(value), ensure_ascii=False, indent=2)
            except (ValueError, RecursionError):
                pass
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def html(store: Store | None) -> str:
    """The page: live without a store, else with everything that the store holds inside it."""
    data: Any = None
    if store is not None:
        listed = listing(store)
        logs: dict[str, list[LogRecord]] = {}
        for log in store.logs():
            logs.setdefault(log.trace_id or "", []).append(log)
        kept = filter(None, map(store.trace, listed["ids"]))
        data = {**listed, "details": {trace.trace_id: details(trace, logs.get(trace.trace_id, ())) for trace in kept}}
    # No "<" is left, so nothing in the data can close the element that holds it.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    return _template().replace("__DATA__", text, 1)


@cache
def _template() -> str:
    """The file, with a policy that lets only its own script and style run and only its own server be asked."""
    page = _TEMPLATE.read_text("utf-8")

    def sources(element: str) -> str:
        blocks = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in blocks)

    policy = (
        f"default-src 'none'; script-src {sources('script')}; style-src {sources('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return page.replace("__POLICY__", policy, 1)

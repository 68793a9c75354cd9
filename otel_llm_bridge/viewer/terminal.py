"""Trace trees as text. `rich` adds colour where it is installed and wanted; the words are the same without it."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from .records import LogRecord, Span, Trace, logs_by_span
from .store import Store
from .summary import Fact, Totals, duration, facts, moments

#: A line is a list of (text, style) pieces; the styles are keys of `STYLES`.
Line = list[tuple[str, str]]

STYLES: Final = {
    "": "",
    "guide": "dim",
    "name": "bold",
    "duration": "cyan",
    "bar": "blue",
    "error": "bold red",
    "cost": "green",
    "tokens": "magenta",
    "attempt": "yellow",
    "router": "yellow",
    "dim": "dim",
}
DEFAULT_LIMIT: Final = 100
_BAR: Final = 14
_MAX_NAME: Final = 56
_PLAIN_WIDTH: Final = 140


@dataclass(frozen=True)
class Glyphs:
    """The signs of the tree; ASCII ones for a terminal that can do no better."""

    fork: str = "├─ "
    last: str = "└─ "
    through: str = "│  "
    full: str = "█"
    edges: tuple[str, str] = ("▕", "▏")
    error: str = "✗ "
    between: str = " · "
    kinds: tuple[tuple[str, str], ...] = (
        ("INTERNAL", "○"), ("CLIENT", "▸"), ("SERVER", "◂"), ("PRODUCER", "▴"), ("CONSUMER", "▾"),
    )  # fmt: skip
    #: Signs of the summary's texts that a poor terminal lacks, and what stands for them.
    replaced: tuple[tuple[str, str], ...] = ()

    def encodable(self, encoding: str | None) -> bool:
        """Whether a stream with that encoding can show them."""
        signs = self.fork + self.last + self.full + "".join(self.edges) + self.error + "→×µ€…" + "".join(s for _, s in self.kinds)
        try:
            signs.encode(encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def shown(self, text: str) -> str:
        """``text`` with what the terminal lacks replaced."""
        for sign, stand_in in self.replaced:
            text = text.replace(sign, stand_in)
        return text


UNICODE: Final = Glyphs()
ASCII: Final = Glyphs(
    "|- ", "`- ", "|  ", "#", ("[", "]"), "! ", " | ",
    (("INTERNAL", "o"), ("CLIENT", ">"), ("SERVER", "<"), ("PRODUCER", "^"), ("CONSUMER", "v")),
    (("→", "->"), ("×", "x"), ("µ", "u"), ("€", "EUR "), ("…", "...")),
)  # fmt: skip


def show(store: Store, stream: TextIO, closing: str = "", limit: int = DEFAULT_LIMIT) -> None:
    """Write the trees of the newest ``limit`` traces of ``store``, then the closing line.

    Colours only where `rich` is installed, the stream is a terminal and ``NO_COLOR`` is not set.
    """
    glyphs = UNICODE if UNICODE.encodable(getattr(stream, "encoding", None)) else ASCII
    width = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if stream.isatty() else _PLAIN_WIDTH
    # An empty line sets it off from what the program wrote.
    lines: list[Line] = [[]]
    logs = store.logs()
    traces = store.traces()
    shown = traces[max(0, len(traces) - limit) :]
    if shown and len(shown) < len(traces):
        lines += [[(f"{len(traces) - len(shown)} earlier traces are not shown here; --limit N shows more", "dim")], []]
    for trace in shown:
        lines += [*tree(trace, logs, width, glyphs), []]
    if closing:
        lines.append([(closing, "name")])
    _write(lines, stream, glyphs)


def tree(trace: Trace, logs: Iterable[LogRecord] = (), width: int = _PLAIN_WIDTH, glyphs: Glyphs = UNICODE) -> list[Line]:
    """One trace: a header, then each span with its duration, waterfall bar, facts, and its events on a line below."""
    late = logs_by_span(trace.trace_id, logs)
    rows = list(_rows(trace, glyphs))
    name_width = min(max(_cells(prefix) + 2 + _cells(name) for prefix, _, name, _ in rows), _MAX_NAME)
    lines = [_header(trace, glyphs)]
    for prefix, below, name, span in rows:
        label = f"{_kind(span, glyphs)} {name}"
        room = max(8, name_width - _cells(prefix))
        start: Line = [
            (prefix, "guide"),
            (_fit(label, room), "error" if span.status_code == "ERROR" else "name"),
            (f" {duration(span.duration_ns):>10} ", "duration"),
            (glyphs.edges[0], "guide"),
            (_bar(span, trace, glyphs), "bar"),
            (glyphs.edges[1], "guide"),
        ]
        indent = sum(_cells(text) for text, _ in start) + 1
        continued: Line = [(_fit(below, indent), "guide")]
        texts = [(fact.label, _fact(fact, glyphs)) for fact in facts(span)]
        for number, wrapped in enumerate(_wrapped(texts, width - indent, glyphs.between)):
            lines.append([*start, (" ", ""), *wrapped] if number == 0 else [*continued, *wrapped])
        events = [("dim", clean(str(moment))) for moment in moments(span, late.get(span.span_id, ()))]
        if events:
            lines += [[(below + "  ", "guide"), *line] for line in _wrapped(events, width - _cells(below) - 2, ", ")]
    return lines


def plain(lines: Iterable[Line], glyphs: Glyphs = UNICODE) -> str:
    """The lines as text without colour."""
    return "".join(glyphs.shown("".join(text for text, _ in line)).rstrip() + "\n" for line in lines)


def clean(text: str) -> str:
    """``text`` without signs that would steer the terminal: escapes, line ends, direction changes."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def _write(lines: Iterable[Line], stream: TextIO, glyphs: Glyphs) -> None:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        console = None
    else:
        console = Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
    if console is not None and console.is_terminal:
        for line in lines:
            console.print(Text.assemble(*((glyphs.shown(text), STYLES.get(style, "")) for text, style in line)))
    else:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        # A name in another script must not end the output of the rest.
        stream.write(plain(lines, glyphs).encode(encoding, "replace").decode(encoding))
    stream.flush()


def _rows(trace: Trace, glyphs: Glyphs) -> Iterator[tuple[str, str, str, Span]]:
    """(prefix of the span's line, prefix of the lines below it, name, span)."""
    walked = list(trace.walk())
    # From the last span to the first: at which levels does a sibling still follow?
    follows: list[tuple[bool, ...]] = []
    state: tuple[bool, ...] = ()
    for depth, _ in reversed(walked):
        state += (False,) * (depth + 2 - len(state))
        follows.append(state[: depth + 2])
        state = (*state[:depth], True)
    for (depth, span), more in zip(walked, reversed(follows), strict=True):
        above = "".join(glyphs.through if more[level] else "   " for level in range(1, depth))
        own = (glyphs.fork if more[depth] else glyphs.last) if depth else ""
        beside = (glyphs.through if more[depth] else "   ") if depth else ""
        beneath = glyphs.through if more[depth + 1] else "   "
        yield above + own, above + beside + beneath, clean(span.name) or "(no name)", span


def _header(trace: Trace, glyphs: Glyphs) -> Line:
    services = ", ".join(dict.fromkeys(clean(span.scope.service) for span in trace.spans))
    line: Line = [("trace ", "dim"), (trace.trace_id, "dim"), (glyphs.between + services, "")]
    line.append((glyphs.between + duration(trace.end_ns - trace.start_ns), "duration"))
    line += [(glyphs.between + fact.text, fact.label) for fact in Totals.of(trace).texts()]
    return line


def _kind(span: Span, glyphs: Glyphs) -> str:
    return dict(glyphs.kinds).get(span.kind, "-")


def _fact(fact: Fact, glyphs: Glyphs) -> str:
    return (glyphs.error if fact.label == "error" else "") + clean(fact.text)


def _bar(span: Span, trace: Trace, glyphs: Glyphs) -> str:
    whole = max(1, trace.end_ns - trace.start_ns)
    first = min(_BAR - 1, (span.start_ns - trace.start_ns) * _BAR // whole)
    length = max(1, min(_BAR - first, round(span.duration_ns * _BAR / whole)))
    return " " * first + glyphs.full * length + " " * (_BAR - first - length)


def _wrapped(texts: Sequence[tuple[str, str]], room: int, between: str) -> Iterator[Line]:
    """The texts side by side, in as many lines as ``room`` asks for; at least one line, perhaps empty."""
    line: Line = []
    used = 0
    for style, text in texts:
        size = _cells(text)
        if line and used + len(between) + size > room:
            yield line
            line, used = [], 0
        if line:
            line.append((between, "dim"))
            used += len(between)
        line.append((text, style))
        used += size
    yield line


def _cells(text: str) -> int:
    """Columns that the text takes in a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(text: str, room: int) -> str:
    """``text`` in exactly ``room`` columns, cut with an ellipsis where it is too long."""
    if _cells(text) <= room:
        return text + " " * (room - _cells(text))
    while text and _cells(text) > room - 1:
        text = text[:-1]
    return text + "…" + " " * (room - 1 - _cells(text))

"""Write the reference tables of the manual from the tables of the code.

Each page holds a block between two marks; ``python docs/generate.py`` writes the blocks anew, with ``--check`` it
only says which of them are stale. The tests run the check.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from otel_llm_bridge import cli, settings
from otel_llm_bridge.semconv import content, litellm, metrics, sdk, vocabulary

HERE: Final = Path(__file__).parent
_BLOCK: Final = re.compile(r"(?P<open><!-- table: (?P<name>[a-z-]+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def accepted(row: settings.Setting) -> str:
    """What a setting takes, in the words of its own error message."""
    try:
        row.parse("\N{REPLACEMENT CHARACTER}")
    except settings.InvalidSetting as error:
        return re.sub(r"([\d.]+e\+\d+)", lambda found: f"{float(found[0]):.0f}", str(error).removeprefix("accepted: "))
    return "words, separated by commas" if row.parse is settings.words else "text"


def options() -> str:
    """Every option."""
    return table(
        ("option", "variable", "accepts", "default", "meaning"),
        [
            (f"`{row.name}`", f"`{row.variable}`", accepted(row), _default(row), row.meaning + (f" In {row.unit}." if row.unit else ""))
            for row in settings.TABLE
        ],
    )


def _default(row: settings.Setting) -> str:
    default: Any = row.default
    if default in (None, ()):
        return "unset"
    return f"`{str(default).lower() if isinstance(default, bool) else f'{default:g}' if isinstance(default, float) else default}`"


def facts(rows: Iterable[vocabulary.Fact]) -> str:
    """The attributes of one kind of span."""
    return table(
        ("attribute", "type", "meaning"),
        [(f"`{row.attribute}`" + (" ¹" if row.at_start else ""), row.type, row.meaning) for row in rows],
    )


def events() -> str:
    """The lifecycle events."""
    return table(
        ("event", "when", "attributes", "comes from"),
        [(f"`{row.name}`", row.when, ", ".join(f"`{name}`" for name in row.attributes), row.source) for row in vocabulary.EVENTS],
    )


def instruments(*generations: str) -> str:
    """The metrics of some generations of names."""
    return table(
        ("metric", "kind", "unit", "labels", "meaning"),
        [
            (f"`{row.name}`", row.kind.replace("_", " "), f"`{row.unit}`", ", ".join(f"`{label.attribute}`" for label in row.labels), row.meaning)
            for row in metrics.TABLE
            if row.generation in generations
        ],
    )


def self_metrics() -> str:
    """What the bridge says of its own delivery."""
    names = (sdk.PROCESSOR_PROCESSED, sdk.PROCESSOR_QUEUE_SIZE, sdk.PROCESSOR_QUEUE_CAPACITY, sdk.EXPORTER_EXPORTED, sdk.EXPORTER_INFLIGHT, sdk.SPOOL_SPANS, sdk.SPOOL_REPLAYED, sdk.POINTS_EXPORTED)
    return "\n".join(f"- `{name}`" for name in names)


def providers() -> str:
    """LiteLLM's names of providers that go out under another name."""
    from otel_llm_bridge.semconv import gen_ai

    return table(("LiteLLM", "`gen_ai.provider.name`"), [(f"`{ours}`", f"`{theirs}`") for ours, theirs in gen_ai.PROVIDERS.items()])


def callback_span() -> str:
    """The attributes of a callback's span."""
    return ", ".join(f"`{name}`" for name in (litellm.CALLBACK_NAME, litellm.CALLBACK_MODE, litellm.CALLBACK_POINT))


def api() -> str:
    """The public names and the first line of what they say."""
    import otel_llm_bridge

    rows = []
    for name in otel_llm_bridge.__all__:
        found = getattr(otel_llm_bridge, name)
        called = f"{name}()" if inspect.isfunction(found) else name
        rows.append((f"`{called}`", (inspect.getdoc(found) or "").splitlines()[0].replace("``", "`")))
    return table(("name", "what it is"), rows)


def commands() -> str:
    """Every subcommand with its arguments, as ``--help`` says them."""
    rows = []
    for name, meaning in cli.COMMANDS.items():
        rows.append((f"**`{name}`**", meaning))
        parser = argparse.ArgumentParser(name, add_help=False)
        importlib.import_module(f"otel_llm_bridge.commands.{name}").add_arguments(parser)
        for action in parser._actions:
            called = ", ".join(action.option_strings) or str(action.metavar or "|".join(action.choices or (action.dest,)))
            value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
            rows.append((f"`{called}{value}`", (action.help or f"the {action.dest}") % {"default": action.default}))
    return table(("argument", "what it does"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "api": api,
    "commands": commands,
    "settings": options,
    "inference": lambda: facts(vocabulary.INFERENCE),
    "router": lambda: facts(vocabulary.ROUTER),
    "request": lambda: facts(vocabulary.REQUEST),
    "content": lambda: facts(content.CONTENT),
    "callback": callback_span,
    "providers": providers,
    "events": events,
    "metrics-released": lambda: instruments(metrics.RELEASED),
    "metrics-latest": lambda: instruments(metrics.LATEST),
    "metrics-ours": lambda: instruments(metrics.OURS),
    "metrics-self": self_metrics,
}


def written(page: str) -> str:
    """``page`` with its blocks written anew.

    Raises:
        KeyError: a block names a table that does not exist.
    """
    return _BLOCK.sub(lambda found: f"{found['open']}{TABLES[found['name']]()}\n{found['close']}", page)


def stale(write: bool = False) -> list[str]:
    """Names of the pages whose blocks are not as the code has it; with ``write`` they are then."""
    found = []
    for path in sorted(HERE.glob("*.md")):
        before = path.read_text("utf-8")
        after = written(before)
        if after != before:
            found.append(path.name)
            if write:
                path.write_text(after, "utf-8")
    return found


def unused() -> set[str]:
    """Tables that no page shows."""
    shown = {match["name"] for path in HERE.glob("*.md") for match in _BLOCK.finditer(path.read_text("utf-8"))}
    return set(TABLES) - shown


if __name__ == "__main__":
    check = "--check" in sys.argv
    todo = [*stale(write=not check), *(f"no page shows the table {name}" for name in sorted(unused()))]
    print("\n".join(todo) or "nothing to do")
    raise SystemExit(bool(unused()) or (check and bool(todo)))

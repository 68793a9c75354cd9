"""Every option of the bridge: one table, one reader of the environment, one validation.

A blank value is an unset value. A bad value is a warning that names the accepted ones, and the default.

Whoever instruments waits for this module: its classes are named tuples, for to import `dataclasses` takes as long as all the
rest that is imported then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from .guard import logger

TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")


class InvalidSetting(ValueError):
    """A value that a setting does not accept; the message says which ones it does."""


def flag(text: str) -> bool:
    """``true``/``false`` in the usual spellings."""
    if text.lower() in TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise InvalidSetting("accepted: true, false")


def one_of(*values: str, fold: Callable[[str], str] = str.lower) -> Callable[[str], str]:
    """One of ``values``, in any case."""

    def parse(text: str) -> str:
        folded = fold(text)
        if folded not in values:
            raise InvalidSetting(f"accepted: {', '.join(values)}")
        return folded

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """A finite number within the bounds, both included."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise InvalidSetting(f"accepted: a number from {least:g} to {most:g}")
        return value

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number within the bounds, both included."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise InvalidSetting(f"accepted: a whole number from {least} to {most}")
        return value

    return parse


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas; blanks around them are dropped."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


class Setting(NamedTuple):
    """One row of the table."""

    name: str
    variable: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    unit: str = ""
    #: As an argument it may be an object instead of text, which is taken as it is.
    objects: bool = False


_P: Final = "OTEL_LLM_BRIDGE_"
_MB: Final = 1024 * 1024

TABLE: Final = (
    Setting("disabled", _P + "DISABLED", flag, False, "Kill switch: `instrument()` does nothing."),
    Setting("strict", _P + "STRICT", flag, False, "For tests: a fault of the bridge is raised instead of logged once."),
    Setting(
        "capture_content", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        one_of("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT", fold=str.upper), "NO_CONTENT",
        "Whether prompts, completions and tool arguments are recorded, and where.",
    ),
    Setting("redactor", _P + "REDACTOR", str, None, "What content goes through before it is recorded: `keys`, `emails`, `cards`, `everything` or `module:function`, separated by commas; as an argument also a function.", objects=True),
    Setting("completion_hook", "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK", str, None, "A GenAI completion hook, by the name of its entry point (`upload` is that of opentelemetry-util-genai): it is given each conversation, after the redactor.", objects=True),
    Setting("chunk_events", _P + "CHUNK_EVENTS", flag, False, "One span event for each chunk of a stream, not only the first and the last."),
    Setting("exit_timeout", _P + "EXIT_TIMEOUT", number(0, 3600), 5.0, "What the end of the process may take in all: LiteLLM's worker, callbacks, flush and shutdown.", "s"),
    Setting("handle_signals", _P + "HANDLE_SIGNALS", flag, True, "Deliver on SIGTERM too, then do what was there before."),
    Setting("queue_size", _P + "QUEUE_SIZE", whole(1, 10_000_000), 65_536, "Ended spans that may wait for the exporter; as many log records may."),
    Setting("queue_policy", _P + "QUEUE_POLICY", one_of("drop", "block", "spool"), "drop", "What happens to a span that ends while the queue is full: dropped and counted, the caller waits, or written to the spool."),
    Setting("queue_block_timeout", _P + "QUEUE_BLOCK_TIMEOUT", number(0, 60), 0.1, "With the policy `block`: how long one call may wait for a place.", "s"),
    Setting("max_attribute_bytes", _P + "MAX_ATTRIBUTE_BYTES", whole(256, 64 * _MB), 256 * 1024, "A longer attribute value is shortened; JSON stays valid JSON.", "bytes"),
    Setting("max_request_bytes", _P + "MAX_REQUEST_BYTES", whole(64 * 1024, 64 * _MB), 3_670_016, "A batch whose OTLP request would be larger is sent as several.", "bytes"),
    Setting("spool_dir", _P + "SPOOL_DIR", str, None, "Folder of the durable spool. Unset: no spool."),
    Setting("spool_max_bytes", _P + "SPOOL_MAX_BYTES", whole(_MB, 1024 * 1024 * _MB), 512 * _MB, "Size of the spool, three quarters for spans and one for log records; beyond it the oldest of the signal are evicted and counted.", "bytes"),
    Setting("spool_max_age", _P + "SPOOL_MAX_AGE", number(1, 365 * 86400), 7 * 86400.0, "Spans and log records that have waited longer are evicted and counted.", "s"),
    Setting("spool_fsync", _P + "SPOOL_FSYNC", one_of("never", "batch", "always"), "never", "When the spool is synced to disk: `never` survives a killed process, `batch` and `always` a power cut too."),
    Setting("callbacks_max", _P + "CALLBACKS_MAX", whole(1, 1_000_000), 1000, "Callbacks that may be registered; one more is refused with its name."),
    Setting("callbacks_queue_size", _P + "CALLBACKS_QUEUE_SIZE", whole(1, 10_000_000), 100_000, "Runs of callbacks that may be pending; one more is dropped and counted."),
    Setting("callbacks_timeout", _P + "CALLBACKS_TIMEOUT", number(0.001, 86400), 60.0, "What one run of a callback may take, unless it was registered with another limit.", "s"),
    Setting("callbacks_unplug_after", _P + "CALLBACKS_UNPLUG_AFTER", whole(0, 1_000_000), 100, "So many failures in a row, and a callback is called no more, and named; 0: never."),
    Setting("callbacks_rescue", _P + "CALLBACKS_RESCUE", flag, True, "Complete the callbacks that were registered with LiteLLM itself, too: at the end of a loop, of a child and of the process."),
    Setting("callback_spans", _P + "CALLBACK_SPANS", flag, False, "One `litellm.callback {name}` span for each run of a callback."),
    Setting("metrics", _P + "METRICS", one_of("released", "latest", "both", "none"), "released", "Which generation of metric names: that of the released Python packages, that of the newest conventions, both, or no metrics."),
    Setting("metrics_series_max", _P + "METRICS_SERIES_MAX", whole(8, 100_000), 64, "Series that one metric may have; beyond three quarters of it, new names of models, groups, deployments and callbacks become `other`.", "series"),
    Setting("vocabulary", _P + "VOCABULARY", one_of("gen_ai", "openinference", "both"), "gen_ai", "Attribute names on the spans."),
    Setting("neighbours", _P + "NEIGHBOURS", one_of("suppress", "nest", "defer"), "suppress", "Other LLM instrumentations around the same call: silence them, let them nest, or leave the span to them."),
    Setting("metadata_keys", _P + "METADATA_KEYS", words, (), "Keys of LiteLLM's `metadata`, and of `attributes(…)`, that are recorded, as `litellm.metadata.{key}`; `user` and `tags` are LiteLLM's arguments of these names."),
    Setting("baggage_keys", _P + "BAGGAGE_KEYS", words, (), "Entries of the OpenTelemetry baggage that are recorded: `user.id`, `session.id` as user and conversation, others as `litellm.metadata.{key}`."),
    Setting("traceparent_hosts", _P + "TRACEPARENT_HOSTS", words, (), "Hosts that are sent a `traceparent` header; `*` is every host."),
)  # fmt: skip

_BY_NAME: Final = {row.name: row for row in TABLE}


class Settings(NamedTuple):
    """The options, resolved once when `instrument()` is called. Fields are the names of `TABLE`.

    Read an option as an attribute: ``settings.exit_timeout``.
    """

    values: Mapping[str, Any]
    #: Where each value came from: ``default``, ``environment`` or ``argument``.
    origins: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self.values:
            raise AttributeError(name)
        return self.values[name]

    @classmethod
    def resolve(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        """Arguments first, then the environment, then the defaults.

        Args:
            environ: the environment to read; that of the process unless given.
            **arguments: options by the names of `TABLE`; ``None`` is unset.

        Raises:
            InvalidSetting: an argument has a name or a value that is not accepted. The environment
                never raises: a bad value there is a warning, and the default holds.
        """
        unknown = sorted(set(arguments) - set(_BY_NAME))
        if unknown:
            raise InvalidSetting(f"unknown option {', '.join(unknown)}; known: {', '.join(_BY_NAME)}")
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for row in TABLE:
            values[row.name], origins[row.name] = _resolve_one(row, environ, arguments.get(row.name))
        return cls(values, origins)


def _resolve_one(row: Setting, environ: Mapping[str, str], argument: Any) -> tuple[Any, str]:
    if argument is not None:
        if row.objects and not isinstance(argument, str):
            return argument, "argument"
        text = ",".join(argument) if isinstance(argument, (list, tuple, set, frozenset)) else str(argument)
        try:
            return row.parse(text.strip()), "argument"
        except InvalidSetting as error:
            raise InvalidSetting(f"{row.name}={argument!r}: {error}") from None
    text = environ.get(row.variable, "").strip()
    if text:
        try:
            return row.parse(text), "environment"
        except InvalidSetting as error:
            logger.warning("%s=%r is ignored, %r holds; %s", row.variable, text[:80], row.default, error)
    return row.default, "default"

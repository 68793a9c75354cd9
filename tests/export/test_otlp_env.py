"""One table of the standard variables: what the doctor finds, `run` refuses and the pipeline warns of is the same."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_llm_bridge.commands import otel_env
from otel_llm_bridge.doctor import environment
from otel_llm_bridge.doctor.findings import run
from otel_llm_bridge.export import otlp_env, pipeline
from otel_llm_bridge.settings import Settings
from otel_llm_bridge.viewer.receiver import Receiver

from ..viewer import commands
from . import support

#: Accepted by no row.
BAD = "://"


class _Warnings(logging.Handler):
    """Variables that were ignored, with the words about what is accepted."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.fullmatch(r"(OTEL_\w+) is ignored, .* holds; (.*)", record.getMessage(), re.DOTALL):
            self.said[found[1]] = found[2]


def build(environ: Mapping[str, str], anew: bool = True) -> tuple[pipeline.Pipeline, dict[str, str]]:
    """A pipeline from these variables alone, shut down already, and what it warned of; ``anew`` as in a new process."""
    warnings = _Warnings()
    logger = logging.getLogger("otel_llm_bridge")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        logger.addHandler(warnings)
        if anew:
            otlp_env._warned.clear()
        try:
            built = pipeline.build(Settings.resolve(environ={}))
            for provider in (built.meter_provider, built.logger_provider):
                if provider is not None:
                    provider.shutdown()
            built.shutdown(0.01)
        finally:
            logger.removeHandler(warnings)
    return built, warnings.said


def found(environ: Mapping[str, str]) -> list[str]:
    """What the doctor says of the values of these variables."""
    return [finding.message for finding in run(environment.CHECKS, environment.Environment.of(environ)) if finding.check == "values"]


@pytest.mark.parametrize("variable", otlp_env.VARIABLES)
def test_a_bad_value_is_said_in_the_same_words_by_all(variable: str) -> None:
    """The pipeline warns of it, the doctor finds it, `run` refuses it; each names the variable and what is accepted."""
    _, warned = build({variable: BAD})
    assert warned.keys() == {variable}
    assert "accepted: " in warned[variable]
    value = "" if variable.endswith("HEADERS") else f"={BAD!r}"
    assert found({variable: BAD}) == otel_env.problems({variable: BAD}) == [f"{variable}{value} is not valid; {warned[variable]}"]


def test_run_refuses_them_all() -> None:
    """Before the program starts, and with a line for each."""
    done = commands.run("run", "--", sys.executable, "-c", "print('ran')", **dict.fromkeys(otlp_env.VARIABLES, BAD))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.findall(r"^  (OTEL_\w+)", done.stderr, re.MULTILINE) == list(otlp_env.VARIABLES)


#: What some row takes, or takes with another spelling or bound.
_LIKELY = (
    "0", "0.0005", "0.5", "1", "512", "1e3", "5e9", "-1", "nan", "inf", "3600", "3601", "true", "TRUE", "1.0", "yes",
    "grpc", "http/protobuf", "http/json", "gzip", "GZIP", "deflate", "none", "otlp", "Console", "otlp,none", "console,bogus", ",", "otlp_proto_http",
    "http://127.0.0.1:9", "127.0.0.1:9", "grpc://127.0.0.1:9", "unix:///tmp/x", "http://127.0.0.1:0", "http://127.0.0.1:70000", "https://",
    "a=b", "a=b,", "a=", "=b", "a=\x7f", "a=é", "a%3Db", "delta", "LowMemory", "explicit_bucket_histogram", __file__, "/nowhere.pem",
)  # fmt: skip
_TEXTS = st.one_of(st.sampled_from(_LIKELY), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12))


@settings(max_examples=150)
@given(st.sampled_from(list(otlp_env.VARIABLES)), _TEXTS)
def test_what_one_takes_the_other_takes(variable: str, text: str) -> None:
    """Any text in any variable: the doctor and `run` object exactly where the pipeline ignores it, and for the same reason."""
    _, warned = build({variable: text})
    assert warned.keys() <= {variable}
    problems = otel_env.problems({variable: text})
    assert found({variable: text}) == problems
    assert [problem.partition(" is not valid; ")[2] for problem in problems] == list(warned.values())


def test_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither that of headers that are none, nor that of the general ones, which hold instead."""
    build({"OTEL_EXPORTER_OTLP_HEADERS": "api-key=sk-general", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "sk-own"})
    assert "OTEL_EXPORTER_OTLP_TRACES_HEADERS is ignored" in caplog.text
    assert "sk-" not in caplog.text


def test_no_password_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither that of an endpoint that is none, nor that of the general one, which holds instead."""
    build({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:sesame@127.0.0.1:9", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "ftp://me:own@host"})
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is ignored, the default holds" in caplog.text
    assert not re.search("sesame|own@", caplog.text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:4318/v1", "http://host:4318/v1"),
        ("host:4318", "host:4318"),
        ("http://me:word@host", "http://***@host"),
        ("http://me:w/o@r:d@host/path", "http://***@host/path"),
        ("me:word@host", "***@host"),
        ("word@host\nme:word@host", "***@host"),
        ("http://host/?api-key=0123456789abc", "http://host/?api-key=[key]"),
    ],
)
def test_what_is_shown_of_an_endpoint(text: str, shown: str) -> None:
    """Its user and password are not, however it is misspelt, nor what looks like a key."""
    assert otlp_env.without_credentials(text) == shown


def test_a_bad_general_variable_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many signals it is for, and however often a pipeline is built."""
    build({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"})
    build({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, anew=False)
    assert caplog.text.count("OTEL_EXPORTER_OTLP_TIMEOUT is ignored") == 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, (60_000, 30_000)), ({"INTERVAL": "0", "TIMEOUT": "-1"}, (60_000, 30_000)), ({"INTERVAL": "1500", "TIMEOUT": "700"}, (1500, 700))],
)
@pytest.mark.parametrize("exporter", ["otlp", "console"])
def test_metrics_leave_as_often_as_the_variable_says(environ: dict[str, str], expected: tuple[float, float], exporter: str) -> None:
    """The SDK takes no interval of 0 and raises; that is a bad value like any other."""
    built, _ = build({"OTEL_METRICS_EXPORTER": exporter, **{f"OTEL_METRIC_EXPORT_{name}": value for name, value in environ.items()}})
    provider: Any = built.meter_provider
    (reader,) = getattr(provider, "_metric_readers", None) or provider._sdk_config.metric_readers  # the second with older SDKs
    assert (reader._export_interval_millis, reader._export_timeout_millis) == expected


def test_the_standard_queue_sizes_hold_for_both_signals() -> None:
    """``OTEL_BSP_MAX_QUEUE_SIZE`` is that of spans, ``OTEL_BLRP_MAX_QUEUE_SIZE`` that of log records."""
    built, _ = build({"OTEL_BSP_MAX_QUEUE_SIZE": "77", "OTEL_BLRP_MAX_QUEUE_SIZE": "88"})
    assert built._spans and built._logs
    assert (built._spans.queue_size, built._logs.queue_size) == (77, 88)


#: Exporters of another package, which print what they are given.
MINE = """
import functools, threading
from opentelemetry.sdk._logs import export
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
Records = getattr(export, "ConsoleLogRecordExporter", None) or export.ConsoleLogExporter
def names(data):
    return [metric.name for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics]
spans = functools.partial(ConsoleSpanExporter, formatter=lambda span: f"span {span.name}\\n")
records = functools.partial(Records, formatter=lambda record: f"record {getattr(record, 'log_record', record).body}\\n")
told = functools.partial(ConsoleMetricExporter, formatter=lambda data: f"metrics {names(data)}\\n")
asked = functools.cache(InMemoryMetricReader)
def broken():
    raise LookupError
def closing(kind, name, wait=0):
    class Closing(kind):
        def shutdown(self, *args, **kwargs):
            print(f"closed {name}", flush=True)
            threading.Event().wait(wait)
    return Closing
closing_spans, closing_records = closing(ConsoleSpanExporter, "spans"), closing(Records, "records")
closing_told, closing_asked = closing(ConsoleMetricExporter, "told"), closing(InMemoryMetricReader, "asked")
hanging = closing(ConsoleSpanExporter, "spans that hang", 1000)
class stuck(closing_spans):
    def export(self, spans):
        print("stuck", flush=True)
        threading.Event().wait(1000)
"""
WORK = """
import mine
from otel_llm_bridge import events
work = provider.get_tracer("t").start_span("work")
work.end()
line.meter_provider.get_meter("m").create_counter("calls").add(2)
events.emit_record(line.logger_provider.get_logger("l"), work, "event", {}, "said")
"""


def install(folder: Path) -> None:
    """Put the package of these exporters there."""
    info = folder / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    rows = {
        "traces": ("spans", "closing_spans", "hanging", "stuck"),
        "metrics": ("asked", "told", "broken", "closing_told", "closing_asked"),
        "logs": ("records", "closing_records"),
    }
    groups = (f"[{otlp_env.GROUPS[signal]}]\n" + "".join(f"{name} = mine:{name}\n" for name in named) for signal, named in rows.items())
    (info / "entry_points.txt").write_text("\n".join(groups))
    (folder / "mine.py").write_text(MINE)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (WORK, ("spans", "told", "records")),
        (WORK + "line.flush(60)\nos._exit(0)", ("spans,otlp", "otlp,told", "records,otlp")),
        (WORK + "say('metrics ' + str(mine.names(mine.asked().get_metrics_data())))", ("spans", "asked,broken", "records")),
    ],
    ids=["at the end", "beside ours, by a flush", "asked, and one that cannot be made"],
)
def test_exporters_of_other_packages(body: str, names: tuple[str, str, str], receiver: Receiver, tmp_path: Path) -> None:
    """They are found by their entry points, for all signals, and are given everything before the process ends."""
    install(tmp_path)
    environ = dict(zip(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), names, strict=True))
    ended = support.run(body, tmp_path, receiver, environ=environ)
    assert "span work\n" in ended.output and "record said\n" in ended.output, ended.errors
    assert "'calls'" in next(row for row in ended.output.splitlines() if row.startswith("metrics "))
    by_ours = [names[0].count("otlp"), names[1].count("otlp"), names[2].count("otlp")]
    arrived = receiver.store
    calls = [metric for metric in arrived.metrics() if metric.name == "calls"]
    assert [len(arrived.spans()), len(calls), len(arrived.logs())] == by_ours


def closed(ended: support.Ended) -> list[str]:
    """Exporters that were shut down."""
    return sorted(row.removeprefix("closed ") for row in ended.output.splitlines() if row.startswith("closed "))


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGTERM)", "line.shutdown(5)\nline.shutdown(5)"], ids=["exit", "signal", "asked"])
def test_exporters_of_other_packages_are_shut_down(end: str, tmp_path: Path) -> None:
    """Once each, after the last of the telemetry, which comes once; those that are asked for metrics as well."""
    install(tmp_path)
    environ = {
        "OTEL_TRACES_EXPORTER": "closing_spans",
        "OTEL_METRICS_EXPORTER": "closing_told,closing_asked",
        "OTEL_LOGS_EXPORTER": "closing_records",
    }
    ended = support.run(WORK + end, tmp_path, environ=environ)
    assert closed(ended) == ["asked", "records", "spans", "told"], ended.errors
    before = ended.output.partition("closed ")[0]
    assert '"name": "work"' in before and '"said"' in before
    assert ended.output.count('"name": "calls"') == 1
    assert ended.errors == ""


@pytest.mark.parametrize(("name", "says"), [("hanging", "closed spans that hang"), ("stuck", "stuck")])
def test_an_exporter_that_hangs_does_not_hold_the_end(name: str, says: str, receiver: Receiver, tmp_path: Path) -> None:
    """Neither at its shutdown nor at an export; ours is served before."""
    install(tmp_path)
    environ = {"OTEL_TRACES_EXPORTER": f"{name},otlp", "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "3"}
    ended = support.run("span(1)", tmp_path, receiver, environ=environ, timeout=60)
    assert (ended.status, says in ended.output) == (0, True)
    assert support.missing(ended.ended, receiver) == set()

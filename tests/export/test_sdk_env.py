"""What OpenTelemetry reads itself, and would raise at: a program goes on, its span arrives, and a warning says why."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.export import otlp_env
from otel_llm_bridge.viewer.receiver import Receiver

from .support import ROOT, endpoint_of, run

#: Accepted by no row.
BAD = "://"
#: With the default of the first two no receiver of the test is reached, and over HTTP nobody looks at the last.
NOT_READ = ("OTLP_ENDPOINT", "OTLP_PROTOCOL", "_INSECURE")
#: Those that the SDK reads, or would read but for us.
RISKY = [*otlp_env.OF_THE_SDK, *(name for name in otlp_env.VARIABLES if name.startswith(("OTEL_BSP_", "OTEL_BLRP_", "OTEL_METRIC_")))]

WORK = """
from otel_llm_bridge import events
work = tracer.start_span("work")
events.emit_record(line.logger_provider.get_logger("l"), work, "event", {}, "said")
line.meter_provider.get_meter("m").create_counter("calls").add(2)
work.end()
say("goes on")
"""
ALL_SIGNALS = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "otlp")


def arrived(receiver: Receiver) -> tuple[list[str], list[object], bool]:
    """Spans, log records, and whether there was the metric."""
    store = receiver.store
    return [span.name for span in store.spans()], [record.body for record in store.logs()], "calls" in {one.name for one in store.metrics()}


def ignored(errors: str) -> list[str]:
    """Variables that were warned of."""
    return re.findall(r"(OTEL_\w+) is ignored, .* holds; .*accepted: ", errors)


@pytest.mark.parametrize("variable", RISKY)
def test_a_bad_value_costs_nothing(variable: str, receiver: Receiver, tmp_path: Path) -> None:
    """The program goes on, all three signals arrive, and there is one warning and no traceback."""
    ended = run(WORK, tmp_path, receiver, environ={**ALL_SIGNALS, variable: BAD})
    assert (ended.status, ended.output) == (0, "goes on\n"), ended.errors
    assert arrived(receiver) == (["work"], ["said"], True)
    assert ignored(ended.errors) == [variable]
    assert len(ended.errors.splitlines()) == 1


@pytest.mark.parametrize("value", ["", "  "], ids=["empty", "blanks"])
def test_blank_is_unset(value: str, receiver: Receiver, tmp_path: Path) -> None:
    """Also where the SDK takes a blank limit for none, or raises at it; and nothing is said."""
    said = WORK + "say(tracer.start_span('limited').__class__.__name__)"
    ended = run(said, tmp_path, receiver, environ={**dict.fromkeys(otlp_env.OF_THE_SDK, value), **ALL_SIGNALS})
    usual = run(said, tmp_path, receiver, environ=ALL_SIGNALS)
    assert (ended.status, ended.output, ended.errors) == (0, usual.output, usual.errors) == (0, usual.output, "")
    assert arrived(receiver) == (["work"] * 2, ["said"] * 2, True)


def test_a_good_value_is_taken_with_blanks_around_it(receiver: Receiver, tmp_path: Path) -> None:
    """As the SDK's own limits are; its filter and its sampler are looked up as they stand."""
    environ = {**ALL_SIGNALS, "OTEL_METRICS_EXEMPLAR_FILTER": " always_on ", "OTEL_TRACES_SAMPLER": " always_off "}
    ended = run(WORK, tmp_path, receiver, environ=environ)
    assert (ended.output, ended.errors) == ("goes on\n", "")
    assert arrived(receiver) == ([], ["said"], True)


def test_the_programs_environment_is_as_it_was(receiver: Receiver, tmp_path: Path) -> None:
    """What the program and its children read is what its starter has set."""
    environ = {**dict.fromkeys(otlp_env.OF_THE_SDK, BAD), "OTEL_SPAN_EVENT_COUNT_LIMIT": " 7 "}
    names = list(environ)
    ended = run(f"say([os.environ.get(name) for name in {names}])", tmp_path, receiver, environ=environ)
    assert ended.output == f"{list(environ.values())}\n"


def test_a_queue_that_is_smaller_than_a_batch(receiver: Receiver, tmp_path: Path) -> None:
    """The SDK's processors raise at it, and another package's exporter needs one of them."""
    theirs = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER"), "otlp_proto_http")
    queues = dict.fromkeys(("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE"), "100")
    ended = run(WORK, tmp_path, receiver, environ={**ALL_SIGNALS, **theirs, **queues})
    assert (ended.output, ended.errors) == ("goes on\n", "")
    assert arrived(receiver) == (["work"], ["said"], True)


def test_the_command_line_goes_on_as_well(tmp_path: Path) -> None:
    """A spool can be looked at while the environment is wrong."""
    (tmp_path / "traces").mkdir()
    command = [sys.executable, "-m", "otel_llm_bridge.cli", "spool", "status", "--dir", str(tmp_path)]
    ended = run("", tmp_path, command=command, environ=dict.fromkeys(otlp_env.OF_THE_SDK, BAD))
    assert (ended.status, "waiting" in ended.output) == (0, True), ended.errors
    assert "Traceback" not in ended.errors


USER = """
import os, otel_llm_bridge
otel_llm_bridge.instrument()
import litellm
@otel_llm_bridge.flush_after()
def handler():
    return litellm.completion(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}], api_base=os.environ["PROVIDER"], api_key="k")
print(handler().choices[0].message.role)
"""


def test_all_at_once_as_a_user_sees_it(receiver: Receiver, provider: FakeProvider, tmp_path: Path) -> None:
    """A program with a call through LiteLLM: it prints what it should, its span arrives, and each variable is named once."""
    bad = dict.fromkeys((name for name in otlp_env.VARIABLES if not name.endswith(NOT_READ)), BAD)
    environ = {**bad, **endpoint_of(receiver, "http/protobuf"), "PROVIDER": provider.api_base, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environ["PYTHONPATH"] = str(ROOT)
    ended = run(USER, tmp_path, receiver, preamble="", environ=environ, timeout=120)
    assert ended.output == "assistant\n", ended.errors
    assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]
    assert sorted(ignored(ended.errors)) == sorted(bad)
    assert "Traceback" not in ended.errors

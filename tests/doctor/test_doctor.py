"""``otel-llm-bridge doctor``: seeded misconfigurations are named with their fix, a healthy set-up is not accused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from otel_llm_bridge.viewer.faults import Fault

pytestmark = pytest.mark.timeout(600)

#: What must never be printed.
SECRET = "sk-doctor-canary-0123456789"
#: The same, and nothing in it says what it is.
PASSWORD = "open-sesame-4711"

INSTRUMENT = "import otel_llm_bridge; otel_llm_bridge.instrument()\n"
CALL = (
    "import os, litellm\n"
    "litellm.completion(model='openai/gpt-4o-mini', messages=[{'role': 'user', 'content': 'Hello?'}],\n"
    "    api_base=os.environ['PROVIDER'], api_key='sk-test')\n"
)
NO_PROCESSOR = (
    "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\ntrace.set_tracer_provider(TracerProvider())\n"
)
NO_OP = "from opentelemetry import trace\ntrace.set_tracer_provider(trace.NoOpTracerProvider())\n"
IN_A_THREAD = "import threading, otel_llm_bridge\nt = threading.Thread(target=otel_llm_bridge.instrument); t.start(); t.join()\n"
FULL = "import litellm\nlitellm.success_callback = [(lambda n: lambda *a: n)(n) for n in range(90)]\n"
OWN_OTEL = "import litellm\nlitellm.callbacks = ['otel']\n"
ANOTHER = (
    "import litellm, sys, types, wrapt\nother = types.ModuleType('someothertracing'); sys.modules['someothertracing'] = other\n"
    "exec('def wrap(wrapped, instance, args, kwargs): return wrapped(*args, **kwargs)', vars(other))\n"
    "wrapt.wrap_function_wrapper('litellm', 'completion', other.wrap)\n"
)


class Seed(NamedTuple):
    """One misconfiguration, the check that must name it, and a word of the message and of the fix."""

    check: str
    message: str
    fix: str
    environment: dict[str, str] = {}
    program: str | None = None
    fault: Fault = Fault.none


#: ``{closed}``, ``{http}`` and ``{grpc}`` stand for ports of the test.
SEEDS = {
    "nobody listens": Seed("endpoint", "ConnectionRefused", "start the Collector", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:{closed}"}),
    "gRPC to the HTTP port": Seed("endpoint", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}),
    "HTTP to the gRPC port": Seed("endpoint", "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:{grpc}"}),
    "a wrong path": Seed("endpoint", "404", "/v1/traces", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:{http}/nowhere"}),
    "a wrong key": Seed("endpoint", "401", "OTEL_EXPORTER_OTLP_HEADERS", {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}"}, fault=Fault.unauthorised),
    "partial success": Seed("endpoint", "refused the test span", "log", fault=Fault.partial_success(1)),
    "headers that are none": Seed("values", "OTEL_EXPORTER_OTLP_HEADERS", "correct", {"OTEL_EXPORTER_OTLP_HEADERS": SECRET}),
    "a bad value": Seed("values", "OTEL_LLM_BRIDGE_EXIT_TIMEOUT", "correct", {"OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "soon"}),
    **{
        f"a bad value of the SDK's: {variable}": Seed("values", f"{variable}='://'", "correct", {variable: "://"})
        for variable in ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_METRICS_EXEMPLAR_FILTER", "OTEL_PROPAGATORS", "OTEL_RESOURCE_ATTRIBUTES")
    },
    **{
        f"a {what} with a password": Seed("values", f"{variable}='", "correct", {variable: value})
        for what, variable, value in (
            ("bad endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"ftp://me:{SECRET}@host"),
            ("bad endpoint without a scheme", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"me:{PASSWORD}@host:port"),
            ("password with a slash", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"http://me:a/{PASSWORD}@host"),
            ("bad endpoint and a key", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"ftp://host/v1?api-key={PASSWORD}"),
            ("wrong variable", "OTEL_TRACES_EXPORTER", f"http://me:{PASSWORD}@host"),
        )
    },
    "nobody listens, with a password": Seed("endpoint", "http://***@127.0.0.1:", "start the Collector", {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://me:{PASSWORD}@127.0.0.1:{{closed}}/?api-key={PASSWORD}"}),
    "a misspelt option": Seed("unknown option", "OTEL_LLM_BRIDGE_SPOOLDIR", "OTEL_LLM_BRIDGE_SPOOL_DIR", {"OTEL_LLM_BRIDGE_SPOOLDIR": "x"}),
    "the bridge is off": Seed("switched off", "OTEL_LLM_BRIDGE_DISABLED", "unset", {"OTEL_LLM_BRIDGE_DISABLED": "true"}),
    "the SDK is off": Seed("switched off", "OTEL_SDK_DISABLED", "unset", {"OTEL_SDK_DISABLED": "true"}),
    "no exporter": Seed("switched off", "OTEL_TRACES_EXPORTER", "unset", {"OTEL_TRACES_EXPORTER": "none"}),
    "nothing is sampled": Seed("switched off", "OTEL_TRACES_SAMPLER", "unset", {"OTEL_TRACES_SAMPLER": "always_off"}),
    "the launcher leaves it out": Seed("switched off", "OTEL_PYTHON_DISABLED", "take litellm_bridge", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask,litellm_bridge"}),
    "a spool without a folder": Seed("spool", "queue_policy", "OTEL_LLM_BRIDGE_SPOOL_DIR", {"OTEL_LLM_BRIDGE_QUEUE_POLICY": "spool"}),
    "a spool that is no folder": Seed("spool", "cannot be written", "may write", {"OTEL_LLM_BRIDGE_SPOOL_DIR": "/dev/null/spool"}),
    "two tracers of one call": Seed("built-in otel", "LITELLM_OTEL_V2", "OTEL_LLM_BRIDGE_NEIGHBOURS", {"LITELLM_OTEL_V2": "true", "OTEL_LLM_BRIDGE_NEIGHBOURS": "nest"}),
    "never instrumented": Seed("not instrumented", "nothing instruments", "instrument()", program=CALL),
    "no call": Seed("no call", "no call was recorded", "makes a call", program=INSTRUMENT + "import litellm\n"),
    "a provider without a processor": Seed("provider", "no span processor", "BatchSpanProcessor", program=NO_PROCESSOR + INSTRUMENT + CALL),
    "a provider that does nothing": Seed("provider", "NoOp", "do not set one", program=NO_OP + INSTRUMENT + CALL),
    "instrumented in a thread": Seed("signals", "SIGTERM", "main thread", program=IN_A_THREAD + CALL),
    "full callback lists": Seed("callback lists", "success_callback", "one Router", program=INSTRUMENT + FULL + CALL),
    "LiteLLM's own otel": Seed("LiteLLM's own otel", "otel", "litellm.callbacks", program=INSTRUMENT + CALL + OWN_OTEL),
    "another instrumentation": Seed("another instrumentation", "someothertracing", "uninstrument", program=INSTRUMENT + ANOTHER + CALL),
    "a program that raises": Seed("program", "ZeroDivisionError", "traceback", program=INSTRUMENT + CALL + "1 / 0\n"),
    "a program that is cut off": Seed("program", "os._exit", "SPOOL_DIR", program=INSTRUMENT + CALL + "os._exit(0)\n"),
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Where the test spans go."""
    with Receiver() as receiver:
        yield receiver


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def doctor(
    receiver: Receiver, provider: FakeProvider, folder: Path, environment: dict[str, str], program: str | None, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    ports = {"closed": closed_port(), "http": receiver.http_endpoint.rpartition(":")[2], "grpc": receiver.grpc_endpoint.rpartition(":")[2]}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LITELLM_"))}
    changed = {name: value.format_map(ports) for name, value in environment.items()}
    arguments = list(options)
    if program is not None:
        script = folder / "app.py"
        script.write_text(program)
        arguments += ["--timeout", "400", "--program", str(script)]  # a busy machine takes a minute to import LiteLLM
    return subprocess.run(
        [sys.executable, "-m", "otel_llm_bridge.cli", "doctor", *arguments],
        env={
            **kept,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "PROVIDER": provider.api_base,
            **changed,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS.values(), ids=list(SEEDS))
def test_misconfigurations_are_named(receiver: Receiver, provider: FakeProvider, tmp_path: Path, seed: Seed) -> None:
    """Exit code 1, the check's name, a message that says what is wrong, and what to do; never a secret."""
    receiver.fault = seed.fault
    try:
        ran = doctor(receiver, provider, tmp_path, seed.environment, seed.program, "--json")
    finally:
        receiver.fault = Fault.none
    assert ran.returncode == 1, ran.stdout + ran.stderr
    findings = json.loads(ran.stdout)["findings"]
    found = [one for one in findings if one["check"] == seed.check and seed.message in one["message"]]
    assert found, findings
    assert all(seed.fix in one["fix"] for one in found)
    assert {one["check"] for one in findings} <= {seed.check, *ALSO.get(seed.check, ())}, "it accuses nothing else"
    assert not any(secret in ran.stdout + ran.stderr for secret in (SECRET, PASSWORD))


#: What another check may say of the same misconfiguration.
ALSO = {"another instrumentation": ("coverage",)}

OWN_PROVIDER = NO_PROCESSOR + (
    "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter\n"
    "from opentelemetry.sdk.trace.export import BatchSpanProcessor\n"
    "trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))\n"
)
HEALTHY: dict[str, Any] = {
    "without a program": (None, ()),
    "a program with one line": (INSTRUMENT + CALL, ()),
    "a program with no line": (CALL, ("--zero-code",)),
    "a provider of its own": (OWN_PROVIDER + INSTRUMENT + CALL, ()),
    "names bound before": ("from litellm import completion\n" + INSTRUMENT + CALL.replace("litellm.completion", "completion"), ()),
}


@pytest.mark.slow
@pytest.mark.parametrize(("program", "options"), HEALTHY.values(), ids=list(HEALTHY))
def test_a_healthy_set_up_is_not_accused(
    receiver: Receiver, provider: FakeProvider, tmp_path: Path, program: str | None, options: tuple[str, ...]
) -> None:
    """Exit code 0, no finding, and the test span has really arrived."""
    ran = doctor(receiver, provider, tmp_path, {}, program, "--json", *options)
    report = json.loads(ran.stdout)
    assert (ran.returncode, report["findings"], report["healthy"]) == (0, [], True), ran.stderr
    assert report["test_span"]["delivered"] is True
    trace = receiver.store.trace(report["test_span"]["trace_id"])
    assert trace is not None and [span.name for span in trace.spans] == ["otel-llm-bridge doctor"]
    if program:
        assert report["program"]["recorded"] == 1


def test_the_text_says_the_same_and_masks_headers(receiver: Receiver, provider: FakeProvider, tmp_path: Path) -> None:
    """Versions, settings with their origin, the answer of the receiver; a header's name, never its value."""
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={SECRET}", "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "7"}
    ran = doctor(receiver, provider, tmp_path, environment, None)
    assert ran.returncode == 0, ran.stdout
    for part in ("litellm 1.", "exit_timeout=7.0 (environment)", "taken by", "x-api-key", ": 200;", "no findings"):
        assert part in ran.stdout
    assert SECRET not in ran.stdout + ran.stderr


ALONE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "litellm" or name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
from otel_llm_bridge.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "said"), [(("doctor",), "no OTLP exporter"), (("run", "--", sys.executable, "-c", "print('ran')"), "ran\n")], ids=["doctor", "run"]
)
def test_neither_needs_what_the_program_needs(command: tuple[str, ...], said: str) -> None:
    """Without the SDK and LiteLLM the doctor says what it finds, and `run` runs the program."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), ran.stderr
    assert said in ran.stdout

"""`otel-llm-bridge run`: the program cannot tell, its traces arrive, and bad input is said plainly."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from otel_llm_bridge.commands import otel_env
from otel_llm_bridge.viewer import jsonl
from otel_llm_bridge.viewer.records import spans_of

from . import commands
from .commands import started

RUN = [*commands.COMMAND, "run"]
#: A program with plain OpenTelemetry: its own provider, the exporter from the environment.
SDK_PROGRAM = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter import OTLPSpanExporter
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
with trace.get_tracer("t").start_as_current_span("outer"):
    trace.get_tracer("t").start_span("inner").end()
sys.stdout.write(sys.stdin.read().upper())
sys.stderr.write("to stderr\\n")
sys.exit(3)
"""


def run(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    """`otel-llm-bridge run` to its end."""
    return commands.run("run", *arguments, **options)


def python(code: str) -> list[str]:
    """A Python program on the command line."""
    return ["--", sys.executable, "-c", code]


def test_program_runs_as_if_alone(tmp_path: Path) -> None:
    """Its stdin, stdout, stderr and exit code are its own; its spans are shown after it, and written as OTLP JSON lines."""
    lines = tmp_path / "traces.jsonl"
    done = run("--json", str(lines), *python(SDK_PROGRAM.format(protocol="http")), stdin="as typed\n")
    assert (done.returncode, done.stdout) == (3, "AS TYPED\n")
    assert done.stderr.startswith("to stderr\n")
    assert re.search(r"outer .*\n.* inner ", done.stderr)
    names = [span.name for signal_, message in jsonl.read(lines) if signal_.name == "traces" for span, _ in spans_of(message)]
    assert sorted(names) == ["inner", "outer"]


def test_trees_to_a_file(tmp_path: Path) -> None:
    """With --output the trees go to the file; with --no-tree only the closing line is left."""
    output = tmp_path / "trees.txt"
    done = run("--output", str(output), *python(SDK_PROGRAM.format(protocol="http")))
    assert "outer" not in done.stderr
    assert "outer" in output.read_text("utf-8")
    short = run("--no-tree", *python(SDK_PROGRAM.format(protocol="http")))
    assert "outer" not in short.stderr
    assert "received 2 spans" in short.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os._exit(9)", 9),
        ("raise ValueError", 1),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os, signal\nos.kill(os.getpid(), 15)\nwhile True: signal.pause()", 143),
    ],
)
def test_exit_code_is_passed_on(code: str, expected: int) -> None:
    """The program's exit code comes back; 128 + n when signal n ended it."""
    assert run(*python(code)).returncode == expected


WAITING = """
import signal, sys
def on_signal(number, frame):
    print("got", number, flush=True)
    sys.exit(10 + number)
for number in (1, 2, 3, 15):
    signal.signal(number, on_signal)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_signal_is_passed_on(number: int) -> None:
    """A signal for the command reaches the program once, and the command outlives it to give its exit code."""
    with started([*RUN, *python(WAITING)], start_new_session=True, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
        assert (rest, process.returncode) == (f"got {int(number)}\n", 10 + number)


#: Runs its arguments in a terminal of their own.
TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
COUNTING = """
import os, signal
both = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
print("ready", flush=True)
seen = [signal.sigwaitinfo(both).si_signo]
# Whatever the command had to pass on comes before this one: it takes the lowest number first.
os.kill(os.getppid(), signal.SIGTERM)
while seen[-1] != signal.SIGTERM:
    seen.append(signal.sigwaitinfo(both).si_signo)
print("seen:", seen, flush=True)
"""


def test_ctrl_c_of_a_terminal_comes_once() -> None:
    """Ctrl-C reaches the program through the terminal, so the command does not send a second one."""
    with started([sys.executable, "-c", TERMINAL, *RUN, "--no-tree", *python(COUNTING)], stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while "ready" not in process.stdout.readline():
            pass
        output, _ = process.communicate("\x03", timeout=60)
        assert "seen: [2, 15]" in output
        assert process.returncode == 0


ORIGIN = """
import os, signal
from otel_llm_bridge.commands import supervise
with supervise.Supervisor():
    print("ready", flush=True)
    by_terminal = supervise._next_signal()
    os.kill(os.getpid(), signal.SIGINT)
    print("signals:", by_terminal, supervise._next_signal(), flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system cannot tell where a signal comes from")
def test_origin_of_a_signal() -> None:
    """Ctrl-C of a terminal and a signal of a process are told apart; the first is the one that is not passed on."""
    with started([sys.executable, "-c", TERMINAL, sys.executable, "-c", ORIGIN], stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while "ready" not in process.stdout.readline():
            pass
        output, _ = process.communicate("\x03", timeout=60)
        assert "signals: (2, True) (2, False)" in re.sub(r"<Signals.SIGINT: 2>", "2", output)


def test_bad_commands(tmp_path: Path) -> None:
    """No program, a missing one, one that cannot be executed, wrong options: a sentence, the usual exit code, no traceback."""
    script = tmp_path / "script.txt"
    script.write_text("not a program")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = str(taken.getsockname()[1])
        cases: list[tuple[list[str], int, str]] = [
            ([], 2, "no program is given"),
            (["--"], 2, "no program is given"),
            (["--", "there-is-no-such-program"], 127, "there is no such program"),
            (["--", str(tmp_path / "missing")], 127, "there is no such program"),
            (["--", str(script)], 126, "not executable"),
            (["--", str(tmp_path)], 126, "a folder"),
            (["--http-port", busy, "--", "true"], 2, f"port {busy} (OTLP/HTTP) is not free"),
            (["--grpc-port", busy, "--", "true"], 2, f"port {busy} (OTLP/gRPC) is not free"),
            (["--http-port", "x", "--", "true"], 2, "a whole number from 0 to 65535"),
            (["--http-port", "70000", "--", "true"], 2, "a whole number from 0 to 65535"),
            (["--json", str(tmp_path / "no" / "folder"), "--", "true"], 2, "No such file or directory"),
            (["--output", str(tmp_path), "--", "true"], 2, "Is a directory"),
            (["--no-such-option", "--", "true"], 2, "unrecognized arguments"),
        ]
        for arguments, code, text in cases:
            done = run(*arguments)
            assert (arguments, done.returncode) == (arguments, code)
            assert text in done.stderr
            assert "Traceback" not in done.stderr
            assert done.stdout == ""


def test_script_without_an_interpreter(tmp_path: Path) -> None:
    """A file that is marked executable and is no program is 126, as in a shell."""
    script = tmp_path / "script"
    script.write_text("neither binary nor script")
    script.chmod(0o755)
    done = run("--", str(script))
    assert done.returncode == 126
    assert "cannot run" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes", "traceidratio"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "a whole number"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a whole number from 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon", "a number"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "long", "a number"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:notaport", "http://host:port"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier pigeon", "grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nonsense", "key=value"),
        ("OTEL_PROPAGATORS", "telepathy", "tracecontext"),
        ("OTEL_SDK_DISABLED", "maybe", "true, false"),
        ("OTEL_SDK_DISABLED", "1", "true, false"),  # the SDK takes it for false
        ("OTEL_LLM_BRIDGE_EXIT_TIMEOUT", "-1", "a number from 0"),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "a bit", "NO_CONTENT"),
    ],
)
def test_malformed_variable(variable: str, value: str, says: str) -> None:
    """A malformed value is named, with what is accepted; so is a ratio that is none."""
    found = otel_env.problems({variable: value})
    assert len(found) == 1
    assert found[0].startswith(f"{variable}={value!r} is not valid; accepted: ") or "unknown" in found[0]
    assert says in found[0]
    assert otel_env.problems({variable: "  "}) == []


@pytest.mark.parametrize(
    ("environ", "notes"),
    [
        ({"OTEL_LLM_BRIDGE_DISABLED": "1"}, ["OTEL_LLM_BRIDGE_DISABLED=1: the bridge instruments nothing"]),
        ({"OTEL_LLM_BRIDGE_DISABLED": "no"}, []),
        ({"OTEL_SDK_DISABLED": "TRUE"}, ["OTEL_SDK_DISABLED=TRUE: the OpenTelemetry SDK records nothing"]),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, ["OTEL_TRACES_SAMPLER_ARG=0: no trace is sampled"]),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),  # `run` has an exporter of its own
    ],
)
def test_what_switches_everything_off_is_said(environ: dict[str, str], notes: list[str]) -> None:
    """In every spelling that takes effect, and only then."""
    assert otel_env.problems(environ) == []
    assert otel_env.notes(environ) == notes


def test_malformed_variables_stop_the_run() -> None:
    """All of them are listed before the program starts, without the text of a header, and the exit code is 2."""
    done = run(
        *python("print('ran')"), OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="half",
        OTEL_BSP_MAX_QUEUE_SIZE="big", OTEL_EXPORTER_OTLP_HEADERS="sk-secret",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert all(name in done.stderr for name in ("OTEL_TRACES_SAMPLER_ARG='half'", "OTEL_BSP_MAX_QUEUE_SIZE='big'", "OTEL_EXPORTER_OTLP_HEADERS is not"))
    assert "sk-secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_users_endpoint_is_overridden_and_said() -> None:
    """An endpoint of the user is not contacted in this run, and stderr says so."""
    other = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}
    done = run(*python(SDK_PROGRAM.format(protocol="http")), **other)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: overridden" in done.stderr
    assert "received 2 spans" in done.stderr


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["python", "app.py"], "app"),
        (["/usr/bin/python3.11", "-u", "-X", "dev", "dir/serve.py", "x"], "serve"),
        (["python", "-m", "pkg.tool", "x"], "pkg.tool"),
        (["python", "-c", "pass"], "python"),
        (["uvicorn", "app:app"], "uvicorn"),
    ],
)
def test_service_name(argv: list[str], name: str) -> None:
    """A program without a service name is called by its script, module or command."""
    assert otel_env.child_environment({}, argv, "http://x", {})["OTEL_SERVICE_NAME"] == name


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OTEL_SERVICE_NAME": "mine"}, {"OTEL_SERVICE_NAME": "mine"}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine"}, {"OTEL_SERVICE_NAME": None}),
        ({"PYTHONPATH": "/a:/b"}, {"PYTHONPATH": f"{otel_env.ZERO_CODE}:/a:/b"}),
        ({"PYTHONPATH": ""}, {"PYTHONPATH": str(otel_env.ZERO_CODE)}),
        ({"https_proxy": "http://p"}, {"NO_PROXY": None}),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "x"}, {"NO_PROXY": "x,127.0.0.1", "no_proxy": "127.0.0.1"}),
        ({"OTEL_EXPORTER_OTLP_LOGS_HEADERS": "a=b"}, {"OTEL_EXPORTER_OTLP_LOGS_HEADERS": None}),
    ],
)
def test_environment_of_the_program(environ: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """What the user set is kept, unless it would send telemetry elsewhere."""
    child = otel_env.child_environment(environ, ["python", "app.py"], "http://x", {})
    assert {name: child.get(name) for name in expected} == expected


def test_users_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    """A sitecustomize that ours would hide runs first, in the program and in what it starts; LiteLLM is not imported."""
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.mine = 'ran'")
    child = "import sys; print(mine, 'otel_llm_bridge' in sys.modules, 'litellm' in sys.modules, sys.modules['sitecustomize'].__file__)"
    code = f"import subprocess, sys; exec({child!r}); sys.stdout.flush(); subprocess.run([sys.executable, '-c', {child!r}])"
    done = run(*python(code), PYTHONPATH=str(tmp_path))
    assert done.stdout.splitlines() == [f"ran True False {tmp_path / 'sitecustomize.py'}"] * 2


def test_python_without_the_bridge(tmp_path: Path) -> None:
    """A Python that has no bridge runs undisturbed, and the closing line says that nothing reported."""
    done = run("--", sys.executable, "-I", "-c", "print('fine')")
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert "no report came" in done.stderr


CHILDREN = """
import litellm, multiprocessing
def call(times):
    for _ in range(times):
        litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], mock_response="x")
if __name__ == "__main__":
    call(2)
    for method in ("fork", "spawn"):
        process = multiprocessing.get_context(method).Process(target=call, args=(3,))
        process.start()
        process.join()
"""


@pytest.mark.slow
def test_children_are_counted(tmp_path: Path) -> None:
    """Real LiteLLM calls in the program, a forked and a spawned child: each reports, and the closing line adds up."""
    program = tmp_path / "family.py"
    program.write_text(CHILDREN)
    done = run("--", sys.executable, str(program))
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "delivered 8 of 8 spans, 0 dropped"

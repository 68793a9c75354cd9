"""The environment of the program that `run` starts: what is checked, what is set, what is overridden.

The SDK alone answers a bad value with a traceback, a warning deep in the program's output, or silence; before a
program is started there is still time to say it plainly.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..export import otlp_env
from ..settings import TABLE, TRUE, InvalidSetting

ZERO_CODE: Final = Path(__file__).with_name("zero_code")
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_EXPORTERS: Final = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")


def _pairs(text: str) -> None:
    if not all("=" in part and part.partition("=")[0].strip() for part in text.split(",") if part.strip()):
        raise InvalidSetting("accepted: key=value pairs, separated by commas")


#: Variable -> its parser: what our pipeline and the SDK read, and the options of the bridge.
CHECKS: Final[Mapping[str, Callable[[str], Any]]] = {
    **otlp_env.VARIABLES,
    "OTEL_RESOURCE_ATTRIBUTES": _pairs,
    **{row.variable: row.parse for row in TABLE},
}


def problems(environ: Mapping[str, str]) -> list[str]:
    """One sentence for each value that is not accepted, without what it holds of keys, users and passwords."""
    found = []
    for variable, parse in CHECKS.items():
        text = environ.get(variable, "").strip()
        if not text:
            continue
        try:
            parse(text)
        except InvalidSetting as error:
            shown = "" if variable.endswith("HEADERS") else f"={otlp_env.without_credentials(text)[:80]!r}"
            found.append(f"{variable}{shown} is not valid; {error}")
    return found


#: Variable -> (values that switch something off, what happens then).
_OFF: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "OTEL_LLM_BRIDGE_DISABLED": (TRUE, "the bridge instruments nothing"),
    "OTEL_SDK_DISABLED": (("true",), "the OpenTelemetry SDK records nothing"),
    "OTEL_TRACES_EXPORTER": (("none",), "no span is exported"),
    "OTEL_TRACES_SAMPLER": (("always_off", "parentbased_always_off"), "no trace is sampled"),
}


def switched_off(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that switch the telemetry off, with their values -> what happens for it."""
    off = {}
    for name, (values, effect) in _OFF.items():
        text = environ.get(name, "").strip()
        if text.lower() in values:
            off[f"{name}={text}"] = effect
    ratio = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if environ.get("OTEL_TRACES_SAMPLER", "").strip().lower().endswith("traceidratio") and ratio in ("0", "0.0"):
        off[f"OTEL_TRACES_SAMPLER_ARG={ratio}"] = "no trace is sampled"
    return off


def notes(environ: Mapping[str, str]) -> list[str]:
    """What is set and will surprise: what `run` overrides, and what switches the telemetry off."""
    found = []
    ours = sorted(name for name in environ if name.startswith(_PREFIX) and environ[name].strip())
    if ours:
        found.append(f"{', '.join(ours)}: overridden for this run, telemetry goes to the built-in receiver only")
    left = {name: value for name, value in environ.items() if name not in _EXPORTERS}
    return found + [f"{setting}: {effect}" for setting, effect in switched_off(left).items()]


def child_environment(
    environ: Mapping[str, str], argv: Sequence[str], endpoint: str, report: Mapping[str, str]
) -> dict[str, str]:
    """The environment that sends everything to ``endpoint`` and instruments every Python that is started.

    Args:
        environ: what to start from.
        argv: the program, for a service name where there is none.
        endpoint: base URL of the receiver's OTLP/HTTP.
        report: the internal variable for the program's own figures.
    """
    child = {name: value for name, value in environ.items() if not name.startswith(_PREFIX)}
    child.update(
        {
            _PREFIX + "ENDPOINT": endpoint,
            _PREFIX + "PROTOCOL": "http/protobuf",
            **dict.fromkeys(_EXPORTERS, "otlp"),
            **report,
        }
    )
    # An empty entry would put the working folder on the path.
    child["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ZERO_CODE), environ.get("PYTHONPATH", ""))))
    if not environ.get("OTEL_SERVICE_NAME", "").strip() and "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        child["OTEL_SERVICE_NAME"] = service_name(argv)
    if any(environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")):
        # Both spellings: some clients read only one. The receiver is on this machine, a proxy cannot reach it.
        for name in ("NO_PROXY", "no_proxy"):
            child[name] = ",".join(filter(None, (environ.get(name, ""), "127.0.0.1")))
    return child


def service_name(argv: Sequence[str]) -> str:
    """A name for the program: its module or script for a Python, else the program itself."""
    program = Path(argv[0]).name
    if program.startswith(("python", "pypy")):
        rest = list(argv[1:])
        while rest:
            word = rest.pop(0)
            if word == "-m" and rest:
                return rest[0]
            if word == "-c":
                break
            if word in ("-W", "-X") and rest:
                rest.pop(0)
            elif not word.startswith("-"):
                return Path(word).stem
    return program

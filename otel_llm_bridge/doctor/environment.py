"""Checks of what is installed and of the environment variables. Nothing of it imports LiteLLM."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..commands import otel_env
from ..export.report import REPORT_URL
from ..settings import TABLE, Settings
from ..versions import version_of
from .findings import Row

Findings = Iterator[tuple[str, str]]

#: Packages whose versions decide what can work.
PACKAGES: Final = (
    "otel-llm-bridge", "litellm", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation",
    "opentelemetry-exporter-otlp", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-proto-grpc",
    "wrapt", "openai",
)  # fmt: skip
#: Those that must be of one release.
_ONE_RELEASE: Final = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter")
_LOWEST_LITELLM: Final = (1, 80)


@dataclass(frozen=True)
class Environment:
    """What the checks of this module look at."""

    variables: Mapping[str, str]
    settings: Settings
    versions: Mapping[str, str | None]

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Environment:
        """The environment of a program that would be started with ``variables``."""
        return cls(variables, Settings.resolve(variables), {name: version_of(name) for name in PACKAGES})

    def get(self, name: str) -> str:
        """A variable, without blanks around it; empty when it is not set."""
        return self.variables.get(name, "").strip()


def _litellm(seen: Environment) -> Findings:
    version = seen.versions["litellm"]
    if version is None:
        yield (
            "LiteLLM is not installed in this environment",
            "pip install litellm; and run the doctor with the program's own Python",
        )
    elif tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _LOWEST_LITELLM:
        yield (
            f"LiteLLM {version} is older than 1.80, which is the oldest that is supported",
            "pip install --upgrade litellm",
        )


def _opentelemetry(seen: Environment) -> Findings:
    numbers = {name: version for name, version in seen.versions.items() if name.startswith(_ONE_RELEASE) and version}
    if "opentelemetry-sdk" not in numbers:
        yield (
            "opentelemetry-sdk is not installed: calls cannot become spans",
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp",
        )
    elif len({version.rsplit(".", 1)[0] for version in numbers.values()}) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in numbers.items())
        yield (
            f"packages of different OpenTelemetry releases: {listed}",
            "install all of one release: pip install --upgrade " + " ".join(numbers),
        )


def _values(seen: Environment) -> Findings:
    for problem in otel_env.problems(seen.variables):
        yield problem, "correct or unset the variable; what is not valid is ignored until then"


def _unknown_names(seen: Environment) -> Findings:
    known = [row.variable for row in TABLE]
    for name in sorted(seen.variables):
        if name.startswith("OTEL_LLM_BRIDGE_") and name not in known and name != REPORT_URL:
            near = difflib.get_close_matches(name, known, 1)
            yield (
                f"{name} is no option of the bridge and does nothing",
                f"did you mean {near[0]}?" if near else "unset it",
            )


def _switched_off(seen: Environment) -> Findings:
    for setting, effect in otel_env.switched_off(seen.variables).items():
        yield f"{setting}: {effect}", f"unset {setting.partition('=')[0]}"
    disabled = {word.strip() for word in seen.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS").split(",")}
    if disabled & {"litellm_bridge", "*"}:
        yield (
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names the bridge: opentelemetry-instrument leaves it out",
            "take litellm_bridge out of OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        )


def _spool(seen: Environment) -> Findings:
    folder = seen.settings.spool_dir
    if seen.settings.queue_policy == "spool" and not folder:
        yield "queue_policy=spool without a spool: a full queue drops spans", "set OTEL_LLM_BRIDGE_SPOOL_DIR"
    if folder:
        path = Path(folder)
        above = next((parent for parent in (path, *path.parents) if parent.exists()), path)
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            yield (
                f"the spool's folder {folder} cannot be written to",
                "give OTEL_LLM_BRIDGE_SPOOL_DIR a folder that this user may write to",
            )


def _built_in(seen: Environment) -> Findings:
    if seen.get("LITELLM_OTEL_V2").lower() == "true" and seen.settings.neighbours == "nest":
        yield (
            "LITELLM_OTEL_V2 and the bridge both make spans of each call, and neighbours=nest keeps both",
            "unset LITELLM_OTEL_V2, or set OTEL_LLM_BRIDGE_NEIGHBOURS to suppress or defer",
        )


CHECKS: Final = (
    Row("litellm", _litellm),
    Row("opentelemetry", _opentelemetry),
    Row("values", _values),
    Row("unknown option", _unknown_names),
    Row("switched off", _switched_off),
    Row("spool", _spool),
    Row("built-in otel", _built_in),
)


def facts(seen: Environment) -> dict[str, Any]:
    """What was looked at, as JSON types."""
    settings = seen.settings
    return {
        "versions": {name: version for name, version in seen.versions.items() if version},
        "settings": {name: {"value": settings.values[name], "origin": settings.origins[name]} for name in settings.values},
    }

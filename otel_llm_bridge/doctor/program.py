"""Checks of a program that was run for it: is LiteLLM instrumented, by whom else, and does it reach an exporter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..commands.otel_env import ZERO_CODE
from .findings import Row

Findings = Iterator[tuple[str, str]]
Seen = Mapping[str, Any]

#: Share of LiteLLM's limit of callbacks from which on the next Router may be one too many.
_FULL: Final = 0.8
_OWN_OTEL: Final = ("otel", "opentelemetry", "OpenTelemetry", "OpenTelemetryV2")


def run(program: Sequence[str], variables: Mapping[str, str], zero_code: bool, timeout: float) -> dict[str, Any]:
    """Run ``program`` (a script and its arguments) and return what the probe saw.

    Args:
        program: a file and its arguments.
        variables: its environment.
        zero_code: instrument it from outside, as ``opentelemetry-instrument`` does.
        timeout: seconds, after which it is ended.
    """
    environ = dict(variables)
    if zero_code:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ZERO_CODE), environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seen.json"
        command = [sys.executable, "-m", "otel_llm_bridge.doctor.probe", str(out), *program]
        try:
            # Its output is its own affair; stdout is the doctor's.
            subprocess.run(command, env=environ, stdout=sys.stderr, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return {"error": "TimeoutExpired", "timeout": timeout}
        if not out.exists():
            return {"error": "no report"}
        seen: dict[str, Any] = json.loads(out.read_text())
        return seen


def _ended(seen: Seen) -> Findings:
    if seen["error"] == "TimeoutExpired":
        yield (
            f"the program did not end within {seen['timeout']:g} s",
            "give the doctor a short program that makes one call, or a longer --timeout",
        )
    elif seen["error"] == "no report":
        yield (
            "the program left without an end that anybody can take part in (os._exit, SIGKILL)",
            "end it by returning, sys.exit or a signal; or set OTEL_LLM_BRIDGE_SPOOL_DIR",
        )
    elif seen["error"]:
        yield f"the program raised {seen['error']}", "see its own traceback; the doctor only runs it"


def _instrumented(seen: Seen) -> Findings:
    if seen.get("instrumented") is False:
        yield (
            "nothing instruments LiteLLM in this program",
            "call otel_llm_bridge.instrument(), or start it with opentelemetry-instrument or `otel-llm-bridge run --`",
        )


def _drops_all(seen: Seen) -> bool:
    """Whether the provider itself is the reason why nothing is recorded; `_provider` says so."""
    return seen.get("processors") == [] or str(seen.get("provider", "")).endswith("NoOpTracerProvider")


def _calls(seen: Seen) -> Findings:
    if seen.get("litellm") is False:
        yield "the program never imported LiteLLM", "give the doctor a program that makes a call"
    elif seen.get("instrumented") and not seen.get("recorded") and not seen.get("error") and not _drops_all(seen):
        yield (
            "LiteLLM is instrumented, and no call was recorded",
            "give the doctor a program that makes a call; look for OTEL_LLM_BRIDGE_DISABLED and suppressed()",
        )


def _others(seen: Seen) -> Findings:
    if seen.get("replaced"):
        names = ", ".join(seen["replaced"])
        yield (
            f"LiteLLM is instrumented by {names}, too: each call may be there twice",
            f"uninstrument {names}, or choose OTEL_LLM_BRIDGE_NEIGHBOURS",
        )


def _own_otel(seen: Seen) -> Findings:
    named = sorted({name for one in seen.get("callbacks", {}).values() for name in one["names"] if name in _OWN_OTEL})
    if named:
        yield (
            f"LiteLLM's own OpenTelemetry callback is registered ({', '.join(named)}), too: calls may be there twice",
            "take it out of litellm.callbacks, or choose OTEL_LLM_BRIDGE_NEIGHBOURS",
        )


def _unpatched(seen: Seen) -> Findings:
    if seen.get("instrumented") and seen.get("unpatched") and not seen.get("replaced"):
        yield (
            f"functions of LiteLLM that are not instrumented: {', '.join(seen['unpatched'])}",
            "this version of LiteLLM is not known; see which versions are tested",
        )
    if seen.get("instrumented") and seen.get("early"):
        yield (
            f"names that were bound early and lead past the bridge: {', '.join(seen['early'])}",
            "call otel_llm_bridge.instrument() before these modules are imported",
        )


def _full(seen: Seen) -> Findings:
    limit = seen.get("callbacks_limit") or 0
    for name, one in seen.get("callbacks", {}).items():
        if limit and one["count"] >= _FULL * limit:
            yield (
                f"litellm.{name} holds {one['count']} of at most {limit} callbacks; one more is ignored with a warning",
                "make one Router and keep it; register callbacks with the bridge; raise LITELLM_MAX_CALLBACKS",
            )


def _provider(seen: Seen) -> Findings:
    if seen.get("provider", "").endswith("NoOpTracerProvider"):
        yield (
            "the global TracerProvider does nothing (NoOpTracerProvider)",
            "do not set one, and the bridge makes its own from OTEL_*; or set an SDK TracerProvider",
        )
    elif seen.get("processors") == []:
        yield (
            "the program's TracerProvider has no span processor: nothing is exported",
            "provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter())), or set no provider at all",
        )


def _signals(seen: Seen) -> Findings:
    if seen.get("instrumented") and seen.get("handle_signals") and seen.get("signals", {}).get("SIGTERM") == "default":
        yield (
            "SIGTERM ends the process without delivery: instrument() was not called in the main thread",
            "call otel_llm_bridge.instrument() in the main thread",
        )


CHECKS: Final = (
    Row("program", _ended),
    Row("not instrumented", _instrumented),
    Row("no call", _calls),
    Row("another instrumentation", _others),
    Row("LiteLLM's own otel", _own_otel),
    Row("coverage", _unpatched),
    Row("callback lists", _full),
    Row("provider", _provider),
    Row("signals", _signals),
)

"""``otel-llm-bridge doctor``: what is wrong with the set-up, each finding with its fix."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from typing import Any

from ..doctor import Examination, examine
from ..guard import logger
from .common import seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    parser.usage = "otel-llm-bridge doctor [options] [--program app.py [arguments]]"
    parser.add_argument("--json", action="store_true", help="everything as one JSON document on stdout")
    parser.add_argument("--zero-code", action="store_true", help="instrument the program from outside, as opentelemetry-instrument does")
    parser.add_argument("--timeout", metavar="S", type=seconds, default=60.0, help="what the program may take, in seconds (default: 60)")
    parser.add_argument("--no-send", dest="send", action="store_false", help="do not send a test span")
    parser.add_argument(
        "--program", nargs=argparse.REMAINDER, default=[], metavar="app.py", help="run it, and look how it is instrumented; comes last"
    )


def main(arguments: argparse.Namespace) -> int:
    """Examine and report.

    Returns:
        0 when nothing was found, else 1.
    """
    # What the bridge would warn of is among the findings.
    logger.setLevel(logging.CRITICAL)
    found = examine(arguments.program, zero_code=arguments.zero_code, timeout=arguments.timeout, send=arguments.send)
    if arguments.json:
        findings = [dataclasses.asdict(finding) for finding in found.findings]
        print(json.dumps({"healthy": found.healthy, "findings": findings, **found.facts}, indent=2, default=str))
    else:
        _print(found)
    return 0 if found.healthy else 1


def _print(found: Examination) -> None:
    facts = found.facts
    _section("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items()))
    own = {name: one for name, one in facts["settings"].items() if one["origin"] != "default"}
    _section("settings", ", ".join(f"{name}={one['value']} ({one['origin']})" for name, one in own.items()) or "all defaults")
    if "test_span" in facts:
        _section("test span", _sent(facts["test_span"]))
    if "program" in facts:
        _section("program", _ran(facts["program"]))
    for finding in found.findings:
        print(f"\n✗ {finding.check}: {finding.message}\n  fix: {finding.fix}")
    print("\nno findings" if found.healthy else f"\n{len(found.findings)} finding{'s' * (len(found.findings) > 1)}")


def _section(name: str, text: str) -> None:
    print(f"{name + ':':<11}{text}")


def _sent(sent: dict[str, Any] | None) -> str:
    if sent is None:
        return "not sent: no OTLP exporter"
    taken = "taken by" if sent["delivered"] else "not taken by"
    headers = f", headers {', '.join(sent['headers'])}" if sent["headers"] else ""
    return f"{taken} {sent['url']} ({sent['protocol']}{headers}): {sent['answer']}; trace {sent['trace_id']}"


def _ran(seen: dict[str, Any]) -> str:
    signals = ", ".join(f"{name} {who}" for name, who in seen.get("signals", {}).items())
    return (
        f"exit code {seen.get('exit_code')}, instrumented {seen.get('instrumented')}, spans {seen.get('recorded')}, "
        f"provider {seen.get('provider')}, signals {signals or 'unknown'}"
    )

"""How long the end of a process takes: ``python -m tests.export.exits`` prints it for each state of the receiver.

Programs with 200 spans, one metric and one log record, on the budget of 5 s, from their last line to their end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import Program

_BODY = """
from opentelemetry._logs import LogRecord
[span(i) for i in range(200)]
if line.meter_provider is not None:
    line.meter_provider.get_meter("m").create_counter("c").add(1)
if line.logger_provider is not None:
    line.logger_provider.get_logger("l").emit(LogRecord(timestamp=time.time_ns(), body="x"))
say("ready")
"""
_OTHERS = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}

#: State of the receiver; ``None``: nothing listens.
_STATES = {
    "fine": Fault.none, "refused": None, "hanging": Fault.hang, "503": Fault.refuse(503), "reset": Fault.reset,
}  # fmt: skip
_VARIANTS: dict[str, dict[str, str]] = {"spans": {}, "all signals": _OTHERS}


def measure(state: str, variant: str, spool: bool, kind: str = "bridge") -> float:
    """Seconds from the program's last line to its end."""
    fault = _STATES[state]
    with tempfile.TemporaryDirectory() as name, Receiver() as receiver:
        environ = {**_VARIANTS[variant], **({"OTEL_LLM_BRIDGE_SPOOL_DIR": f"{name}/spool"} if spool else {})}
        if fault is None:
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
        else:
            receiver.fault = fault
        body = _BODY if kind == "bridge" else "[span(i) for i in range(200)]\nsay('ready')"
        with Program(body, Path(name), receiver if fault is not None else None, kind=kind, environ=environ) as program:
            return program.wait_for("ready").stopwatch().wait(120).seconds


def main() -> None:
    """Print the table: median and worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    rows = [("bridge", variant, spool) for variant in _VARIANTS for spool in (False, True)] + [("control", "spans", False)]
    for state in _STATES:
        for kind, variant, spool in rows:
            seconds = [measure(state, variant, spool, kind) for _ in range(arguments.runs)]
            who = "plain SDK" if kind == "control" else variant + (", spool" if spool else "")
            print(f"{state:10} {who:20} median {statistics.median(seconds):6.2f} s  worst {max(seconds):6.2f} s", flush=True)


if __name__ == "__main__":
    main()

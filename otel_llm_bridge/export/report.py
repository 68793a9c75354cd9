"""An instrumented process tells the receiver what it ended, so that "17 of 17" is a comparison and not a guess."""

from __future__ import annotations

import http.client
import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

#: Set by ``otel-llm-bridge run`` for the program that it starts; not an option.
REPORT_URL: Final = "OTEL_LLM_BRIDGE_REPORT_URL"


def send(url: str, report: Mapping[str, Any], timeout: float = 2.0) -> bool:
    """Post ``report`` to the receiver of `otel-llm-bridge run`.

    Called at the very end of a process, after the last export, so it never raises and is bounded. A
    proxy of the environment is not asked: the report is for this machine only.

    Args:
        url: the value of `REPORT_URL`; anything but a loopback address is refused.
        report: ``pid``, ``ended``, ``exported``, ``failed``, ``dropped`` (reason -> count), ``spooled``
            and ``pending``, all in spans.
        timeout: seconds.

    Returns:
        Whether the receiver took it.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not ipaddress.ip_address(parts.hostname or "").is_loopback:
            return False
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        try:
            connection.request(
                "POST", parts.path or "/", json.dumps(dict(report)), {"Content-Type": "application/json"}
            )
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return False

"""Which version of a package is installed: of this one for the scope of its telemetry, of others for the doctor."""

from __future__ import annotations

from importlib import metadata
from typing import Final

DISTRIBUTION: Final = "otel-llm-bridge"


def version_of(package: str = DISTRIBUTION) -> str | None:
    """The version of ``package``; ``None`` where it is not installed (for instance run from a copy of its source)."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

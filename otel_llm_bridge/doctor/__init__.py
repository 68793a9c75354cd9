"""``otel-llm-bridge doctor``: why there is nothing to see, and what to do about it."""

from __future__ import annotations

from .examination import Examination, examine
from .findings import Finding

__all__ = ["Examination", "Finding", "examine"]

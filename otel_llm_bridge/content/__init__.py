"""Content: what was said to a model and what it said. One policy decides what of it is recorded, and where."""

from __future__ import annotations

from .conversation import Conversation
from .policy import ContentPolicy

__all__ = ["ContentPolicy", "Conversation"]

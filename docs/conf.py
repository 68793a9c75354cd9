"""Sphinx: `make docs` builds the manual with warnings as errors."""

from __future__ import annotations

from importlib import metadata

project = "otel_llm_bridge"
author = "the otel_llm_bridge maintainers"
copyright = "the otel_llm_bridge maintainers, Apache-2.0"
version = release = metadata.version("otel-llm-bridge")

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"otel_llm_bridge {release}"
html_show_sourcelink = False

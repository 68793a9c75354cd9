"""Python imports this while it starts, because `otel-llm-bridge run` puts its folder first on ``PYTHONPATH``.

It is ours and not that of ``opentelemetry-instrument``, because that one hides a ``sitecustomize`` that is
there already, loads every instrumentation that is installed, and needs a distribution package to set up an
exporter. A program that is itself started by ``opentelemetry-instrument`` is instrumented through the entry
point, so nothing is lost.

It runs in every Python that the program starts, so it must stay plain, quick and quiet.
"""

from __future__ import annotations

import sys


def _run_the_hidden_one() -> None:
    """The distribution's or the user's own ``sitecustomize`` runs as if we were not there."""
    import os
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    others = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _instrument() -> None:
    try:
        import otel_llm_bridge
    except ModuleNotFoundError:
        # Another Python, without the bridge: `run` says at the end that nothing reported.
        return
    otel_llm_bridge.instrument()


try:
    _run_the_hidden_one()
finally:
    _instrument()

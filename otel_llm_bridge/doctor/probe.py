"""Runs a program and writes down, at its end, how it was instrumented. Started by the doctor, in the program's place.

``python -m otel_llm_bridge.doctor.probe OUT app.py [arguments]``
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

#: LiteLLM's lists of callbacks.
_LISTS: Final = (
    "callbacks", "input_callback", "success_callback", "failure_callback", "service_callback",
    "_async_success_callback", "_async_failure_callback",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Run the program as ``python`` would, then look."""
    out, script, *arguments = argv
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    error: str | None = None
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException as raised:  # whatever it raised, it is a finding
        error = type(raised).__qualname__
    seen: dict[str, Any] = {}
    # A look that fails must not hide the others.
    for look in (_instrumentor, _litellm, _provider, _processors, _signals):
        with contextlib.suppress(Exception):
            seen.update(look())
    Path(out).write_text(json.dumps({**seen, "error": error, "exit_code": code}))
    return code


def _instrumentor() -> dict[str, Any]:
    from otel_llm_bridge.bridge import bridge

    settings = bridge.settings
    return {
        "instrumented": bridge.on,
        "handle_signals": bool(settings is not None and settings.handle_signals),
        "settings_given": sorted(
            name for name, origin in (settings.origins if settings is not None else {}).items() if origin == "argument"
        ),
        "recorded": _recorded(bridge.providers),
    }


def _recorded(providers: Any) -> int | None:
    """Spans that have ended; ``None`` when nothing was ever asked for a tracer."""
    if providers is None:
        return None
    if providers.pipeline is not None:
        return int(providers.pipeline.report().ended)
    return None if providers.attached is None else int(providers.attached.ledger.report().ended)


def _litellm() -> dict[str, Any]:
    litellm: Any = sys.modules.get("litellm")
    if litellm is None:
        return {"litellm": False}
    from otel_llm_bridge.litellm.wrap_points import FAMILIES, targets
    from otel_llm_bridge.patching import is_patched

    names = [target.path for family in FAMILIES for target in targets(family) if target.module == "litellm"]
    public = {name: getattr(litellm, name) for name in names if callable(getattr(litellm, name, None))}
    constants: Any = sys.modules.get("litellm.constants")
    return {
        "litellm": True,
        "unpatched": sorted(name for name, function in public.items() if not is_patched(function)),
        "replaced": sorted({_owner(function) for function in public.values()} - {"litellm", "otel_llm_bridge"}),
        "early": sorted(_early(set(public), is_patched)),
        "callbacks": {name: _listed(getattr(litellm, name, ())) for name in _LISTS},
        "callbacks_limit": int(getattr(constants, "MAX_CALLBACKS", 0) or 0),
    }


def _owner(function: Any) -> str:
    """The package that put this function there: a wrapper's class tells, or its code."""
    if type(function).__name__ in ("FunctionWrapper", "BoundFunctionWrapper"):
        wrapper = getattr(function, "_self_wrapper", None)
        module = getattr(wrapper, "__module__", "") or type(wrapper).__module__
    else:
        module = getattr(function, "__globals__", {}).get("__name__", "") or getattr(function, "__module__", "")
    return str(module).partition(".")[0] or "unknown"


def _early(names: set[str], is_patched: Any) -> Iterator[str]:
    """Names that some module bound before, and that lead past the bridge."""
    for module_name, module in list(sys.modules.items()):
        if module is None or module_name.partition(".")[0] in ("litellm", "otel_llm_bridge"):
            continue
        for name, value in list(vars(module).items()):
            of_litellm = callable(value) and str(getattr(value, "__module__", "")).startswith("litellm")
            if of_litellm and getattr(value, "__name__", "") in names and not is_patched(value):
                yield f"{module_name}.{name}"


def _listed(callbacks: Any) -> dict[str, Any]:
    return {"count": len(callbacks), "names": sorted({_called(one) for one in callbacks})}


def _called(callback: Any) -> str:
    if isinstance(callback, str):
        return callback
    return getattr(callback, "__qualname__", None) or type(callback).__qualname__


def _provider() -> dict[str, Any]:
    from opentelemetry import trace

    kind = type(trace.get_tracer_provider())
    return {"provider": f"{kind.__module__}.{kind.__qualname__}"}


def _processors() -> dict[str, Any]:
    from opentelemetry import trace

    from otel_llm_bridge.export.attached import processors

    found = processors(trace.get_tracer_provider())
    return {"processors": None if found is None else [type(one).__name__ for one in found]}


def _signals() -> dict[str, Any]:
    handlers = {}
    for name in ("SIGTERM", "SIGINT"):
        handler = signal.getsignal(getattr(signal, name))
        handlers[name] = "default" if handler is signal.SIG_DFL else str(getattr(handler, "__module__", "other"))
    return {"signals": handlers, "fork": hasattr(os, "register_at_fork")}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

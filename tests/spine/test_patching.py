"""Names bound early, identity, signatures, and the way back."""

from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litellm
import litellm.google_genai
import pytest

import otel_llm_bridge
from otel_llm_bridge import guard
from otel_llm_bridge.litellm.wrap_points import FAMILIES, targets
from otel_llm_bridge.patching import Target, apply, apply_all, is_patched, restore

from ..conftest import MESSAGES, Bridge

# Bound before any test switches the bridge on.
from litellm import acompletion, completion  # isort: skip
from litellm.main import acompletion as main_acompletion  # isort: skip


class _Holder:
    call = staticmethod(litellm.completion)


def _default(messages: Any, function: Any = litellm.completion, **kwargs: Any) -> Any:
    return function(model="openai/gpt-4o-mini", messages=messages, **kwargs)


_partial = functools.partial(litellm.completion, model="openai/gpt-4o-mini")
_listed = [litellm.completion]

_BINDINGS: dict[str, Callable[..., Any]] = {
    "attribute of the module": lambda **k: litellm.completion(model="openai/gpt-4o-mini", **k),
    "from litellm import": lambda **k: completion(model="openai/gpt-4o-mini", **k),
    "from litellm import, async": lambda **k: asyncio.run(acompletion(model="openai/gpt-4o-mini", **k)),
    "from litellm.main import": lambda **k: asyncio.run(main_acompletion(model="openai/gpt-4o-mini", **k)),
    "attribute of a class": lambda **k: _Holder.call(model="openai/gpt-4o-mini", **k),
    "default argument": lambda **k: _default(**k),
    "functools.partial": lambda **k: _partial(**k),
    "element of a list": lambda **k: _listed[0](model="openai/gpt-4o-mini", **k),
    "LiteLLM's own client": lambda **k: litellm.LiteLLM(api_key=k.pop("api_key")).chat.completions.create(
        model="openai/gpt-4o-mini", **k
    ),
    "LiteLLM's own helper": lambda **k: litellm.batch_completion(
        model="openai/gpt-4o-mini", **{**k, "messages": [k["messages"]]}
    ),
}


@pytest.mark.parametrize("binding", _BINDINGS)
def test_every_binding_is_caught(binding: str, bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """A name that was bound before ``instrument()``, of whatever kind, makes exactly one span."""
    _BINDINGS[binding](messages=MESSAGES, **openai_kwargs)
    assert bridge.span().name == "chat gpt-4o-mini"


def _all_functions() -> list[tuple[Target, Any]]:
    found = []
    for family in FAMILIES:
        for target in targets(family):
            try:
                found.append((target, target.resolve()[2]))
            except (ImportError, AttributeError):
                continue
    return found


def test_identity_signature_and_the_way_back() -> None:
    """Instrumented functions are the same objects with the same signature; afterwards they have their own code again."""
    before = [(target, function, function.__code__, inspect.signature(function)) for target, function in _all_functions()]
    own = {id(function): dict(vars(function)) for _, function, _, _ in before}
    otel_llm_bridge.instrument(strict=True, handle_signals=False)
    try:
        for target, function, _, signature in before:
            assert target.resolve()[2] is function
            assert is_patched(function), target
            assert inspect.signature(function) == signature
            assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(target.resolve()[2])
    finally:
        otel_llm_bridge.uninstrument()
    for target, function, code, _ in before:
        assert function.__code__ is code, target
        assert vars(function) == own[id(function)]
    assert not is_patched(litellm.Router.make_call)


def test_instrumenting_five_times_changes_nothing(bridge: Bridge, openai_kwargs: dict[str, Any]) -> None:
    """Further calls of ``instrument()`` add no wrapper, and one ``uninstrument()`` takes all of it off."""
    code = litellm.completion.__code__
    for _ in range(4):
        otel_llm_bridge.instrument(tracer_provider=bridge.tracer_provider)
    assert litellm.completion.__code__ is code
    litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
    assert len(bridge.all()) == 1
    otel_llm_bridge.uninstrument()
    assert not is_patched(litellm.completion)
    completion(model="openai/gpt-4o-mini", messages=MESSAGES, **openai_kwargs)
    assert len(bridge.all()) == 1


def test_a_compiled_function_is_replaced_by_wrapt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no Python code to swap is wrapped as an attribute, and put back."""
    module = type(sys)("compiled")
    module.function = len  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compiled", module)
    undo = apply(Target("compiled", "function"), lambda _f: lambda wrapped, _i, args, kwargs: wrapped(*args, **kwargs) + 1)
    assert undo is not None
    assert module.function([1]) == 2  # type: ignore[attr-defined]
    assert apply(Target("compiled", "function"), lambda _f: lambda *_a: None) is None
    restore([undo])
    assert module.function is len  # type: ignore[attr-defined]


def _module(name: str, source: str, folder: Path) -> None:
    folder.joinpath(f"{name}.py").write_text(source)


def test_a_module_that_was_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its newest name is taken; the others, which a library warns of, are not imported."""
    _module("patching_new", "def function(): return 1\n", tmp_path)
    _module("patching_old", "raise DeprecationWarning('moved')\n", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert Target("patching_newest|patching_new|patching_old", "function").resolve()[0].__name__ == "patching_new"
    with pytest.raises(ImportError):
        Target("patching_newest|patching_oldest", "function").resolve()


def test_a_module_that_cannot_be_imported_costs_only_its_own_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the program makes errors of warnings: that is told, and the other functions are wrapped."""
    _module("patching_warns", "import warnings; warnings.warn('moved', DeprecationWarning)\n", tmp_path)
    _module("patching_works", "def function(): return 1\n", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(guard, "_strict", False)
    made = [(Target(module, "function"), lambda _function: _through) for module in ("patching_warns", "patching_absent", "patching_works")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        undos = apply_all(made)
    assert len(undos) == 1
    assert is_patched(sys.modules["patching_works"].function)
    assert [record.getMessage() for record in caplog.records if "patching_warns.function" in record.getMessage()]
    restore(undos)


def _through(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def test_instrumenting_does_not_import_litellm() -> None:
    """``instrument()`` leaves LiteLLM alone until the program imports it, and then patches it."""
    program = (
        "import sys, otel_llm_bridge; otel_llm_bridge.instrument(); assert 'litellm' not in sys.modules\n"
        "from otel_llm_bridge.patching import is_patched\n"
        "from litellm import completion; assert is_patched(completion)\n"
        "otel_llm_bridge.uninstrument(); assert not is_patched(completion); print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "fine\n", done.stderr
    assert done.stderr == ""

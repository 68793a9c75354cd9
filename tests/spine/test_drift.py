"""LiteLLM moves: every wrap point resolves, and what it gains is noticed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any, Final

import litellm
import pytest

from otel_llm_bridge.litellm import hooks, router
from otel_llm_bridge.litellm.wrap_points import EXCLUDED, FAMILIES, ROUTER_EXCLUDED, targets
from otel_llm_bridge.semconv import gen_ai


def _forms(name: str) -> tuple[str, str]:
    """The name of a function, and of its async form."""
    module, dot, last = name.rpartition(".")
    return name, f"{module}{dot}a{last}"


_EXCLUDED = {form for names in EXCLUDED.values() for name in names.split() for form in _forms(name)}
_ROUTER_EXCLUDED = {name for names in ROUTER_EXCLUDED.values() for name in names.split()}
_COVERED = {target.path for family in FAMILIES for target in targets(family)}


def _is_request(function: Any) -> bool:
    """Whether LiteLLM's ``@client`` is on ``function``, or under it: then it makes a request."""
    for candidate in (function, getattr(function, "__wrapped__", None)):
        code = getattr(candidate, "__code__", None)
        if isinstance(code, CodeType) and "original_function" in code.co_freevars:
            return True
    return False


#: Of LiteLLM's modules, those that its users do not call: its adapters, its server, and what both are made of.
_INNER: Final = frozenset({"caching", "integrations", "litellm_core_utils", "llms", "proxy", "rust_bridge", "types"})


def _public_modules(package: ModuleType = litellm) -> Iterator[ModuleType]:
    """The package and all modules below it that users may import; those that want a package that is not installed are left out."""
    yield package
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        last = found.name.rpartition(".")[2]
        if last.startswith("_") or last in _INNER:
            continue
        try:
            module = importlib.import_module(found.name)
        except Exception:
            continue
        if found.ispkg:
            yield from _public_modules(module)
        else:
            yield module


def _requests() -> dict[int, str]:
    """Each function of a public module that makes a request: the shortest way to it from ``litellm``."""
    found: dict[int, str] = {}
    for module in _public_modules():
        below = module.__name__.removeprefix("litellm").lstrip(".")
        for name in dir(module):
            function = getattr(module, name, None)
            if not name.startswith("_") and _is_request(function):
                path = f"{below}.{name}" if below else name
                found[id(function)] = min(found.get(id(function), path), path, key=len)
    return found


#: Families that not every supported LiteLLM has.
_NEWER_FAMILIES = {gen_ai.EXTRACTION: "it came with LiteLLM 1.109"}


@pytest.mark.parametrize("family", [pytest.param(family, id=f"{family.operation}-{family.reader}") for family in FAMILIES])
def test_each_family_has_a_function_in_this_version(family: Any) -> None:
    """Of each row at least the public functions are there, and all of them are functions."""
    found = []
    for target in targets(family):
        try:
            found.append(target.resolve()[2])
        except (ImportError, AttributeError):
            continue
    if family.operation in _NEWER_FAMILIES and not hasattr(litellm, family.operation):
        pytest.skip(_NEWER_FAMILIES[family.operation])
    assert found
    assert all(inspect.isfunction(function) for function in found)


#: Points that the oldest LiteLLM does not have -> what it does without them.
_NEWER = {"litellm.responses.streaming_iterator._estimate_usage_safely": "it does not count what the provider has not"}


@pytest.mark.parametrize("target", [pytest.param(target, id=str(target)) for target in [
    *(target for target, _ in router.POINTS), *(point.target for point in hooks.POINTS)
]])  # fmt: skip
def test_router_and_hook_points_resolve(target: Any) -> None:
    """Each point of the Router's and the hooks' tables is there and can be called."""
    if str(target) in _NEWER and not hasattr(importlib.import_module(target.module), target.path):
        pytest.skip(f"{_NEWER[str(target)]}")
    assert callable(target.resolve()[2])


def test_no_public_request_function_is_unknown() -> None:
    """Every function of ``litellm`` and its public modules that makes a request is in the table, or excluded by name with its reason."""
    covered = set()
    for target in (target for family in FAMILIES for target in targets(family)):
        try:
            covered.add(id(target.resolve()[2]))
        except (ImportError, AttributeError):
            continue
    public = _requests()
    assert len(public) > 100
    assert "interactions.create" in public.values()
    unknown = [path for function, path in public.items() if function not in covered]
    assert sorted(path for path in unknown if _EXCLUDED.isdisjoint((path, path.rpartition(".")[2]))) == []


def test_no_public_router_method_is_unknown() -> None:
    """Every async method of a Router, its class's and its own, is covered or excluded by name with its reason."""
    own = litellm.Router(model_list=[])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # LiteLLM warns of attributes that only tests read
        public = {name for name in dir(own) if not name.startswith("_") and inspect.iscoroutinefunction(getattr(own, name, None))}
    assert len(public) > 50
    assert sorted(public - _COVERED - _EXCLUDED - _ROUTER_EXCLUDED) == []

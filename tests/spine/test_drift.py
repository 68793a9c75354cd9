"""LiteLLM moves: every wrap point resolves, and what it gains is noticed."""

from __future__ import annotations

import inspect
from typing import Any

import litellm
import litellm.google_genai
import pytest

from otel_llm_bridge.litellm import hooks, router
from otel_llm_bridge.litellm.wrap_points import EXCLUDED, FAMILIES, ROUTER_EXCLUDED, targets

_EXCLUDED = {form for names in EXCLUDED.values() for name in names.split() for form in (name, f"a{name}")}
_ROUTER_EXCLUDED = {name for names in ROUTER_EXCLUDED.values() for name in names.split()}
_COVERED = {target.path for family in FAMILIES for target in targets(family)}


def _is_request(function: Any) -> bool:
    """Whether LiteLLM's ``@client`` is on ``function``, or under it: then it makes a request."""
    for candidate in (function, getattr(function, "__wrapped__", None)):
        code = getattr(candidate, "__code__", None)
        if code is not None and "original_function" in code.co_freevars:
            return True
    return False


@pytest.mark.parametrize("family", [pytest.param(family, id=f"{family.operation}-{family.reader}") for family in FAMILIES])
def test_each_family_has_a_function_in_this_version(family: Any) -> None:
    """Of each row at least the public functions are there, and all of them are functions."""
    found = []
    for target in targets(family):
        try:
            found.append(target.resolve()[2])
        except (ImportError, AttributeError):
            continue
    assert found
    assert all(inspect.isfunction(function) for function in found)


@pytest.mark.parametrize("target", [pytest.param(target, id=str(target)) for target in [
    *(target for target, _ in router.POINTS), *(point.target for point in hooks.POINTS)
]])  # fmt: skip
def test_router_and_hook_points_resolve(target: Any) -> None:
    """Each point of the Router's and the hooks' tables is there and can be called."""
    assert callable(target.resolve()[2])


def test_no_public_request_function_is_unknown() -> None:
    """Every function of ``litellm`` that makes a request is in the table, or excluded by name with its reason."""
    public = {name for name in dir(litellm) if _is_request(getattr(litellm, name))}
    assert len(public) > 100
    assert sorted(public - _COVERED - _EXCLUDED) == []


def test_no_public_router_method_is_unknown() -> None:
    """Every async method of a Router, its class's and its own, is covered or excluded by name with its reason."""
    own = litellm.Router(model_list=[])
    public = {
        name
        for name in {*dir(litellm.Router), *vars(own)}
        if not name.startswith("_") and inspect.iscoroutinefunction(getattr(own, name, None))
    }
    assert len(public) > 50
    assert sorted(public - _COVERED - _EXCLUDED - _ROUTER_EXCLUDED) == []

"""Calls that LiteLLM itself says are not to be recorded: those with its flag ``no-log``, and its health checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..contexts import attach, detach
from ..drivers import driver_for
from ..invocation import Owed
from ..patching import Target
from ..suppression import suppressed_context

if TYPE_CHECKING:
    from ..drivers import Begun
    from ..patching import Wrapper
    from .calls import Calls


class Silence:
    """In the place of an invocation: nothing of the call is recorded, nor of the calls that it makes."""

    owed: Owed | None = None

    def __enter__(self) -> Silence:
        self._context = suppressed_context()
        self._token = attach(self._context)
        return self

    def __exit__(self, *error: Any) -> None:
        detach(self._token, self._context)


def is_asked_for(request: Mapping[str, Any]) -> bool:
    """Whether ``request`` has LiteLLM's flag ``no-log``."""
    return request.get("no-log") is True


def begin() -> Begun:
    """What begins in the place of an invocation."""
    return Silence(), _same


def _same(result: Any) -> Any:
    return result


def _silenced(_calls: Calls, function: Callable[..., Any]) -> Wrapper:
    return driver_for(function, lambda args, kwargs: begin())


#: LiteLLM's health checks, which its Proxy runs in the background too: calls that nobody asked for.
POINTS: Final = tuple(
    (Target("litellm.main", name), _silenced) for name in ("ahealth_check", "ahealth_check_wildcard_models")
)

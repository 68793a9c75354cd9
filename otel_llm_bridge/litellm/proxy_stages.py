"""The stages of a request to the Proxy: who asks is known after one, and each may refuse.

Imports nothing of the Proxy; `proxy.install` puts the wrappers on.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..guard import guarded
from ..patching import Target
from ..request import Request, current
from . import access

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..patching import Wrapper

_UTILS: Final = "litellm.proxy.utils"

#: Fact -> attribute of LiteLLM's `UserAPIKeyAuth`. An allow-list: the object holds the key, too.
_CALLER: Final = {
    "key_alias": "key_alias",
    "team_id": "team_id",
    "team_alias": "team_alias",
    "user_id": "user_id",
    "organization_id": "org_id",
    "end_user": "end_user_id",
}


def _learn_caller(request: Request, auth: Any) -> None:
    request.learn(access.clean({fact: getattr(auth, name, None) for fact, name in _CALLER.items()}))


def _authenticated(request: Request, told: Mapping[str, Any]) -> None:
    _learn_caller(request, told.get("result"))


def _checked(request: Request, told: Mapping[str, Any]) -> None:
    data = told.get("data")
    tags = access.first(data, ("metadata.tags", "litellm_metadata.tags"))
    request.learn(access.clean({
        "model_group": access.get(data, "model"),
        "tags": [str(tag) for tag in tags] if isinstance(tags, (list, tuple)) else None,
    }))  # fmt: skip


def _failed(request: Request, told: Mapping[str, Any]) -> None:
    """``post_call_failure_hook``: it has the exception as it was, and whose key it is as far as that is known."""
    error, kind = told.get("original_exception"), told.get("error_type")
    _learn_caller(request, told.get("user_api_key_dict"))
    request.learn(access.clean({
        "model_group": access.get(told.get("request_data"), "model"),
        "error_type": type(error).__qualname__,
        "proxy_error": _word_of(error) or str(getattr(kind, "value", kind) or "") or None,
    }))  # fmt: skip


def _word_of(error: Any) -> str | None:
    """LiteLLM's own word for the kind of an error: ``type`` of a `ProxyException`; a free text is none."""
    kind = getattr(error, "type", None)
    word = getattr(kind, "value", kind)
    return word if isinstance(word, str) and word.isidentifier() and word != "None" else None


class Stage(NamedTuple):
    """One function in which the Proxy may refuse a request.

    Attributes:
        name: value of ``litellm.proxy.rejected_at``; ``None``: it does not refuse, it is told.
        see: learns from the arguments by name; after success also from ``result``.
    """

    target: Target
    name: str | None
    see: Callable[[Request, Mapping[str, Any]], None] | None


STAGES: Final = (
    Stage(Target("litellm.proxy.auth.user_api_key_auth", "user_api_key_auth"), "authentication", _authenticated),
    Stage(Target(_UTILS, "ProxyLogging.pre_call_hook"), "pre_call", _checked),
    Stage(Target(_UTILS, "ProxyLogging.during_call_hook"), "during_call", None),
    Stage(Target(_UTILS, "ProxyLogging.post_call_success_hook"), "post_call", None),
    Stage(Target(_UTILS, "ProxyLogging.post_call_failure_hook"), None, _failed),
)


def wrapper(stage: Stage, function: Callable[..., Any]) -> Wrapper:
    """Let the request that is served see what goes into ``function`` of ``stage``, and what comes out."""
    parameters = tuple(inspect.signature(function).parameters)

    def see(request: Request, args: tuple[Any, ...], kwargs: dict[str, Any], **more: Any) -> None:
        if stage.see is not None:
            with guarded(f"proxy: {stage.target}"):
                stage.see(request, {**dict(zip(parameters, args, strict=False)), **kwargs, **more})

    async def watch(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        request = current()
        if request is None:
            return await wrapped(*args, **kwargs)
        see(request, args, kwargs)
        try:
            result = await wrapped(*args, **kwargs)
        except Exception as error:
            if stage.name is not None:
                with guarded(f"proxy: {stage.target}"):
                    request.learn({"proxy_error": _word_of(error)})
                    request.reject(stage.name, error)
            raise
        see(request, args, kwargs, result=result)
        return result

    return watch

"""Apply and remove wrappers in place: whoever holds the function, under whatever name, gets the wrapper.

Setting an attribute on a module misses every name that was bound before (``from litellm import
acompletion``, a ``functools.partial``, a default argument, the library's own callers). So a plain Python
function keeps its identity and is given other code: a trampoline that calls a `wrapt.FunctionWrapper`
around a copy of the original. What is not a plain function (built in, compiled) is replaced as an
attribute, by wrapt.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import wrapt

from .guard import fault, logger

#: ``(wrapped, instance, args, kwargs) -> result``, as wrapt calls it. A wrapper of a coroutine function is one.
Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
#: The way back from one thing that was done: takes a wrapper off, switches off what was switched on.
Undo = Callable[[], None]

_PLACEHOLDER: Final = "otel_llm_bridge wrapper goes here"
#: What tracebacks call the one frame that we add to a wrapped function.
_TRAMPOLINE: Final = "<otel_llm_bridge>"
_ASYNC: Final = {True: ("async ", "await "), False: ("", "")}


class Target(NamedTuple):
    """Where a function is found: a module, and the dotted path of an attribute in it.

    Attributes:
        module: its name; of one that was renamed, all of its names, the newest first, with ``|`` between them. The first
            that is there is taken: the library may warn of the others.
        path: of the attribute.
    """

    module: str
    path: str

    def resolve(self) -> tuple[Any, str, Any]:
        """``(owner, attribute name, function)``.

        Raises:
            ImportError, AttributeError: it is not there in this version.
        """
        owner: Any = self._module()
        *parents, name = self.path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        return owner, name, getattr(owner, name)

    def _module(self) -> types.ModuleType:
        missing = ImportError(self.module)
        for module in self.module.split("|"):
            try:
                return sys.modules.get(module) or importlib.import_module(module)
            except ImportError as error:
                missing = error
        raise missing

    def __str__(self) -> str:
        return f"{self.module}.{self.path}"


def apply(target: Target, make_wrapper: Callable[[Callable[..., Any]], Wrapper]) -> Undo | None:
    """Wrap the function at ``target``; ``None`` when that very function is wrapped already.

    Args:
        target: where the function is.
        make_wrapper: is given the function as it was and returns its wrapper.

    Returns:
        What takes the wrapper off again.

    Raises:
        ImportError, AttributeError: the target is not there.
    """
    owner, name, function = target.resolve()
    plain = getattr(function, "__func__", function)
    if isinstance(plain, types.FunctionType):
        return None if _is_trampoline(plain) else _swap_code(plain, make_wrapper)
    if isinstance(function, wrapt.FunctionWrapper):
        return None
    setattr(owner, name, wrapt.FunctionWrapper(function, make_wrapper(function)))
    return lambda: setattr(owner, name, function)


def apply_all(points: Iterable[tuple[Target, Callable[[Callable[..., Any]], Wrapper]]]) -> list[Undo]:
    """`apply` for each point that this version of the library has; the way back, for `restore`."""
    undos: list[Undo] = []
    for target, make_wrapper in points:
        try:
            undo = apply(target, make_wrapper)
        except (ImportError, AttributeError):
            logger.debug("%s is not in this version of the library", target)
            continue
        except Exception as error:  # its module cannot be imported, or the program has made errors of warnings
            fault(str(target), error)
            continue
        if undo is not None:
            undos.append(undo)
    return undos


def is_patched(function: Any) -> bool:
    """Whether ``function``, however it was reached, runs one of our wrappers."""
    function = getattr(function, "__func__", function)
    return isinstance(function, types.FunctionType) and _is_trampoline(function)


def _is_trampoline(function: types.FunctionType) -> bool:
    return function.__code__.co_filename == _TRAMPOLINE


def _swap_code(function: types.FunctionType, make_wrapper: Callable[[Callable[..., Any]], Wrapper]) -> Undo:
    original = function.__code__
    copy = types.FunctionType(original, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__dict__.update(function.__dict__)
    # The signature must go on being told: through __wrapped__ where the function has one, else spelled out.
    spelled_out = not hasattr(function, "__wrapped__") and not hasattr(function, "__signature__")
    if spelled_out:
        signature = inspect.signature(function)
        copy.__signature__ = function.__signature__ = signature  # type: ignore[attr-defined]
    function.__code__ = _trampoline(original, wrapt.FunctionWrapper(copy, make_wrapper(copy)))

    def restore() -> None:
        function.__code__ = original
        if spelled_out:
            del function.__signature__  # type: ignore[attr-defined]

    return restore


def _trampoline(original: types.CodeType, wrapper: Callable[..., Any]) -> types.CodeType:
    """Code that calls ``wrapper`` and fits a function with the free variables of ``original``.

    The wrapper travels as a constant: the function's globals are not ours to write to. ``if 0`` keeps
    the free variables in the code without an instruction for them.
    """
    free = original.co_freevars
    prefix, wait = _ASYNC[bool(original.co_flags & inspect.CO_COROUTINE)]
    source = (
        f"def enclosing({', '.join(free)}):\n"
        f"    {prefix}def {original.co_name if original.co_name.isidentifier() else 'trampoline'}(*args, **kwargs):\n"
        f"        if 0: ({', '.join(free)})\n"
        f"        wrapper = {_PLACEHOLDER!r}\n"
        f"        return {wait}wrapper(*args, **kwargs)\n"
    )
    enclosing = compile(source, _TRAMPOLINE, "exec").co_consts[0]
    code = next(const for const in enclosing.co_consts if isinstance(const, types.CodeType))
    constants = tuple(wrapper if const == _PLACEHOLDER else const for const in code.co_consts)
    return code.replace(co_consts=constants)


def restore(undos: Iterable[Undo]) -> None:
    """Go all the way back: what was done last is undone first."""
    for undo in reversed(list(undos)):
        undo()

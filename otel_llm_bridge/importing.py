"""Run something right after the import of a module: one that comes later, or one whose import has begun.

wrapt has import hooks too. But to import wrapt takes several times as long as to instrument, for it brings `asyncio`, and
it would run a hook in the middle of an import that has begun: what is not there yet cannot be patched, and who imports a
part of a package that another thread is importing breaks that import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any, Final

_Then = Callable[[], None]

#: Module -> what waits for it.
_thens: Final[dict[str, list[_Then]]] = {}


def when_imported(module: str, then: _Then) -> None:
    """Run ``then`` now if ``module`` is loaded, else right after its import, in the thread that imports it.

    Imports nothing itself.
    """
    if _is_loaded(module):
        then()
        return
    _thens.setdefault(module, []).append(then)
    begun = sys.modules.get(module)
    if begun is not None:
        begun.__spec__.__class__ = _Telling
    elif _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if _is_loaded(module):  # by another thread, since we asked
        _over(module)


def _is_loaded(module: str) -> bool:
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return module in sys.modules and not (isinstance(spec, ModuleSpec) and getattr(spec, "_initializing", False))


def _over(module: str) -> None:
    """The import of ``module`` is over, whether it is loaded or has failed: then the next one is waited for."""
    for then in _thens.pop(module, ()):
        when_imported(module, then)


class _Telling(ModuleSpec):
    """The spec of a module that somebody waits for, until its import is over.

    The import system sets ``_initializing`` to false as the last thing it does for a module, loaded or failed.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            self.__class__ = ModuleSpec  # type: ignore[assignment]
            _over(self.name)


class _Finder:
    """Finds what the finders after it find, and has the specs of modules that are waited for tell."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As the import system asks for it, which holds a lock meanwhile: nothing may be imported here."""
        if name not in _thens:
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if type(spec) is ModuleSpec:
            spec.__class__ = _Telling
        return spec


_finder: Final = _Finder()

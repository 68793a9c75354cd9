"""Before a platform freezes the process: what is in the background comes to its end, as at the end of the process.

But nothing is given up: what is not over in time goes on when the process does.
"""

from __future__ import annotations

from typing import Final

from ..guard import guarded
from .lifetime import SHARE, Deadline, Hook, Stage

_hooks: Final[dict[str, tuple[Stage, Hook]]] = {}


def before_freeze(stage: Stage, name: str, hook: Hook) -> None:
    """Run ``hook`` when the process is about to be frozen, in the order of the stages of its end.

    The same name replaces the earlier hook. It must keep to its deadline: it runs in the thread that asks for it.
    """
    _hooks[name] = (stage, hook)


def remove(name: str) -> None:
    """Forget the hook of that name; nothing happens when there is none."""
    _hooks.pop(name, None)


def finish(timeout: float) -> None:
    """Run the hooks. Each stage has the part of ``timeout`` seconds that it has at the end of the process."""
    deadline = Deadline(timeout)
    for name, (stage, hook) in sorted(_hooks.items(), key=lambda one: one[1][0]):
        with guarded(f"before a freeze: {name}"):
            hook(Deadline(max(0.0, deadline.remaining() - timeout * (1 - SHARE[stage]))))

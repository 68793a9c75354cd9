"""Which callbacks there are: registered once, bounded loudly, and gone when they are removed or their owner dies."""

from __future__ import annotations

import contextvars
import itertools
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..guard import logger
from ..locks import rlock
from .identity import GIVEN, OBJECT, key_of
from .points import Bound, UnknownPoint, bind, expand, is_logger, name_of, points_of

MODES: Final = ("inline", "tracked", "background")

#: Turns the name of an integration into its logger object. Set by what knows that library.
Resolver = Callable[[str], Any]

_FIGURES: Final = ("accepted", "completed", "failed", "timed_out", "pending")
_serial: Final = itertools.count()


class CallbackLimitReached(RuntimeError):
    """One callback more than the setting ``callbacks_max`` allows; names the one that was refused."""


class Counts:
    """What has become of the runs of one callback: ``accepted`` is the sum of all the others."""

    __slots__ = ("accepted", "completed", "dropped", "failed", "pending", "timed_out")

    def __init__(self) -> None:
        self.accepted = self.completed = self.failed = self.timed_out = self.pending = 0
        self.dropped: dict[str, int] = {}

    def add(self, other: Counts) -> None:
        """Add the figures of ``other`` to these."""
        for name in _FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return {name: getattr(self, name) for name in _FIGURES} | {"dropped": dict(self.dropped)}


class Registration:
    """One callback that is registered. `remove` ends it.

    Attributes:
        name: what messages and figures call it.
        points: the lifecycle points it is called at.
        mode: how it is run, one of `MODES`.
        timeout: seconds that one run may take, or ``None`` for the setting ``callbacks_timeout``.
        on_error: what happens to an error beyond counting and logging it once: ``None``, ``"raise"`` (inline
            only: the caller gets it), or a function ``(error, event)``.
        counts: what has become of its runs.
    """

    def __init__(
        self, registry: Registry | None, callback: Any, points: tuple[str, ...], mode: str, key: Any, owner: Any,
        timeout: float | None, on_error: Any,
    ) -> None:  # fmt: skip
        self._registry = registry
        self.points = points
        self.mode = mode
        self.key = key
        self.timeout = timeout
        self.on_error = on_error
        self.counts = Counts()
        self.failures_in_a_row = 0
        self.number = next(_serial)
        self._owner = _weak(owner, self) if owner is not None else None
        self.replace(callback)

    def replace(self, callback: Any) -> None:
        """Call ``callback`` from now on, instead of the one until now."""
        self.name = name_of(callback)
        owner = self.owner
        if owner is not None and getattr(callback, "__self__", None) is owner:
            # A bound method keeps its object alive, so that we hold neither of the two.
            self._callback: Callable[[], Any] = weakref.WeakMethod(callback)
        else:
            self._callback = lambda: callback
        self._bound: dict[str, Bound] = {}
        if not isinstance(callback, str):
            bound = {point: bind(callback, point) for point in self.points}
            # A weak callback is bound anew for each run: a binding would keep its object alive.
            self._bound = {} if isinstance(self._callback, weakref.WeakMethod) else bound

    @property
    def callback(self) -> Any:
        """The callback itself; ``None`` once its owner is gone."""
        return self._callback()

    @property
    def owner(self) -> Any:
        """The object that it was registered for, while that lives."""
        return self._owner() if self._owner is not None else None

    def bound_at(self, point: str) -> Bound | None:
        """How to call it at ``point``; ``None`` once its owner is gone.

        Raises:
            LookupError: it is the name of an integration that there is not.
        """
        found = self._bound.get(point)
        if found is not None:
            return found
        callback = self._callback()
        if isinstance(callback, str):
            found = self._bound[point] = bind(self._resolve(callback), point)
            return found
        return None if callback is None else bind(callback, point)

    def _resolve(self, name: str) -> Any:
        resolver = self._registry.resolver if self._registry is not None else None
        logger_object = resolver(name) if resolver is not None else None
        if logger_object is None:
            raise LookupError(f"no integration is called {name!r}")
        return logger_object

    def remove(self) -> None:
        """Call it no more; runs that were accepted before are still completed. Calling it again changes nothing."""
        if self._registry is not None:
            self._registry.discard(self)

    def __repr__(self) -> str:
        return f"<callback {self.name} on {', '.join(self.points)}, {self.mode}>"


class Registry:
    """The callbacks, indexed by lifecycle point. Safe to use from any thread."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.resolver: Resolver | None = None
        #: Told of each registration that has been removed.
        self.removed: Callable[[Registration], None] = lambda _registration: None
        # Re-entrant: an owner may be collected, and its callback with it, in the middle of anything here.
        self._lock = rlock()
        self._by_key: dict[Any, Registration] = {}
        #: The callbacks at each point that has any, in the order in which they were registered. Replaced, never changed: who
        #: reads it needs no lock.
        self.by_point: dict[str, tuple[Registration, ...]] = {}
        self._scoped: contextvars.ContextVar[tuple[Registration, ...]] = contextvars.ContextVar("scoped callbacks", default=())

    def at(self, point: str) -> tuple[Registration, ...]:
        """The callbacks at ``point``, in the order in which they were registered."""
        return self.by_point.get(point, ())

    def scoped(self) -> tuple[Registration, ...]:
        """The callbacks of the running context only, at any point."""
        return self._scoped.get()

    def all(self) -> tuple[Registration, ...]:
        """All of them, in the order in which they were registered."""
        with self._lock:
            return tuple(self._by_key.values())

    def register(
        self, callback: Any, *, on: str | Iterable[str] | None = None, mode: str = "inline", key: Any = None,
        owner: Any = None, timeout: float | None = None, on_error: Any = None,
    ) -> Registration:  # fmt: skip
        """See `otel_llm_bridge.callbacks.register`."""
        made = self.make(callback, on=on, mode=mode, key=key, owner=owner, timeout=timeout, on_error=on_error)
        with self._lock:
            known = self._by_key.get(made.key)
            if known is not None:
                self._merge(known, made, callback)
                return known
            if len(self._by_key) >= self.limit:
                raise CallbackLimitReached(
                    f"callback {made.name} is refused: {self.limit} callbacks are registered already (setting callbacks_max)"
                )
            self._by_key[made.key] = made
            self._index()
        return made

    def make(
        self, callback: Any, *, on: str | Iterable[str] | None = None, mode: str = "inline", key: Any = None,
        owner: Any = None, timeout: float | None = None, on_error: Any = None,
    ) -> Registration:  # fmt: skip
        """A registration that is checked, and not yet in force."""
        if mode not in MODES:
            raise ValueError(f"mode {mode!r}: there are {', '.join(MODES)}")
        if on_error == "raise" and mode != "inline":
            raise ValueError("on_error='raise' needs mode='inline': nobody waits for the other modes")
        if not (on_error in (None, "raise") or callable(on_error)):
            raise ValueError("on_error is None, 'raise' or a function (error, event)")
        if on is None and not isinstance(callback, str) and is_logger(callback):
            points = points_of(callback)
            if not points:
                raise UnknownPoint(f"{name_of(callback)} has none of LiteLLM's hook methods")
        else:
            default = "both" if isinstance(callback, str) else "success"
            points = expand(default if on is None else on)
        return Registration(self, callback, points, mode, key_of(callback, key), owner, timeout, on_error)

    def _merge(self, known: Registration, made: Registration, callback: Any) -> None:
        """The same callback again: one registration, at the points of both; a newer object takes the older one's place."""
        old = known.callback
        known.points = expand(known.points + made.points)
        known.mode, known.timeout, known.on_error, known._owner = made.mode, made.timeout, made.on_error, made._owner
        if old is not callback and old is not None and known.key[0] == OBJECT and type(old) is type(callback):
            logger.warning(
                "callback %s takes the place of another one of the same class and configuration; "
                "register it with a key of its own if both are to be called",
                made.name,
            )
        known.replace(callback)
        self._index()

    def _index(self) -> None:
        by_point: dict[str, list[Registration]] = {}
        for registration in self._by_key.values():
            for point in registration.points:
                by_point.setdefault(point, []).append(registration)
        self.by_point = {point: tuple(registrations) for point, registrations in by_point.items()}

    def has(self, registration: Registration) -> bool:
        """Whether ``registration`` is in."""
        return self._by_key.get(registration.key) is registration

    def discard(self, registration: Registration) -> bool:
        """Take ``registration`` out; whether it was in."""
        with self._lock:
            if not self.has(registration):
                return False
            del self._by_key[registration.key]
            self._index()
        self.removed(registration)
        return True

    def remove(self, callback: Any = None, *, owner: Any = None, type: type | None = None, key: Any = None) -> int:
        """See `otel_llm_bridge.callbacks.remove`."""
        with self._lock:
            return sum(self.discard(one) for one in self.all() if _matches(one, callback, owner, type, key))

    def clear(self) -> None:
        """Take all of them out."""
        with self._lock:
            registrations = self.all()
            self._by_key.clear()
            self._index()
        for registration in registrations:
            self.removed(registration)

    def enter_scope(self, registration: Registration) -> contextvars.Token[tuple[Registration, ...]]:
        """Have ``registration`` called for calls that begin in the running context."""
        return self._scoped.set((*self._scoped.get(), registration))

    def leave_scope(self, token: contextvars.Token[tuple[Registration, ...]]) -> None:
        """The end of what `enter_scope` began."""
        self._scoped.reset(token)


def _weak(owner: Any, registration: Registration) -> Any:
    me = weakref.ref(registration)

    def gone(_owner: Any) -> None:
        it = me()
        if it is not None:
            it.remove()

    try:
        return weakref.ref(owner, gone)
    except TypeError:
        raise TypeError(f"{type(owner).__qualname__} cannot be an owner: there are no weak references to it") from None


def _matches(registration: Registration, callback: Any, owner: Any, of_type: type | None, key: Any) -> bool:
    registered = registration.callback
    return (
        (callback is not None and (registered is callback or (isinstance(callback, (str, types.MethodType)) and registered == callback)))
        or (owner is not None and (registration.owner is owner or getattr(registered, "__self__", None) is owner))
        or (of_type is not None and isinstance(registered, of_type))
        or (key is not None and registration.key == (GIVEN, key))
    )

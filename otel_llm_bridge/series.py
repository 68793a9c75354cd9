"""Few series of each metric, whatever the traffic."""

from __future__ import annotations

from .guard import logger
from .locks import lock
from .semconv import metrics as names
from .semconv.metrics import Label


class Series:
    """The label sets of one metric: never more than ``most``, whatever the callers send.

    The first come keep their names. When three quarters of the places are taken, the names that users
    choose (models, groups, deployments, callbacks) become ``other`` in what is new; the last quarter is
    for what is left to tell apart then: operations, providers, errors.
    """

    def __init__(self, metric: str, labels: tuple[Label, ...], most: int) -> None:
        self._metric = metric
        self._attributes = tuple(label.attribute for label in labels)
        self._is_name = tuple(label.is_name for label in labels)
        self._most = most
        self._known: dict[tuple[str | None, ...], dict[str, str]] = {}
        self._told = False
        self._lock = lock()

    def attributes(self, values: tuple[str | None, ...]) -> dict[str, str]:
        """The attributes to record under, for the labels' values in order; ``None`` is left out."""
        return self._known.get(values) or self._admit(values)

    def _admit(self, values: tuple[str | None, ...]) -> dict[str, str]:
        without_names = tuple(
            names.OTHER if is_name and value is not None else value
            for is_name, value in zip(self._is_name, values, strict=True)
        )
        steps = (
            (values, self._most - self._most // 4),
            (without_names, self._most - 1),
            ((names.OTHER,) * len(values), self._most),
        )
        with self._lock:
            for step, room in steps:
                if step not in self._known and len(self._known) < room:
                    self._known[step] = {
                        attribute: value
                        for attribute, value in zip(self._attributes, step, strict=True)
                        if value is not None
                    }
                if step in self._known:
                    self._tell(values, step)
                    return self._known[step]
        raise AssertionError("there is always room for the last step")  # pragma: no cover

    def _tell(self, values: tuple[str | None, ...], instead: tuple[str | None, ...]) -> None:
        if instead != values and not self._told:
            self._told = True
            logger.warning(
                "metric %s has %d series: from now on new names are counted as %r. "
                "The setting metrics_series_max allows more.",
                self._metric, len(self._known), names.OTHER,
            )  # fmt: skip

"""A replay of `ReduceLROnPlateau` on the metric values that the scheduler was given."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lrtrack.schedules import Schedule


class Plateau:
    """Makes the same decisions as torch's class, following its documentation.

    Attributes:
        calls: how many values were given.
        better: calls whose value was better than all earlier ones, not counting the first.
        cuts: how often the scheduler reduces the learning rate.
    """

    def __init__(self, mode: str, patience: int, threshold: float, relative: bool, cooldown: int):
        self.mode = mode
        self.patience = patience
        self._sign = -1.0 if mode == "max" else 1.0
        self._threshold = threshold
        self._relative = relative
        self._cooldown = cooldown
        self.calls = self.better = self.cuts = 0
        self._best = math.inf * self._sign
        self._bad = self._cooling = 0

    @classmethod
    def of(cls, schedule: Schedule) -> Plateau | None:
        """Build one from the parameters of `schedule`; None if it is no `ReduceLROnPlateau`."""
        params = schedule.params
        if schedule.name != "ReduceLROnPlateau":
            return None
        try:
            return cls(
                str(params.get("mode", "min")),
                int(params.get("patience", 10)),
                float(params.get("threshold", 1e-4)),
                params.get("threshold_mode", "rel") == "rel",
                int(params.get("cooldown", 0)),
            )
        except (TypeError, ValueError):  # the stored parameters were edited by hand
            return None

    def add(self, values: Iterable[float]) -> None:
        """Add values in order."""
        for value in values:
            self._take(float(value))

    def _take(self, value: float) -> None:
        self.calls += 1
        if self._is_better(value):
            self._best, self._bad = value, 0
            self.better += self.calls > 1
        else:
            self._bad += 1
        if self._cooling > 0:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self.patience:
            self.cuts += 1
            self._cooling, self._bad = self._cooldown, 0

    def _is_better(self, value: float) -> bool:
        if self._relative:
            return self._sign * value < self._sign * self._best * (
                1.0 - self._sign * self._threshold
            )
        return self._sign * value < self._sign * self._best - self._threshold

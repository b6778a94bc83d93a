"""A replay of `ReduceLROnPlateau` on the metric values that the scheduler was given."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lrtrack.schedules import Schedule


class Plateau:
    """Makes the same decisions as torch's class, following its documentation.

    Attributes:
        calls: how many values were given.
        better: calls whose value was better than all earlier ones, not counting the first.
        cuts: how often the scheduler decides to reduce the learning rate; it does not where the
            change is under its `eps`, or the rate is at its `min_lr`.
        judged: how many of the cuts are followed by a record of the rate; `done`: after how many of
            them the rate was lower.
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
        self.judged = self.done = 0
        self._waits = False
        self._bests: list[float] = []

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

    def follow(
        self, values: NDArray[np.float64], given: NDArray[np.bool_], fallen: NDArray[np.float64]
    ) -> None:
        """Add values in order, and see what the cuts do to the learning rate.

        Args:
            values: shape (n,); `given`: where there is one.
            fallen: 1 where the rate is lower than before, 0 where it is not, NaN where it is not
                recorded, shape (n,). A record's rate is from before its value was given.
        """
        recorded = np.flatnonzero(~np.isnan(fallen))
        since = -1
        for row in (*np.flatnonzero(given).tolist(), values.size):
            at = int(np.searchsorted(recorded, since, side="right"))
            if self._waits and at < recorded.size and recorded[at] <= row:
                self._waits = False
                self.judged += 1
                self.done += bool(fallen[recorded[at]])
            if row < values.size and self._take(float(values[row])):
                self._waits, since = True, row

    @property
    def progress(self) -> tuple[int, float]:
        """A call in the first half, and by which share of its value the best has improved since."""
        if self.calls < 2:
            return self.calls, math.nan
        power = (self.calls // 2).bit_length() - 1
        before = self._bests[power]
        return 1 << power, abs(self._best - before) / abs(before) if before else math.nan

    def _take(self, value: float) -> bool:
        """Add a value; returns whether the scheduler decides to reduce the rate."""
        self.calls += 1
        if self._is_better(value):
            self._best, self._bad = value, 0
            self.better += self.calls > 1
        else:
            self._bad += 1
        if not self.calls & (self.calls - 1):  # a power of two
            self._bests.append(self._best)
        if self._cooling > 0:
            self._cooling -= 1
            self._bad = 0
        if self._bad <= self.patience:
            return False
        self.cuts += 1
        self._cooling, self._bad = self._cooldown, 0
        return True

    def _is_better(self, value: float) -> bool:
        if self._relative:
            return self._sign * value < self._sign * self._best * (
                1.0 - self._sign * self._threshold
            )
        return self._sign * value < self._sign * self._best - self._threshold

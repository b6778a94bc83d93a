"""The learning rates of one optimizer, collected in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Above so many rates, only those of every second, fourth, … step are kept.
_MOST = 400_000


def repeated(rates: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rates, shape (n,), stand between two equal ones."""
    between = np.zeros(rates.size, dtype=bool)
    between[1:-1] = (rates[1:-1] == rates[:-2]) & (rates[1:-1] == rates[2:])
    return between


class RateCurve:
    """Learning rates with their steps.

    A rate between two equal ones is left out if the steps of the three are evenly spaced, so that
    `with_held()` can put it back. Of very many rates only a part is kept.
    """

    def __init__(self) -> None:
        self._steps: list[NDArray[np.int64]] = []
        self._rates: list[NDArray[np.float64]] = []
        self._spacings: list[NDArray[np.int64]] = []
        self._size = 0
        self._stride = 1

    def add(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> None:
        """Add rates, whose steps may be made again after a return to an earlier one."""
        spacings = np.zeros(steps.size, np.int64)  # to the next record; unknown after the last one
        spacings[:-1] = np.diff(steps)
        left_out = repeated(rates)
        left_out[1:] &= spacings[1:] == spacings[:-1]
        kept = (steps % self._stride == 0) & ~left_out
        self._steps.append(steps[kept])
        self._rates.append(np.asarray(rates, dtype=np.float64)[kept])
        self._spacings.append(spacings[kept])
        self._size += int(kept.sum())
        if self._size > _MOST:
            self._stride *= 2
            all_steps, all_rates, all_spacings = self._rows()
            kept = all_steps % self._stride == 0
            self._steps, self._rates = [all_steps[kept]], [all_rates[kept]]
            self._spacings = [all_spacings[kept]]
            self._size = int(kept.sum())

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps, ascending, and rates, each of shape (n,), without those of abandoned steps."""
        steps, rates, _ = self._rows()
        return steps, rates

    def with_held(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The same with the rates that were left out between equal ones.

        Args:
            most: how many are put back, the earliest first.
        """
        steps, rates, spacings = self._rows()
        if self._stride > 1 or steps.size < 2:  # what is missing was not all between equal rates
            return steps, rates
        missing = np.zeros(steps.size, np.int64)
        is_held = (rates[1:] == rates[:-1]) & (spacings[:-1] > 0)
        distances = np.diff(steps)
        missing[:-1][is_held] = (distances[is_held] - 1) // spacings[:-1][is_held]
        missing -= np.clip(np.cumsum(missing) - most, 0, missing)
        ends = np.cumsum(missing + 1)
        places = np.arange(ends[-1])
        sources = np.searchsorted(ends, places, side="right")
        after = places - (ends - missing - 1)[sources]
        return steps[sources] + after * spacings[sources], rates[sources]

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Steps and rates that were kept, and the distance from each to the next record."""
        if not self._steps:
            return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
        steps, rates = np.concatenate(self._steps), np.concatenate(self._rates)
        later = np.minimum.accumulate(steps[::-1])[::-1]
        surviving = np.append(steps[:-1] < later[1:], True)
        return steps[surviving], rates[surviving], np.concatenate(self._spacings)[surviving]

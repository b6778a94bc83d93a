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

    A rate between two equal ones is left out, and of very many rates only a part is kept.
    """

    def __init__(self) -> None:
        self._steps: list[NDArray[np.int64]] = []
        self._rates: list[NDArray[np.float64]] = []
        self._size = 0
        self._stride = 1

    def add(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> None:
        """Add rates, whose steps may be made again after a return to an earlier one."""
        kept = steps % self._stride == 0
        kept &= ~repeated(rates)
        self._steps.append(steps[kept])
        self._rates.append(np.asarray(rates, dtype=np.float64)[kept])
        self._size += int(kept.sum())
        if self._size > _MOST:
            self._stride *= 2
            all_steps, all_rates = self.arrays()
            kept = all_steps % self._stride == 0
            self._steps, self._rates = [all_steps[kept]], [all_rates[kept]]
            self._size = int(kept.sum())

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps, ascending, and rates, each of shape (n,), without those of abandoned steps."""
        if not self._steps:
            return np.empty(0, np.int64), np.empty(0)
        steps, rates = np.concatenate(self._steps), np.concatenate(self._rates)
        later = np.minimum.accumulate(steps[::-1])[::-1]
        surviving = np.append(steps[:-1] < later[1:], True)
        return steps[surviving], rates[surviving]

"""The course of one metric over a whole run, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: First values that are kept one by one, and the most stretches that stand for all of them.
OPENING, STRETCHES = 64, 128
#: Values beyond this are counted as this, so that their squares stay finite.
_MOST = 1e100


@dataclass(frozen=True)
class Stretches:
    """A run in stretches of equal length, in step order; all arrays have the shape (stretches,).

    Attributes:
        means: of the values of each stretch.
        spread: the standard deviation of the values around the mean of their stretch.
        lows: the smallest value of each stretch.
    """

    means: Floats
    spread: Floats
    lows: Floats

    def levels(self, parts: int) -> Floats:
        """The median of the stretches' means in each of `parts` successive parts of the run."""
        return np.array([np.median(part) for part in np.array_split(self.means, parts)])


class Course:
    """A metric's finite values, as the first ones and as means of at most `STRETCHES` stretches.

    Attributes:
        count: how many values there are.
        first: the first up to `OPENING` of them, in step order.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: Floats = np.empty(0)
        self._length = 1
        self._sums, self._squares = np.zeros(STRETCHES), np.zeros(STRETCHES)
        self._lows = np.full(STRETCHES, np.inf)

    def add(self, values: Floats) -> None:
        """Add values in step order; those that are not finite are left out."""
        values = np.clip(values[np.isfinite(values)], -_MOST, _MOST)
        if not values.size:
            return
        if self.first.size < OPENING:
            self.first = np.concatenate((self.first, values[: OPENING - self.first.size]))
        while self.count + values.size > STRETCHES * self._length:
            self._halve()
        stretch = (self.count + np.arange(values.size)) // self._length
        moved = values - self.first[0]  # squares of small changes keep their digits
        self._sums += np.bincount(stretch, weights=moved, minlength=STRETCHES)
        self._squares += np.bincount(stretch, weights=moved**2, minlength=STRETCHES)
        np.minimum.at(self._lows, stretch, values)
        self.count += values.size

    def _halve(self) -> None:
        """Join pairs of stretches into one."""
        for array, join in ((self._sums, np.add), (self._squares, np.add), (self._lows, np.fmin)):
            halves = join(array[::2], array[1::2])
            array[:] = np.inf if array is self._lows else 0.0
            array[: halves.size] = halves
        self._length *= 2

    def stretches(self) -> Stretches:
        """The stretches so far, without the last one if it has just begun."""
        whole, rest = divmod(self.count, self._length)
        used = whole + (2 * rest >= self._length and rest > 0)
        sizes = np.full(used, float(self._length))
        if used > whole:
            sizes[-1] = rest
        first = self.first[0] if self.count else 0.0
        means = self._sums[:used] / sizes
        variances = np.maximum(self._squares[:used] / sizes - means**2, 0.0)
        return Stretches(first + means, np.sqrt(variances), self._lows[:used])

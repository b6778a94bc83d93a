"""A metric over the steps of a training, in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrtrack.reports.live import Points

Floats = NDArray[np.float64]

#: The most points of a series: more than a terminal can show.
MOST = 2048


class Series:
    """Means of a growing number of values, so that there are never more than `MOST` points."""

    def __init__(self) -> None:
        self._steps: Floats = np.empty(0)
        self._values: Floats = np.empty(0)
        self._width = 1
        self._rest: Points = np.empty(0), np.empty(0)

    def add(self, steps: Floats, values: Floats) -> None:
        """Add values, shape (n,), in the order of their steps; NaN counts as a gap."""
        steps, values = (
            np.concatenate(pair) for pair in zip(self._rest, (steps, values), strict=True)
        )
        whole = steps.size - steps.size % self._width
        self._rest = steps[whole:], values[whole:]
        self._steps = np.concatenate((self._steps, _means(steps[:whole], self._width)))
        self._values = np.concatenate((self._values, _means(values[:whole], self._width)))
        while self._steps.size > MOST:
            self._halve()

    def rewind(self, step: int) -> None:
        """Remove what was added for `step` and later ones."""
        kept = self._steps < step
        self._steps, self._values = self._steps[kept], self._values[kept]
        kept = self._rest[0] < step
        self._rest = self._rest[0][kept], self._rest[1][kept]

    def points(self) -> Points:
        """All points, the last of which may be of fewer values than the others."""
        steps, values = self._rest
        if not steps.size:
            return self._steps, self._values
        last = _means(steps, steps.size), _means(values, values.size)
        return np.append(self._steps, last[0]), np.append(self._values, last[1])

    def _halve(self) -> None:
        whole = self._steps.size - self._steps.size % 2
        odd = self._steps[whole:], self._values[whole:]
        self._steps, self._values = _means(self._steps[:whole], 2), _means(self._values[:whole], 2)
        # An odd point goes back to the rest, as one value that stands for several.
        self._rest = np.append(odd[0], self._rest[0]), np.append(odd[1], self._rest[1])
        self._width *= 2


def _means(values: Floats, width: int) -> Floats:
    """Means of every `width` values, without NaN; NaN where all are."""
    if not values.size:
        return values
    parts = values.reshape(-1, width)
    known = np.isfinite(parts)
    count = known.sum(axis=1)
    total: Floats = np.where(known, parts, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)

"""The learning rate of each param group: whether it moved, and whether it has vanished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.diagnose import thresholds

Floats = NDArray[np.float64]


class GroupRates:
    """Follows the learning rates of the param groups; groups may be added at any time.

    Attributes:
        still: whether no group's rate has ever changed.
    """

    def __init__(self) -> None:
        self.still = True
        self._rows: dict[str, int] = {}
        self._first: Floats = np.empty(0)
        self._peaks: Floats = np.empty(0)
        self._latest: Floats = np.empty(0)
        self._idle: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, names: Sequence[str], rates: Floats) -> NDArray[np.bool_]:
        """Add learning rates.

        Args:
            names: of the groups, "" for one that is alone.
            rates: shape (groups, n), n > 0; NaN where a group is not there.

        Returns:
            At which records the rate of any group is lower than at the one before, shape (n,).
        """
        rows = self._rows_of(names)
        there = ~np.isnan(rates)
        first = self._first[rows]
        begins = np.argmax(there, axis=1)
        first = np.where(np.isnan(first), rates[np.arange(len(rows)), begins], first)
        self._first[rows] = first
        self.still = self.still and bool(((rates == first[:, None]) | ~there).all())
        joined = np.concatenate((self._peaks[rows][:, None], rates), axis=1)
        peaks = np.fmax.accumulate(joined, axis=1)[:, 1:]
        # A peak rises only at a rate that is itself far above zero, so that the peak so far tells
        # the same as the last one.
        above = rates > thresholds.NEAR_ZERO * peaks
        size = rates.shape[1]
        last = size - 1 - np.argmax(above[:, ::-1], axis=1)
        after = np.where(above.any(axis=1), last, -1)
        later = np.count_nonzero(there & (np.arange(size) > after[:, None]), axis=1)
        self._idle[rows] = np.where(after < 0, self._idle[rows], 0) + later
        self._peaks[rows] = peaks[:, -1]
        joined[:, 0] = self._latest[rows]
        self._latest[rows] = rates[:, -1]
        return np.asarray((rates < joined[:, :-1]).any(axis=0))

    def vanished(self) -> dict[str, tuple[int, float]]:
        """Groups whose rate has been almost 0 since some step, after it was higher.

        Returns:
            Name → the number of latest records with such a rate, and the group's peak.
        """
        return {
            name: (int(self._idle[row]), float(self._peaks[row]))
            for name, row in self._rows.items()
            if self._idle[row] and self._peaks[row] > 0.0
        }

    def rename(self, before: str, name: str) -> None:
        """Go on with a group under another name, if there is such a group."""
        if before in self._rows and name not in self._rows:
            self._rows[name] = self._rows.pop(before)

    def _rows_of(self, names: Sequence[str]) -> list[int]:
        for name in names:
            if name not in self._rows:
                self._rows[name] = self._peaks.size
                self._first = np.append(self._first, np.nan)
                self._peaks = np.append(self._peaks, np.nan)
                self._latest = np.append(self._latest, np.nan)
                self._idle = np.append(self._idle, 0)
        return [self._rows[name] for name in names]

"""The times between steps, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.diagnose.thresholds import LONG, REGULAR, TIMED_SECONDS, TIMED_STEPS

Floats = NDArray[np.float64]

#: Logarithmic bins for intervals from a microsecond to eleven days, 16 a factor of two.
_BINS, _PER_OCTAVE, _SHORTEST = 640, 16, 1e-6
#: The most long intervals that are kept one by one.
_MOST = 512


@dataclass(frozen=True)
class Stalls:
    """Long intervals that do not come at regular distances.

    Attributes:
        count: how many there are; `known`: intervals among which they were looked for.
        median: seconds of the usual interval; `slow`: that of the slowest hundredth.
        lost: seconds that the long ones took beyond the median; `seconds`: all intervals together.
    """

    count: int
    known: int
    median: float
    slow: float
    lost: float
    seconds: float


class StepIntervals:
    """Times between successive records, in bounded memory; a longer record gap counts per step."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._bins = np.zeros(_BINS, dtype=np.int64)
        self._count = 0
        self._seconds = 0.0
        self._long: list[tuple[int, float]] = []
        self._looked = 0

    def add(self, steps: NDArray[np.int64], times: Floats) -> None:
        """Add records.

        Args:
            steps: shape (n,), n > 0.
            times: seconds since the epoch, shape (n,).
        """
        if self._last is not None:
            steps = np.concatenate(([self._last[0]], steps))
            times = np.concatenate(([self._last[1]], times))
        self._last = int(steps[-1]), float(times[-1])
        apart = np.diff(steps).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            intervals = np.diff(times) / apart
        known = np.isfinite(intervals) & (apart > 0) & (intervals > 0.0)
        intervals, at = intervals[known], steps[1:][known]
        bins = np.log2(intervals / _SHORTEST) * _PER_OCTAVE
        self._bins += np.bincount(np.clip(bins, 0, _BINS - 1).astype(int), minlength=_BINS)
        self._count += intervals.size
        self._seconds += float(intervals.sum())
        if len(self._long) < _MOST:
            long = np.flatnonzero(intervals > LONG * self._quantile(0.5))[: _MOST - len(self._long)]
            self._long += [(int(at[row]), float(intervals[row])) for row in long]
            self._looked = self._count

    def _quantile(self, part: float) -> float:
        """Seconds below which a part of the intervals is; 0 without intervals."""
        if not self._count:
            return 0.0
        row = int(np.searchsorted(np.cumsum(self._bins), part * self._count))
        return float(_SHORTEST * 2.0 ** ((row + 0.5) / _PER_OCTAVE))

    def stalls(self) -> Stalls | None:
        """The long intervals; None before there is enough to judge them by."""
        if self._count < TIMED_STEPS or self._seconds < TIMED_SECONDS:
            return None
        median = self._quantile(0.5)
        # The median of the first steps may have been shorter, and these steps prepare much.
        long = [(step, length) for step, length in self._long if length > LONG * median][1:]
        irregular = ~_regular(np.array([step for step, _ in long], dtype=np.int64))
        lengths = np.array([length for _, length in long])[irregular]
        return Stalls(
            int(irregular.sum()),
            self._looked,
            median,
            self._quantile(0.99),
            float((lengths - median).sum()),
            self._seconds * self._looked / self._count,
        )


def _regular(steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which long intervals come at regular distances, as evaluations and checkpoints do.

    Those are at a distance to their neighbour that occurs in many of the others, or at a multiple
    of it from another regular one.
    """
    regular = np.zeros(steps.size, dtype=bool)
    if steps.size < 3:
        return regular
    gaps = np.diff(steps)
    values, often = np.unique(gaps, return_counts=True)
    most = int(often.argmax())
    period = int(values[most])
    if period < 2 or often[most] < max(2, REGULAR * gaps.size):
        return regular
    phases, counts = np.unique(steps % period, return_counts=True)
    phase = int(phases[counts.argmax()])
    distance = np.abs((steps - phase + period // 2) % period - period // 2)
    near: NDArray[np.bool_] = distance <= period // 20
    return near

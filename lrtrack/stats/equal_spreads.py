"""Whether the spreads of schedules are alike enough to be pooled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.stats.samples import Sample
from lrtrack.stats.scale import Scale, distance

#: The level of Bartlett's test, below which spreads plainly differ.
UNEQUAL = 0.05

Floats = NDArray[np.float64]


def resolution(samples: Sequence[Sample], scale: Scale, unit: float) -> Floats:
    """For each schedule the deviation, in units, that the last digit of its values alone has.

    Accuracies on few examples repeat: three equal ones do not show a spread of 0.
    """
    ended = [sample.ended for sample in samples]
    if scale == "linear":
        ended = [values / unit for values in ended]
    every = np.unique(np.concatenate(ended))
    gap = float(np.diff(every).min()) if every.size > 1 else 0.0
    sizes = np.full(len(ended), 1.0)
    if scale != "linear":
        sizes = np.array([unit * distance(v, scale).mean() if v.size else 1.0 for v in ended])
    return np.asarray(gap / sizes / math.sqrt(12.0))


def bartlett(residuals: Floats, group: NDArray[np.int64], df: float, least: Floats) -> float | None:
    """The p-value of equal spreads over groups, by Bartlett's test.

    Args:
        residuals: shape (n,), of all runs.
        group: shape (n,), the index of each run's group.
        df: the degrees of freedom of all residuals together.
        least: shape (k,), the smallest standard deviation that counts as one, per group.

    Returns:
        None where spreads cannot be told apart: fewer than 2 groups have 2 runs, or all are 0.
    """
    runs_beyond_one = np.maximum(np.bincount(group, minlength=least.size) - 1, 0)
    tested = runs_beyond_one > 0
    if tested.sum() < 2 or df < 1:
        return None
    own = runs_beyond_one[tested] * (df / runs_beyond_one.sum())
    squares = np.bincount(group, residuals**2, least.size)[tested]
    variances = np.maximum(squares / own, least[tested] ** 2)
    if not (variances > 0.0).all():
        return 0.0 if (variances > 0.0).any() else None
    pooled = float(own @ variances) / own.sum()
    statistic = float(own.sum() * math.log(pooled) - own @ np.log(variances))
    correction = 1.0 + ((1.0 / own).sum() - 1.0 / own.sum()) / (3.0 * (own.size - 1))
    return float(load("scipy.special").chdtrc(own.size - 1, max(0.0, statistic / correction)))

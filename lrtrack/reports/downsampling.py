"""Fewer points for charts, without losing what stands out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxDownsampler

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def extremes(values: Values, most: int) -> Indices:
    """Indices of points for a chart: the lowest and the highest of each of `most` / 2 stretches.

    The first and the last point are kept too, and where a gap (NaN) begins: a curve must not go
    on across it. So there may be a few more than `most`.
    """
    if values.size <= most:
        return np.arange(values.size)
    gaps = ~np.isfinite(values)
    starts = np.flatnonzero(gaps & ~np.concatenate(([True], gaps[:-1])))
    thin: Any = MinMaxDownsampler()
    found = thin.downsample(np.where(gaps, np.nan, values), n_out=most // 2 * 2)
    ends = (0, values.size - 1)
    return np.unique(np.concatenate([found.astype(np.int64), starts[:most], ends]))


def stretches(size: int, parts: int) -> Indices:
    """Where each of `parts` stretches of nearly one length begins; each has a point at least."""
    return np.unique(np.linspace(0, size, min(size, parts), endpoint=False).astype(np.int64))


def means(values: Values, starts: Indices) -> Values:
    """Mean of the finite values of each stretch, NaN where there is none; shape of `starts`."""
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def lowest(values: Values, starts: Indices) -> Values:
    """Lowest finite value of each stretch, NaN where there is none; shape of `starts`."""
    found = np.minimum.reduceat(np.where(np.isfinite(values), values, np.inf), starts)
    return np.where(np.isfinite(found), found, np.nan)


def highest(values: Values, starts: Indices) -> Values:
    """Highest finite value of each stretch, NaN where there is none; shape of `starts`."""
    return -lowest(-values, starts)

"""Reduces the points of a curve for charts, keeping peaks and gaps visible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxDownsampler

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def extremes(values: Values, most: int) -> Indices:
    """Indices of points for a chart: the lowest and the highest of each of `most` / 2 stretches.

    The first and the last point and the start of each gap (NaN) are kept too, so that no line is
    drawn across a gap. The result may therefore be slightly longer than `most`.
    """
    if values.size <= most:
        return np.arange(values.size)
    gaps = ~np.isfinite(values)
    starts = np.flatnonzero(gaps & ~np.concatenate(([True], gaps[:-1])))
    thin: Any = MinMaxDownsampler()
    indices = thin.downsample(np.where(gaps, np.nan, values), n_out=most // 2 * 2)
    ends = (0, values.size - 1)
    return np.unique(np.concatenate([indices.astype(np.int64), starts[:most], ends]))


def stretches(size: int, parts: int) -> Indices:
    """Start indices of `parts` stretches of nearly equal length, each with at least one point."""
    return np.unique(np.linspace(0, size, min(size, parts), endpoint=False).astype(np.int64))


def means(values: Values, starts: Indices) -> Values:
    """The mean of the finite values of each stretch, NaN if there is none; shape of `starts`."""
    finite = np.isfinite(values)
    sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
    counts = np.add.reduceat(finite.astype(np.float64), starts)
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def lowest(values: Values, starts: Indices) -> Values:
    """The lowest finite value of each stretch, NaN if there is none; shape of `starts`."""
    minima = np.minimum.reduceat(np.where(np.isfinite(values), values, np.inf), starts)
    return np.where(np.isfinite(minima), minima, np.nan)


def highest(values: Values, starts: Indices) -> Values:
    """The highest finite value of each stretch, NaN if there is none; shape of `starts`."""
    return -lowest(-values, starts)

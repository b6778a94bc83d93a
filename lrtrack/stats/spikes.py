"""Gradient spikes: norms far above those just before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A spike is more than `FACTOR` times the median of up to `WINDOW` norms before it. At least
#: `FEWEST` of them are required, because the first steps have too little to compare with.
FACTOR, WINDOW, FEWEST = 10.0, 101, 10  # an odd window has one middle
#: Windows whose medians are computed at once, which limits the memory to some megabytes.
_AT_ONCE = 8192


def spikes(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of `norms` exceed `FACTOR` times the median of up to `WINDOW` norms before them.

    An infinite norm is a spike. NaN is none, and medians ignore it. If the norms before are mostly
    0, nothing is a spike.

    Args:
        norms: shape (n,), in step order.

    Returns:
        Shape (n,).
    """
    return spike_ratios(norms) > 0.0


def spike_ratios(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ratio of each spike to its trailing median; 0 for norms that are no spikes.

    Args:
        norms: as in `spikes`.

    Returns:
        Shape (n,).
    """
    ratios = np.zeros(norms.shape)
    rows = np.flatnonzero(~np.isnan(norms))
    values = norms[rows]
    if values.size <= FEWEST:
        return ratios
    with np.errstate(over="ignore"):  # overflow to infinity is correct here
        # A median is at least the minimum of its window, which is much faster to compute.
        suspects = np.flatnonzero(values > FACTOR * _trailing_least(values))
        suspects = suspects[suspects >= FEWEST]
        medians = _trailing_medians(values, suspects)
        sound = (medians > 0.0) & np.isfinite(medians)
        suspect_ratios = values[suspects[sound]] / medians[sound]
    ratios[rows[suspects[sound]]] = np.where(suspect_ratios > FACTOR, suspect_ratios, 0.0)
    return ratios


def _trailing_least(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the minimum of up to `WINDOW` values before each; infinite before the first."""
    least = np.concatenate((np.full(WINDOW, np.inf), values[:-1]))
    width = 1
    while width < WINDOW:  # each pass joins two windows into one of up to twice the width
        shift = min(width, WINDOW - width)
        least = np.minimum(least[:-shift], least[shift:])
        width += shift
    return least


def _trailing_medians(values: NDArray[np.float64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the median of up to `WINDOW` values before each index in `at`, which is ascending.

    No value may be NaN.
    """
    medians = np.empty(at.size)
    early = int(np.searchsorted(at, WINDOW))
    if early:
        # All at once, because nearly every run has these few and a call takes longer than its work.
        ends, columns = at[:early, np.newaxis], np.arange(WINDOW)
        before = np.where(columns < ends, values[np.minimum(columns, values.size - 1)], np.inf)
        before.sort(axis=1)
        middles = np.take_along_axis(before, np.hstack(((ends - 1) // 2, ends // 2)), axis=1)
        medians[:early] = middles.mean(axis=1)
    if early < at.size:
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
        middle = WINDOW // 2
        for start in range(early, at.size, _AT_ONCE):
            part = windows[at[start : start + _AT_ONCE] - WINDOW]
            part.partition(middle, axis=1)  # `np.median` does the same and looks for NaN, slowly
            medians[start : start + len(part)] = part[:, middle]
    return medians

"""Gradient spikes: norms far above what they were just before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A spike is more than `FACTOR` times the median of up to `WINDOW` norms before it, of which there
#: must be `FEWEST`: the first steps of a training have nothing to be compared with.
FACTOR, WINDOW, FEWEST = 10.0, 101, 10
#: Windows whose medians are taken at once, which bounds the memory to some megabytes.
_AT_ONCE = 8192


def spikes(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of `norms` are over `FACTOR` times the median of the up to `WINDOW` before them.

    An infinite norm is a spike; NaN is none, and is left out of the medians. After norms that are
    mostly 0 nothing is.

    Args:
        norms: shape (n,), in step order.

    Returns:
        Shape (n,).
    """
    return spike_ratios(norms) > 0.0


def spike_ratios(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many times its trailing median each norm is, where that makes it a spike; 0 elsewhere.

    Args:
        norms: as in `spikes`.

    Returns:
        Shape (n,).
    """
    ratios = np.zeros(norms.shape)
    kept = np.flatnonzero(~np.isnan(norms))
    values = norms[kept]
    if values.size <= FEWEST:
        return ratios
    with np.errstate(over="ignore"):  # ten times the largest numbers is infinite, which is right
        # A median is no less than the smallest of its window, which is found far sooner.
        suspects = np.flatnonzero(values > FACTOR * _trailing_least(values))
        suspects = suspects[suspects >= FEWEST]
        medians = _trailing_medians(values, suspects)
        sound = (medians > 0.0) & np.isfinite(medians)
        found = values[suspects[sound]] / medians[sound]
    ratios[kept[suspects[sound]]] = np.where(found > FACTOR, found, 0.0)
    return ratios


def _trailing_least(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest of up to `WINDOW` values before each, infinite before the first."""
    least = np.concatenate((np.full(WINDOW, np.inf), values[:-1]))
    width = 1
    while width < WINDOW:  # windows twice as wide, of two that lie side by side or overlap
        shift = min(width, WINDOW - width)
        least = np.minimum(least[:-shift], least[shift:])
        width += shift
    return least


def _trailing_medians(values: NDArray[np.float64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """The median of up to `WINDOW` values before each index in `at`, which ascends."""
    medians = np.empty(at.size)
    early = int(np.searchsorted(at, WINDOW))
    for index, end in enumerate(at[:early]):
        medians[index] = np.median(values[:end])
    if early < at.size:
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
        for start in range(early, at.size, _AT_ONCE):
            part = at[start : start + _AT_ONCE] - WINDOW
            medians[start : start + part.size] = np.median(windows[part], axis=1)
    return medians

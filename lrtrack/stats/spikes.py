"""Steps whose gradient norm stands far above those before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: How many times the trailing median a norm must pass to be a spike.
FACTOR = 10.0
#: Norms before a step that its trailing median is over; odd, so that it is one of them.
WINDOW = 101
#: With fewer norms before it, a step is not judged: training starts with norms of all sizes.
FEWEST = 10


def spikes(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of `norms` are over `FACTOR` times the median of the up to `WINDOW` before them.

    An infinite norm is a spike; NaN is none, and is left out of the medians. After norms that
    are mostly 0 nothing is.

    Args:
        norms: shape (n,), in step order.

    Returns:
        Shape (n,).
    """
    known = ~np.isnan(norms)
    found = np.zeros(norms.shape, dtype=np.bool_)
    before = _medians_before(norms[known])
    with np.errstate(over="ignore"):
        found[known] = (before > 0.0) & (norms[known] > FACTOR * before)
    return found


def _medians_before(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The trailing median without the norm itself; 0 where too few come before."""
    medians = np.zeros_like(norms)
    if norms.size > WINDOW:
        # Shifted by half its width, the centred filter of scipy trails; its cost hardly depends
        # on the width.
        trailing = ndimage.median_filter(norms, size=WINDOW, origin=WINDOW // 2)
        medians[WINDOW:] = trailing[WINDOW - 1 : -1]
    head = norms[:WINDOW]
    ahead = np.tri(head.size, head.size, -1, dtype=np.bool_)
    ordered = np.sort(np.where(ahead, head, np.inf), axis=1)
    at = np.arange(FEWEST, head.size)
    medians[at] = ordered[at, (at - 1) // 2] / 2.0 + ordered[at, at // 2] / 2.0
    return medians

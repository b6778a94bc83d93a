"""A curve as few straight lines, for shapes that no formula describes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrtrack.schedules.inference.pieces import Piece, Values

#: The first number of points that a line is tried on; it doubles while the line fits.
_WINDOW = 16


def piecewise(t: Values, y: Values, tol: float, base: float) -> Piece:
    """Points that are joined by lines no further than `tol` from the curve.

    Each line ends at the last record that a line from its beginning reaches within `tol` of all
    records between.
    """
    chosen = _trimmed(y, _vertices(t, y, tol))
    factors = [float(rate) / base if base else 0.0 for rate in y[chosen]]
    return Piece(
        "piecewise", {"steps": [int(step) for step in t[chosen]], "factors": factors}, base
    )


def _trimmed(y: Values, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without points that the rate before the first and after the last one makes redundant."""
    while chosen.size > 1 and y[chosen[0]] == y[chosen[1]]:
        chosen = chosen[1:]
    while chosen.size > 1 and y[chosen[-1]] == y[chosen[-2]]:
        chosen = chosen[:-1]
    return chosen


def _vertices(t: Values, y: Values, tol: float) -> NDArray[np.int64]:
    if t.size > 2 * _WINDOW:
        middle = y[:-2] + (y[2:] - y[:-2]) * (t[1:-1] - t[:-2]) / (t[2:] - t[:-2])
        if np.mean(np.abs(middle - y[1:-1]) > tol) > 0.5:  # noise: lines would save little
            return np.arange(t.size)
    vertices = [0]
    while vertices[-1] < t.size - 1:
        vertices.append(_reach(t, y, tol, vertices[-1]))
    return np.array(vertices)


def _reach(t: Values, y: Values, tol: float, start: int) -> int:
    """The index at which the longest line from `start` ends."""
    window = _WINDOW
    best = start + 1
    while True:
        end = min(start + window, t.size - 1)
        runs = t[start + 1 : end + 1] - t[start]
        rises = y[start + 1 : end + 1] - y[start]
        highest = np.minimum.accumulate((rises + tol) / runs)
        lowest = np.maximum.accumulate((rises - tol) / runs)
        slopes = rises / runs
        usable = (slopes[1:] <= highest[:-1]) & (slopes[1:] >= lowest[:-1])
        reached = np.flatnonzero(usable)
        if reached.size:
            best = max(best, start + 2 + int(reached[-1]))
        if end == t.size - 1 or (lowest > highest).any():
            return best
        window *= 2

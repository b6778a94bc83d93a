"""Chains that describe a curve nearly: a rise to the peak, and a known decay from there.

Loops multiply a warm-up with a decay that counts from the first step, or count tokens instead of
steps. Such a rise bends a little, and such a decay begins between two steps.
"""

from __future__ import annotations

import numpy as np

from lrtrack.schedules.inference import levels, smooth
from lrtrack.schedules.inference.pieces import Piece, Values, base_of
from lrtrack.schedules.inference.search import Chain, chains, close

#: The most points of the decay, unless it is a staircase.
_POINTS = 2_000
#: The most pieces of the decay.
_DEPTH = 3


def rise_and_decay(t: Values, y: Values, tol: float) -> list[Chain]:
    """Chains of a line up to the largest rate, and of what follows it.

    Args:
        t: steps, shape (n,), ascending.
        y: learning rates, shape (n,).
        tol: how far a piece may be from the curve.
    """
    top = int(np.argmax(y))
    if not 2 <= top < t.size - 4:
        return []
    found: list[Chain] = []
    for rest in (top, top + 1):
        begin = float(t[rest])
        own, rates = t[rest:] - begin, y[rest:]
        if own.size > _POINTS and levels.levels_of(own, rates, tol) is None:
            chosen = np.unique(np.linspace(0, own.size - 1, _POINTS).round().astype(int))
            own, rates = own[chosen], rates[chosen]
        for decay in chains(own, rates, tol, tol, depth=_DEPTH):
            rise = _rise(t[:rest], y[:rest], begin, base_of(decay, float(y[top])))
            if close([rise, *decay], t, y, tol):
                found.append([rise, *decay])
        if found:
            break
    return found


def _rise(t: Values, y: Values, end: float, highest: float) -> Piece:
    """The line whose largest distance from a rise is the smallest, of those with its slope."""
    last = float(t[-1])
    slope = float((y[-1] - y[0]) / (last - t[0]))
    start = float(y[0] - slope * t[0])
    x, z = smooth.sample(t, y)
    apart = z - (start + slope * x)
    start = max(0.0, start + float(apart.max() + apart.min()) / 2)
    length, lasts = (
        (round(last), round(end)) if start + slope * end > highest else (round(end),) * 2
    )
    level = min(highest, start + slope * length)
    if level == start:
        return Piece("constant", {"factor": level}, lasts=round(end))
    return Piece("linear", {"start": start, "end": level, "steps": length}, lasts=lasts)

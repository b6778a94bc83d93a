"""Fits of rates that stay the same for many steps: staircases and drops.

Conventions are those of `smooth.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lrtrack.schedules.inference.pieces import Piece, Values

#: At most this share of the steps may change the rate of a staircase.
_MOST = 0.5
#: How many intervals are tried if changes were not recorded exactly.
_TRIED = 512
#: The fewest records per step of a staircase.
_HELD = 1.5
#: The most constant rates that are written one by one.
_FEW = 4


@dataclass(frozen=True)
class Levels:
    """A curve as levels.

    Attributes:
        earliest, latest: for each change the last record before it and the first one after it,
            shape (c,).
        rates: the level before the first change and after each, shape (c + 1,).
    """

    earliest: Values
    latest: Values
    rates: Values


def levels_of(t: Values, y: Values, tol: float) -> Levels | None:
    """The levels of a curve; None if it moves at too many steps, or at none."""
    moved = np.flatnonzero(np.abs(np.diff(y)) > min(tol, 1e-9 * float(np.abs(y).max()))) + 1
    if not moved.size or moved.size > max(1, _MOST * (t.size - 1)):
        return None
    return Levels(t[moved - 1], t[moved], y[np.concatenate([[0], moved])])


def drops(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A rate that is multiplied by the same factor at some steps."""
    levels = levels_of(t, y, tol)
    if levels is None or (levels.rates <= 0).any():
        return
    ratios = levels.rates[1:] / levels.rates[:-1]
    factor = float(np.exp(np.mean(np.log(ratios))))
    expected = levels.rates[0] * factor ** np.arange(levels.rates.size)
    if np.abs(expected - levels.rates).max() > 4 * tol or factor > 1:
        return
    base, gamma = float(levels.rates[0]), {"gamma": factor} if abs(factor - 0.1) > 1e-4 else {}
    interval = common_interval(levels)
    if interval is not None and _every_one(levels, interval):
        yield Piece("step", {"steps": interval, **gamma}, base)
    milestones = [int(step) for step in levels.latest]
    yield Piece("multistep", {"milestones": milestones, **gamma}, base)


def constants(t: Values, y: Values, tol: float) -> Iterator[list[Piece]]:
    """A chain of a few constant rates."""
    levels = levels_of(t, y, tol)
    if levels is None or levels.rates.size > _FEW:
        return
    starts = [0, *(int(step) for step in levels.latest)]
    lengths = [end - start for start, end in pairwise(starts)]
    yield [
        Piece("constant", {"factor": float(rate)}, lasts=lasts)
        for rate, lasts in zip(levels.rates, [*lengths, None], strict=True)
    ]


def common_interval(levels: Levels) -> int | None:
    """An interval of at least 2 steps at multiples of which all changes are.

    The largest if each change was recorded exactly. If there are steps between two records, any in
    which a change may have been, the roundest number.
    """
    if (levels.latest - levels.earliest == 1).all():
        interval = int(np.gcd.reduce(levels.latest.astype(np.int64)))
        return interval if interval > 1 else None
    first, last = int(levels.earliest[0]) + 1, int(levels.latest[0])
    candidates = range(max(2, first, last - _TRIED), last + 1)
    for interval in sorted(candidates, key=_roundness):
        multiples = levels.latest // interval * interval
        if (multiples > levels.earliest).all():
            return interval
    return None


def _roundness(interval: int) -> tuple[int, int]:
    return len(str(interval).rstrip("0")), -interval


def _every_one(levels: Levels, interval: int) -> bool:
    """Whether the rate changes at each multiple of `interval`."""
    return bool(np.array_equal(levels.latest // interval, np.arange(1, levels.latest.size + 1)))


def reduced(t: Values, y: Values, tol: float) -> tuple[Values, Values, int] | None:
    """A staircase by its own steps: steps, rates, and the optimizer steps between two of them."""
    levels = levels_of(t, y, tol)
    if levels is None or levels.latest.size < 2:
        return None
    interval = common_interval(levels)
    if interval is None:
        return None
    own, first = np.unique(t // interval, return_index=True)
    if t.size < _HELD * own.size:  # nothing shows that rates were held
        return None
    return own, y[first], interval

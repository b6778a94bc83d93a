"""Distributions of the largest of several t statistics that share one estimate of the spread.

scipy has the first as `studentized_range`, but takes milliseconds for a probability and seconds
for a table of quantiles. Here the distribution for a known spread is tabulated once for each number
of means, and the estimate of the spread is then integrated out. Both agree to 1e-7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.stats.roots import root_between

#: A table covers differences up to this many standard deviations; beyond, p < 1e-20.
_WIDEST = 16.0
_TABLE, _NORMAL, _SPREAD = 801, 341, 401
#: The logarithm of the density at which the integral over the spread is cut off.
_DEPTH = 37.0
#: From this many degrees of freedom on, the spread counts as known.
_KNOWN = 1e7

Floats = NDArray[np.float64]


def range_p(t: float, means: int, df: float) -> float:
    """Tukey's p-value of a difference between two of `means` means.

    The probability that the largest of all differences, divided by its standard error, is at least
    `t` in absolute value if all means are equal (studentized range, q = t·√2).

    Args:
        t: the difference divided by its standard error.
        means: at least 2.
        df: degrees of freedom of the spread, above 0; infinite if it is known.
    """
    return _mixed(_range_table(means), math.sqrt(2.0) * abs(t), df)


@lru_cache(maxsize=4096)
def range_t(means: int, df: float, level: float = 0.05) -> float:
    """The `t` of which `range_p` is `level`."""
    return _solved(lambda t: range_p(t, means, df), level)


def modulus_p(t: float, others: int, correlation: float, df: float) -> float:
    """Dunnett's two-sided p-value of a difference between one of `others` means and a baseline.

    Args:
        t: the difference divided by its standard error.
        others: how many means are compared with the baseline, at least 1.
        correlation: of any two differences, from 0 to 1; 0.5 for equally many runs. A smaller
            one than the true one gives a larger p.
        df: as in `range_p`.
    """
    return _mixed(_modulus_table(others, correlation), abs(t), df)


@lru_cache(maxsize=4096)
def modulus_t(others: int, correlation: float, df: float, level: float = 0.05) -> float:
    """The `t` of which `modulus_p` is `level`."""
    return _solved(lambda t: modulus_p(t, others, correlation, df), level)


@lru_cache(maxsize=256)
def _range_table(means: int) -> Callable[[Floats], Floats]:
    """P(range of `means` standard normal values > w) as a function of w."""
    ndtr = load("scipy.special").ndtr
    widths = np.linspace(0.0, _WIDEST, _TABLE)
    z, weight = _normal_nodes()
    below = ndtr(z) - ndtr(z - widths[:, np.newaxis])
    return _interpolated(widths, 1.0 - means * (below ** (means - 1)) @ weight)


@lru_cache(maxsize=256)
def _modulus_table(others: int, correlation: float) -> Callable[[Floats], Floats]:
    """P(largest |x| > w) of `others` standard normal values with one correlation between them."""
    ndtr = load("scipy.special").ndtr
    widths = np.linspace(0.0, _WIDEST, _TABLE)
    z, weight = _normal_nodes()
    shared, own = math.sqrt(correlation) * z, math.sqrt(max(1.0 - correlation, 1e-12))
    upper, lower = widths[:, np.newaxis] + shared, shared - widths[:, np.newaxis]
    inside = ndtr(upper / own) - ndtr(lower / own)
    return _interpolated(widths, 1.0 - (inside**others) @ weight)


def _normal_nodes() -> tuple[Floats, Floats]:
    z = np.linspace(-8.5, 8.5, _NORMAL)
    return z, np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi) * (z[1] - z[0])


def _interpolated(widths: Floats, tail: Floats) -> Callable[[Floats], Floats]:
    """Interpolation by the cubic through four neighbours, of which the widths are equally far."""
    table = np.clip(tail, 0.0, 1.0)
    spacing = widths[1] - widths[0]

    def probability(w: Floats) -> Floats:
        place = np.minimum(w, _WIDEST) / spacing
        left = np.clip(place.astype(np.int64) - 1, 0, _TABLE - 4)
        x = place - left  # of the four neighbours 0, 1, 2, 3
        value = (
            -table[left] * (x - 1.0) * (x - 2.0) * (x - 3.0) / 6.0
            + table[left + 1] * x * (x - 2.0) * (x - 3.0) / 2.0
            - table[left + 2] * x * (x - 1.0) * (x - 3.0) / 2.0
            + table[left + 3] * x * (x - 1.0) * (x - 2.0) / 6.0
        )
        return np.asarray(np.where(w >= _WIDEST, 0.0, np.clip(value, 0.0, 1.0)))

    return probability


def _mixed(tail: Callable[[Floats], Floats], w: float, df: float) -> float:
    """The tail probability of `w` divided by the estimate of the spread."""
    if not math.isfinite(w):
        return 0.0
    if df >= _KNOWN:
        return float(tail(np.array([w]))[0])
    log_spread, weight = _spread_nodes(df)
    return min(1.0, float(tail(w * np.exp(log_spread)) @ weight))


@lru_cache(maxsize=1024)
def _spread_nodes(df: float) -> tuple[Floats, Floats]:
    """Nodes and weights over the logarithm of √(χ²/df)."""
    reach = math.sqrt(_DEPTH / df)
    u = np.linspace(-reach - _DEPTH / df, reach, _SPREAD)
    density = np.exp(df * (u - 0.5 * np.expm1(2.0 * u)))
    return u, density / density.sum()


def _solved(p_of: Callable[[float], float], level: float) -> float:
    high = 4.0
    while p_of(high) > level:
        high *= 2.0
    return root_between(lambda t: p_of(t) - level, 0.0, high)

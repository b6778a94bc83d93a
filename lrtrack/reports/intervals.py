"""The interval of a mean over runs, at each step of a curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load

Values = NDArray[np.float64]


def mean_and_half_width(table: Values) -> tuple[Values, Values]:
    """The mean of each column's finite values, and half the width of its 95 % interval.

    The interval is mean ± t(0.975, n - 1) · s / √n over a column's n values (Student, "The
    probable error of a mean", Biometrika 6, 1908).

    Args:
        table: shape (runs, g).

    Returns:
        Both of shape (g,). The half width is 0 where all values are equal, whatever rounding does
        to their mean, and NaN where there are fewer than two.
    """
    finite = np.isfinite(table)
    counts = finite.sum(axis=0)
    lowest = np.where(finite, table, np.inf).min(axis=0)
    equal = lowest == np.where(finite, table, -np.inf).max(axis=0)
    mean = np.where(finite, table, 0.0).sum(axis=0) / np.maximum(counts, 1)
    mean = np.where(equal, lowest, mean)
    squares = (np.where(finite, table - mean, 0.0) ** 2).sum(axis=0)
    freedom = np.maximum(counts - 1, 1)
    # one quantile for each number of runs: there are few of them, and many steps
    sizes, which = np.unique(freedom, return_inverse=True)
    quantiles = load("scipy.special").stdtrit(sizes.astype(np.float64), 0.975)[which]
    half = quantiles * np.sqrt(squares / freedom / np.maximum(counts, 1))
    return mean, np.where(counts > 1, half, np.nan)


def on_logarithms(mean: Values, high: Values) -> tuple[Values, Values]:
    """The same intervals around positive means, with ends that are positive, too.

    With h the half width, an interval of the logarithm of the mean is log(mean) ± h / mean, by the
    delta method (Oehlert, "A note on the delta method", The American Statistician 46, 1992). It is
    still one of the arithmetic mean. An interval computed from logarithms of the values would be
    one of their geometric mean, which is another curve (Olsson, "Confidence intervals for the mean
    of a log-normal distribution", Journal of Statistics Education 13, 2005).

    Args:
        mean, high: the means and the upper ends, of one shape.

    Returns:
        Lower and upper ends; NaN where the mean is not positive.
    """
    positive = np.where(mean > 0.0, mean, np.nan)
    # no axis reaches further than so many e-folds
    factor = np.exp(np.minimum((high - mean) / positive, 200.0))
    return positive / factor, positive * factor

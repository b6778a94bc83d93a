"""Learning rates from the curve of a range test: one function per method.

The range test itself is from L. N. Smith, "Cyclical learning rates for training neural networks",
WACV 2017 (arXiv:1506.01186), section 3.3: raise the rate over a short training and watch the loss.

Each function takes learning rates and smoothed losses, both of shape (n,), ascending rates, all
finite, n ≥ 3, and returns one of the rates, or a tenth of one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import METHOD

Curve = NDArray[np.float64]

#: Width of the sliding interval, as a share of the curve, and the largest difference of the slopes
#: at its ends where it stops, as a share of the total fall of the loss.
WIDTH, ALIKE = 0.15, 0.005
#: The smallest fall of the loss that counts, as a share of its total fall.
GRAIN = 0.01


def steepest(lrs: Curve, losses: Curve) -> float:
    """The rate where the loss falls fastest over the logarithm of the rate.

    Smith 2017, section 3.3, takes bounds from where the loss starts and stops improving. Taking
    the rate of the steepest descent in between is the practice of fastai (Howard and Gugger,
    "fastai: a layered API for deep learning", Information 2020, 11(2), 108). Rates beyond the
    smallest loss do not count: a curve that has risen sometimes falls again.
    """
    slopes = np.gradient(losses, np.log(lrs))
    return float(lrs[np.argmin(slopes[: np.argmin(losses) + 1])])


def minimum(lrs: Curve, losses: Curve) -> float:
    """A tenth of the rate with the smallest loss.

    The rate of the smallest loss is nearly too large: Smith, "A disciplined approach to neural
    network hyper-parameters: part 1", 2018 (arXiv:1803.09820), stays below it; an order of
    magnitude is fastai's practice (Howard and Gugger 2020).
    """
    return float(lrs[np.argmin(losses)] / 10)


def valley(lrs: Curve, losses: Curve) -> float:
    """The middle, on a logarithmic axis, of the longest descent of the curve.

    The descent is the longest strictly falling subsequence of losses, so that noise does not cut
    it in two. Losses are rounded to hundredths of the total fall: otherwise tiny fluctuations on
    the plateau before the descent would form the longest subsequence. The idea came from Esri's
    ArcGIS API for Python into fastai 2.3 (2021), where it is the default. The subsequence is
    found in O(n log n) after Schensted, "Longest increasing and decreasing subsequences", Canadian
    Journal of Mathematics 13, 1961.
    """
    grain = GRAIN * (losses[0] - losses.min())
    first, last = _longest_descent(np.round(losses / grain))
    middle = np.sqrt(lrs[first] * lrs[last])
    return float(lrs[np.argmin(np.abs(np.log(lrs / middle)))])


def slide(lrs: Curve, losses: Curve) -> float:
    """The left end of an interval that slides down from the right until its slopes agree.

    It stops where the slopes at its two ends are similar: to its right the curve bends. This is the
    interval slide rule of Novetta's AdaptNLP (2020), adopted by fastai 2.3 (2021). There the
    threshold is in units of the loss; here it is relative to the total fall of the loss, so that
    the suggestion does not depend on the unit.
    """
    slopes = np.gradient(losses)
    threshold = ALIKE * (losses[0] - losses.min())
    right = len(lrs) - 1
    width = max(1, round(WIDTH * len(lrs)))
    left = max(0, right - width)
    while left > 0 and abs(slopes[right] - slopes[left]) > threshold:
        left, right = left - 1, right - 1
    return float(lrs[left])


METHODS: Mapping[str, Callable[[Curve, Curve], float]] = {
    "steepest": steepest,
    "valley": valley,
    "minimum": minimum,
    "slide": slide,
}
assert METHOD in METHODS


def suggest(lrs: Curve, losses: Curve, smoothing: float = 0.0) -> dict[str, float]:
    """Apply each of `METHODS` to a curve; empty if the loss never fell, or if n < 3.

    Args:
        lrs: shape (n,), ascending.
        losses: shape (n,), smoothed; those from the first non-finite one on are ignored.
        smoothing: the weight of the past in `losses`. The first ones, which average fewer than
            1 / (1 - smoothing) losses, are ignored, up to a quarter of the curve.
    """
    nonfinite = np.flatnonzero(~np.isfinite(losses))
    end = int(nonfinite[0]) if len(nonfinite) else len(losses)
    begin = min(math.ceil(1 / (1 - smoothing)) - 1, end // 4)
    lrs, losses = lrs[begin:end], losses[begin:end]
    if len(losses) < 3 or losses.min() >= losses[0]:
        return {}
    return {name: method(lrs, losses) for name, method in METHODS.items()}


def _longest_descent(losses: Curve) -> tuple[int, int]:
    """First and last index of the longest strictly falling subsequence; the earliest of several."""
    tails: list[float] = []  # for each length, the highest end of a descent, negated
    firsts: list[int] = []  # where that descent begins
    longest = (0, 0)
    for index, loss in enumerate(losses):
        length = bisect_left(tails, -loss)
        first = firsts[length - 1] if length else index
        if length == len(tails):
            tails.append(-loss)
            firsts.append(first)
            longest = (first, index)
        else:
            tails[length], firsts[length] = -loss, first
    return longest

"""Learning rates out of the curve of a range test: one function a method.

The range test itself is of L. N. Smith, "Cyclical learning rates for training neural networks",
WACV 2017 (arXiv:1506.01186), section 3.3: raise the rate over a short training and watch the loss.

Each function takes learning rates and smoothed losses, both of shape (n,), ascending rates, all
finite, n ≥ 3, and returns one of the rates, or the tenth of one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import METHOD

Curve = NDArray[np.float64]

#: Width of the interval that slides, as a share of the curve, and how unlike the slopes at its
#: ends may be at rest, as a share of what the loss falls in all.
WIDTH, ALIKE = 0.15, 0.005
#: What counts as a fall of the loss, as a share of what it falls in all.
GRAIN = 0.01


def steepest(lrs: Curve, losses: Curve) -> float:
    """Where the loss falls fastest over the logarithm of the rate.

    Smith 2017, section 3.3, takes bounds from where the loss starts and stops to improve; that
    the rate in between with the steepest descent is a good one is the practice of fastai (Howard
    and Gugger, "fastai: a layered API for deep learning", Information 2020, 11(2), 108). What
    comes after the smallest loss does not count: a curve that has gone up falls again at times.
    """
    slopes = np.gradient(losses, np.log(lrs))
    return float(lrs[np.argmin(slopes[: np.argmin(losses) + 1])])


def minimum(lrs: Curve, losses: Curve) -> float:
    """A tenth of the rate with the smallest loss.

    At the smallest loss it is nearly too large: Smith, "A disciplined approach to neural network
    hyper-parameters: part 1", 2018 (arXiv:1803.09820), stays below it; an order of magnitude is
    fastai's practice (Howard and Gugger 2020).
    """
    return float(lrs[np.argmin(losses)] / 10)


def valley(lrs: Curve, losses: Curve) -> float:
    """The middle, on a logarithmic axis, of the longest descent of the curve.

    The descent is the longest subsequence of losses that falls strictly, so that noise in it does
    not cut it in two. Losses count in hundredths of the whole fall: on the plateau before it the
    smallest wobbles would make a descent, too, and the longest one. The idea came from Esri's
    ArcGIS API for Python into fastai 2.3 (2021), which has it as its default. The subsequence is
    found in O(n log n) after Schensted, "Longest increasing and decreasing subsequences", Canadian
    Journal of Mathematics 13, 1961.
    """
    grain = GRAIN * (losses[0] - losses.min())
    first, last = _longest_descent(np.round(losses / grain))
    middle = np.sqrt(lrs[first] * lrs[last])
    return float(lrs[np.argmin(np.abs(np.log(lrs / middle)))])


def slide(lrs: Curve, losses: Curve) -> float:
    """The left end of an interval that slides down from the right until it comes to rest.

    It rests where the slopes at its two ends are alike: to its right the curve bends. The
    interval slide rule of Novetta's AdaptNLP (2020), which fastai 2.3 (2021) took over. There the
    threshold is in units of the loss; here it is relative to what the loss falls in all, so that a
    loss in other units has the same suggestion.
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
    """What each of `METHODS` makes of a curve; empty where the loss never fell, or n < 3.

    Args:
        lrs: shape (n,), ascending.
        losses: shape (n,), smoothed; what comes after the first non-finite one is left out.
        smoothing: the weight of the past in `losses`: the first of them, which average fewer
            than 1 / (1 - smoothing) losses, are left out, up to a quarter of the curve.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    end = int(bad[0]) if len(bad) else len(losses)
    begin = min(math.ceil(1 / (1 - smoothing)) - 1, end // 4)
    lrs, losses = lrs[begin:end], losses[begin:end]
    if len(losses) < 3 or losses.min() >= losses[0]:
        return {}
    return {name: method(lrs, losses) for name, method in METHODS.items()}


def _longest_descent(losses: Curve) -> tuple[int, int]:
    """First and last index of the longest strictly falling subsequence; of several the earliest."""
    tails: list[float] = []  # of the descents of each length, the one that ends highest, negated
    firsts: list[int] = []  # where that descent began
    found = (0, 0)
    for index, loss in enumerate(losses):
        length = bisect_left(tails, -loss)
        first = firsts[length - 1] if length else index
        if length == len(tails):
            tails.append(-loss)
            firsts.append(first)
            found = (first, index)
        else:
            tails[length], firsts[length] = -loss, first
    return found

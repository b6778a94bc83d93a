"""Curves whose values are averaged over windows of steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lrtrack.reports.curves import Bundle, interpolated
from lrtrack.reports.downsampling import means, stretches
from lrtrack.reports.intervals import mean_and_half_width


def averaged(bundle: Bundle, windows: int) -> Bundle:
    """The same schedule with its values averaged over windows of nearly equal numbers of steps.

    Each run is averaged first, so that the interval is that of the mean of these averages, which
    is narrower than that of single steps where their noise is large.

    Args:
        windows: how many; no window is without a step.

    Returns:
        A bundle with the steps in the middle of the windows; its lines are unchanged.
    """
    counted = [line for line in bundle.lines if line.run in bundle.counted]
    if not counted:
        return bundle
    starts = stretches(bundle.steps.size, windows)
    table = np.array([means(interpolated(line, bundle.steps), starts) for line in counted])
    mean, half = mean_and_half_width(table)
    mean = np.where(np.isfinite(means(bundle.mean, starts)), mean, np.nan)
    ends = np.append(starts[1:], bundle.steps.size)
    middles = bundle.steps[(starts + ends - 1) // 2]
    return replace(bundle, steps=middles, mean=mean, low=mean - half, high=mean + half)

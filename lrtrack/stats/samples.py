"""What the statistics compare: one value and one seed per run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.roots import root_between
from lrtrack.stats.summary import Mode

#: Two schedules differ significantly if their p-value is below this.
LEVEL = 0.05


@dataclass(frozen=True)
class Sample:
    """The runs of one schedule.

    Attributes:
        values: one per run; infinite or NaN if the run diverged.
        seeds: one per run.
    """

    values: tuple[float, ...]
    seeds: tuple[int | None, ...]

    @property
    def ended(self) -> NDArray[np.float64]:
        """The values of the runs that did not diverge."""
        values = np.array(self.values, dtype=np.float64)
        return values[np.isfinite(values)]

    def median(self, mode: Mode) -> float | None:
        """The median, with divergence as the worst value: infinite if half of the runs diverged.

        Returns:
            None without runs.
        """
        if not self.values:
            return None
        sign = 1.0 if mode == "min" else -1.0
        ordered = sorted(sign * v if math.isfinite(v) else math.inf for v in self.values)
        low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        middle = low if low == high else low / 2.0 + high / 2.0
        return sign * middle


@dataclass(frozen=True)
class Improvement:
    """The probability that a run is better than one of the other side, with its 95 % interval."""

    p: float
    ci95: tuple[float, float]


def improvement(one: Sample, other: Sample, mode: Mode) -> Improvement | None:
    """The probability that a run of `one` is better than a run of `other`; ties count half.

    The share of all pairs of runs, as in Agarwal et al., "Deep reinforcement learning at the edge
    of the statistical precipice" (2021). Diverged runs are worse than all others and tie with
    each other. The interval is method 5 of Newcombe, "Confidence intervals for an effect size
    measure based on the Mann-Whitney statistic" (2006), which holds for few runs and for sides
    that do not overlap.

    Returns:
        None if either side has no run.
    """
    if not (one.values and other.values):
        return None
    sign = -1.0 if mode == "min" else 1.0
    left, right = (
        np.array([sign * v if math.isfinite(v) else -math.inf for v in sample.values])
        for sample in (one, other)
    )
    won = np.greater.outer(left, right)
    halves = 2 * int(won.sum()) + int(np.equal.outer(left, right).sum())
    share = float(halves / (2 * won.size))
    return Improvement(share, _newcombe(share, left.size, right.size))


def _newcombe(share: float, one: int, other: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    pairs = (one + other) / 2.0 - 1.0

    def beyond(theta: float) -> float:
        inner = 1.0 + pairs * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta))
        return abs(share - theta) - z * math.sqrt(theta * (1.0 - theta) * inner / (one * other))

    tiny = 1e-12  # at the ends themselves the equation has a second root
    low = 0.0 if share == 0.0 else root_between(beyond, 0.0, min(share, 1.0 - tiny))
    high = 1.0 if share == 1.0 else root_between(beyond, max(share, tiny), 1.0)
    return low, high

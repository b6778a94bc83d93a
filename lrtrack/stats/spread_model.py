"""The model that schedules are compared by: final values by schedule and seed, and their spread.

Schedules that share seeds are compared by the residuals of that model, those that share none with
the others by the total spread over runs, in which the seeds' effects are included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.run_table import RunTable, TwoWay, table_of
from lrtrack.stats.samples import Sample
from lrtrack.stats.scale import Scale, distance, scale_of
from lrtrack.stats.shared_spread import UNEQUAL, Spreads, shared
from lrtrack.stats.summary import Mode

#: Seeds are a part of the model where they leave at least this share of the degrees of freedom.
_FEWEST_DF = 0.25
#: A spread is none if it is so small beside the values that it is their rounding.
ROUNDING = 1e-12
#: The smallest residual spread, relative to the spread over runs.
_SMALLEST = 1e-9

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Differences:
    """The differences of all schedules to one of them; NaN of schedules without runs.

    Attributes:
        sizes: shape (k,): adjusted for the seeds that both schedules share with others.
        errors: shape (k,): their standard errors.
        df: shape (k,): the degrees of freedom of these.
        pair: shape (k,): the mean variance of a run of the two schedules.
    """

    sizes: Floats
    errors: Floats
    df: Floats
    pair: Floats


@dataclass(frozen=True)
class Model:
    """Values of the schedules on a scale, with the spread around them.

    Attributes:
        scale: the scale of everything here.
        unit: what everything here is divided by, so that squares stay finite.
        counts: shape (k,): runs that ended, per schedule.
        means: shape (k,): plain means over runs; NaN without runs.
        sigma: residual standard deviation, pooled; None where no run repeats another.
        df: its degrees of freedom.
        total: the spread over the runs of each schedule, the effect of the seed included.
        dependence: by how much schedules that share seeds tell less about that spread together
            than as many independent ones, from 0 to 1.
        residual: the spread that is left where seeds are accounted for; None where runs are not
            paired.
        estimates: shape (k,): values adjusted for the seeds, except for a constant in each part.
        part: shape (k,): which schedules are connected by shared seeds; -1 of those without.
        paired: the fit to the paired runs.
    """

    scale: Scale
    unit: float
    counts: Ints
    means: Floats
    sigma: float | None
    df: float
    total: Spreads
    dependence: float
    residual: Spreads | None
    estimates: Floats
    part: Ints
    paired: TwoWay | None

    @property
    def seeds(self) -> int:
        """How many seeds the model accounts for; 0 where runs are not paired."""
        return 0 if self.paired is None else self.paired.seeds

    @property
    def own_spread(self) -> float:
        """The largest weight of a schedule's own spread in what it is judged by."""
        spreads = self.total if self.residual is None else self.residual
        return float(spreads.own.max(initial=0.0))

    def differences(self, reference: int) -> Differences:
        """Compare all schedules with the one at `reference`."""
        counts = np.maximum(self.counts, 1)
        factors = np.diag(1.0 / counts)
        factors[:, reference] += 1.0 / counts[reference]
        spread = self.total.variances
        sizes = self.means - self.means[reference]
        variances, df = self.total.summed(factors, self.dependence)
        pair = (spread + spread[reference]) / 2.0
        together = (self.part == self.part[reference]) & (self.part >= 0)
        if self.paired is not None and self.residual is not None and together.any():
            spread = self.residual.variances
            factors = self.paired.factors(_weights(spread), reference)
            own, own_df = self.residual.summed(factors)
            sizes = np.where(together, self.estimates - self.estimates[reference], sizes)
            variances, df = np.where(together, own, variances), np.where(together, own_df, df)
            pair = np.where(together, (spread + spread[reference]) / 2.0, pair)
        return Differences(sizes, np.sqrt(variances), df, pair)

    def least_correlation(self, reference: int) -> float:
        """The smallest correlation between two differences to `reference`, rounded down."""
        others = np.flatnonzero(self.counts > 0)
        others = others[others != reference]
        together = (self.part[others] == self.part[reference]) & (self.part[others] >= 0)
        if others.size < 2 or together.any() != together.all():
            return 0.0
        c = np.diag(self.total.variances / np.maximum(self.counts, 1))
        if together.all() and self.paired is not None and self.residual is not None:
            c = self.paired.covariance(_weights(self.residual.variances))
        base = c[reference, reference]
        cross = c[np.ix_(others, others)] - c[reference, others] - c[others, reference][:, None]
        cross = cross + base
        sizes = np.sqrt(np.diag(cross))
        with np.errstate(invalid="ignore", divide="ignore"):
            correlations = cross / np.outer(sizes, sizes)
        least = float(correlations[~np.eye(others.size, dtype=bool)].min())
        if not math.isfinite(least):
            return 0.0
        return min(0.99, max(0.0, math.floor(least * 100.0 + 1e-9) / 100.0))


def fit(samples: Sequence[Sample], mode: Mode, *, unequal: float = UNEQUAL) -> Model:
    """Fit the model to the runs that ended; the scale is chosen by `scale_of`.

    Args:
        samples: one per schedule, at least one.
        mode: whether small or large values are better.
        unequal: the probability, before any run, that a schedule spreads more than the others. At
            0 all share one spread, at 1 each has its own.
    """
    scale = scale_of([sample.ended for sample in samples], mode)
    runs, unit = table_of(samples, scale)
    counts = runs.sums()
    squares, within_df = runs.one_way()
    paired = _paired(runs, within_df)
    floor = ROUNDING * float(np.abs(runs.values).max(initial=0.0))
    pooled = float(squares.sum()) / max(1.0, float(within_df.sum()))
    known = within_df.any() and math.sqrt(pooled) > floor
    least = _resolution(samples, scale, unit) if known else np.ones(len(samples))
    least = np.maximum(least**2, _SMALLEST**2 * (pooled if known else 1.0))
    total = shared(lambda _: (squares, within_df), least, unequal)
    residual, estimates, part = None, np.full(len(samples), np.nan), np.full(len(samples), -1)
    sigma, df, dependence = math.sqrt(pooled), float(within_df.sum()), 1.0
    if paired is not None:
        # Two schedules with paired seeds need only the spread of their differences.
        alone = np.unique(paired.part[paired.part >= 0], return_counts=True)[1].max() < 3
        residual = shared(paired.residuals, least, 0.0 if alone else unequal, weighted=True)
        estimates = paired.estimates(_weights(residual.variances))
        part, df = paired.part, float(paired.df)
        left = float(paired.residuals(np.ones(len(samples)))[0].sum())
        sigma = max(math.sqrt(left / df), _SMALLEST * sigma)
        dependence = _dependence(paired, left, within_df)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = runs.sums(runs.values) / counts
    return Model(
        scale, unit, counts.astype(np.int64), means, sigma if known else None, df, total,
        dependence, residual, estimates, part, paired,
    )  # fmt: skip


def _paired(runs: RunTable, within_df: Floats) -> TwoWay | None:
    """The fit to the runs whose seeds are shared; None if it would leave too few of them."""
    rows = runs.block >= 0
    if not rows.any():
        return None
    paired = TwoWay(runs.select(rows))
    available = float(within_df[paired.part >= 0].sum())
    return paired if paired.df >= max(1.0, _FEWEST_DF * available) else None


def _dependence(paired: TwoWay, left: float, within_df: Floats) -> float:
    """The degrees of freedom of the spread over runs, relative to independent schedules.

    Schedules that share a seed share its effect, so that they tell less about it than as many
    independent runs: the two mean squares are combined by Satterthwaite's approximation.
    """
    around = paired.seed_squares(left)
    if not paired.seed_df or around + left <= 0.0:
        return 1.0
    share = paired.seed_df / (paired.seed_df + paired.df)
    seed = share * around / (around + left) / paired.seed_df
    residual = (1.0 - share) * left / (around + left) / paired.df
    both = seed**2 / paired.seed_df + residual**2 / paired.df
    return min(1.0, (seed + residual) ** 2 / both / float(within_df.sum()))


def _weights(variances: Floats) -> Floats:
    """Weights of runs in the estimates."""
    return np.asarray(float(variances.min()) / variances)


def _resolution(samples: Sequence[Sample], scale: Scale, unit: float) -> Floats:
    """For each schedule the deviation, in units, that the last digit of its values alone has.

    Accuracies on few examples repeat: three equal ones do not show a spread of 0.
    """
    ended = [sample.ended for sample in samples]
    if scale == "linear":
        ended = [values / unit for values in ended]
    every = np.unique(np.concatenate(ended))
    gap = float(np.diff(every).min()) if every.size > 1 else 0.0
    sizes = np.full(len(ended), 1.0)
    if scale != "linear":
        sizes = np.array([unit * distance(v, scale).mean() if v.size else 1.0 for v in ended])
    return np.asarray(gap / sizes / math.sqrt(12.0))

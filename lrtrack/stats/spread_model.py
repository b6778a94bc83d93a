"""The spread that schedules share: a model of final values by schedule and by seed.

value = schedule + seed + residual. A seed affects all schedules alike, as far as it does, so that
its effect cancels out of their differences. Least squares over the seeds that schedules share does
that also where some runs are missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.equal_spreads import UNEQUAL, bartlett, resolution
from lrtrack.stats.samples import Sample
from lrtrack.stats.scale import Scale, scale_of, transformed
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
class Model:
    """Values of the schedules on a scale, with the spread around them.

    Attributes:
        scale: the scale of everything here.
        unit: what everything here is divided by, so that squares stay finite.
        counts: shape (k,): runs that ended, per schedule.
        means: shape (k,): plain means over runs; NaN without runs.
        estimates: shape (k,): values adjusted for the seeds that schedules share, except for a
            constant; they differ as `means` do where all schedules have the same seeds.
        covariance: shape (k, k): that of `estimates`, divided by `sigma` squared.
        sigma: residual standard deviation; None where no run repeats another.
        df: its degrees of freedom.
        own: shape (k,): each schedule's residual standard deviation; NaN below 2 runs.
        total: standard deviation over the runs of a schedule, the effect of the seed included,
            pooled over schedules; None as `sigma`.
        total_df: its degrees of freedom (Satterthwaite).
        seeds: how many seeds the model accounts for; 0 where runs are not paired.
        pooled: whether the schedules' spreads are alike enough for one common estimate.
        p_unequal: the p-value of Bartlett's test of that; None where it cannot be tested.
    """

    scale: Scale
    unit: float
    counts: Ints
    means: Floats
    estimates: Floats
    covariance: Floats
    sigma: float | None
    df: float
    own: Floats
    total: float | None
    total_df: float
    seeds: int
    pooled: bool
    p_unequal: float | None


@dataclass(frozen=True)
class _Runs:
    """All runs that ended. `group` and `block` are indices; a block of -1 is a seed of its own."""

    values: Floats
    group: Ints
    block: Ints
    groups: int

    def sums(self, weights: Floats | None = None) -> Floats:
        return np.bincount(self.group, weights, self.groups).astype(np.float64)

    def centred(self) -> Floats:
        """Values minus the mean of their schedule."""
        means = self.sums(self.values) / np.maximum(self.sums(), 1.0)
        return np.asarray(self.values - means[self.group])

    def paired(self) -> _Runs:
        """Only the runs whose seed another schedule has too."""
        rows = self.block >= 0
        return _Runs(self.values[rows], self.group[rows], self.block[rows], self.groups)


@dataclass(frozen=True)
class _Residuals:
    """The residual and the seeds' sum of squares, with their degrees of freedom."""

    residuals: Floats
    group: Ints
    squares: float
    df: int
    seed_squares: float = 0.0
    seed_df: int = 0
    connected: bool = False


def fit(samples: Sequence[Sample], mode: Mode, *, plain: bool = False) -> Model:
    """Fit the model to the runs that ended; the scale is chosen by `scale_of`.

    Args:
        samples: one per schedule, at least one.
        mode: whether small or large values are better.
        plain: whether to keep the linear scale and one spread whatever the values are, as a model
            must that is fitted again after more runs.
    """
    scale = "linear" if plain else scale_of([sample.ended for sample in samples], mode)
    runs, unit = _runs(samples, scale)
    counts = runs.sums().astype(np.int64)
    within = _one_way(runs)
    paired = _two_way(runs)
    blocked = paired.connected and paired.df >= max(1.0, _FEWEST_DF * within.df)
    used = paired if blocked else within
    estimates, covariance = _adjusted(runs.paired()) if blocked else _plain(runs)
    floor = ROUNDING * float(np.abs(runs.values).max(initial=0.0))
    total, total_df = _total(within, paired if blocked else None)
    known = within.df > 0 and total > floor
    sigma = max(math.sqrt(used.squares / used.df), _SMALLEST * total) if known else None
    p_unequal = None
    if known:
        least = resolution(samples, scale, unit)
        p_values = [bartlett(part.residuals, part.group, part.df, least) for part in (within, used)]
        # Both look: seeds hide unequal spreads of the residuals, and residuals lend each other
        # theirs. Two schedules with paired seeds need only the spread of their differences.
        pair = blocked and (counts > 0).sum() < 3
        p_unequal = None if pair else min((p for p in p_values if p is not None), default=None)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = runs.sums(runs.values) / counts
    return Model(
        scale=scale,
        unit=unit,
        counts=counts,
        means=means,
        estimates=estimates,
        covariance=covariance,
        sigma=sigma,
        df=float(used.df),
        own=_own(used, runs.groups),
        total=total if known else None,
        total_df=total_df,
        seeds=int(np.unique(runs.block[runs.block >= 0]).size) if blocked else 0,
        pooled=plain or p_unequal is None or p_unequal >= UNEQUAL,
        p_unequal=p_unequal,
    )


def _runs(samples: Sequence[Sample], scale: Scale) -> tuple[_Runs, float]:
    """All runs that ended, divided by a power of two that keeps squares finite."""
    owners: dict[int, set[int]] = {}
    rows = [
        (value, at, seed)
        for at, sample in enumerate(samples)
        for value, seed in sorted(
            zip(sample.values, sample.seeds, strict=True), key=lambda pair: pair[0]
        )
        if math.isfinite(value)
    ]
    for _, at, seed in rows:
        if seed is not None:
            owners.setdefault(seed, set()).add(at)
    shared = sorted(seed for seed, schedules in owners.items() if len(schedules) > 1)
    index = {seed: position for position, seed in enumerate(shared)}
    values = transformed(np.array([value for value, _, _ in rows], dtype=np.float64), scale)
    largest = float(np.abs(values).max(initial=0.0))
    unit = math.ldexp(1.0, min(1000, max(-1000, math.frexp(largest)[1])))
    return _Runs(
        values=values / unit,
        group=np.array([at for _, at, _ in rows], dtype=np.int64),
        block=np.array([-1 if s is None else index.get(s, -1) for _, _, s in rows], dtype=np.int64),
        groups=len(samples),
    ), unit


def _one_way(runs: _Runs) -> _Residuals:
    """The model without seeds."""
    residuals = runs.centred()
    used = int((runs.sums() > 0).sum())
    squares = float((residuals**2).sum())
    return _Residuals(residuals, runs.group, squares, residuals.size - used)


def _two_way(every: _Runs) -> _Residuals:
    """The model with a fixed effect of each seed, over the runs whose seed is shared."""
    runs = every.paired()
    if not runs.values.size:
        return _Residuals(runs.values, runs.group, 0.0, 0)
    table = _table(runs)
    seeds = table.shape[1]
    counts = np.maximum(table.sum(axis=1), 1.0)
    centred = runs.centred()
    information = np.diag(table.sum(axis=0)) - table.T @ (table / counts[:, np.newaxis])
    right = np.bincount(runs.block, centred, seeds)
    effects, _, rank, _ = np.linalg.lstsq(information, right, rcond=1e-10)
    without = _Runs(runs.values - effects[runs.block], runs.group, runs.block, runs.groups)
    residuals = without.centred()
    schedules = int((table.sum(axis=1) > 0).sum())
    squares = float((residuals**2).sum())
    return _Residuals(
        residuals,
        runs.group,
        squares,
        df=residuals.size - schedules - int(rank),
        seed_squares=max(0.0, float((centred**2).sum()) - squares),
        seed_df=int(rank),
        # Every schedule is compared with every other over a chain of shared seeds.
        connected=int(rank) == seeds - 1 and schedules == int((every.sums() > 0).sum()),
    )


def _plain(runs: _Runs) -> tuple[Floats, Floats]:
    """Means per schedule, and their covariance over the residual variance."""
    counts = runs.sums()
    with np.errstate(invalid="ignore", divide="ignore"):
        return runs.sums(runs.values) / counts, np.diag(1.0 / counts)


def _adjusted(runs: _Runs) -> tuple[Floats, Floats]:
    """Least-squares estimates over shared seeds, and their covariance over the residual variance.

    Both are right for differences of schedules; a constant is arbitrary.
    """
    table = _table(runs)
    weights = table / table.sum(axis=0)
    information = np.diag(table.sum(axis=1)) - weights @ table.T
    totals = np.bincount(runs.block, runs.values, table.shape[1])
    inverse = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    present = runs.sums() > 0
    estimates = np.where(present, inverse @ (runs.sums(runs.values) - weights @ totals), np.nan)
    return estimates, inverse


def _table(runs: _Runs) -> Floats:
    """How many runs each schedule has of each seed."""
    table = np.zeros((runs.groups, int(runs.block.max()) + 1))
    np.add.at(table, (runs.group, runs.block), 1.0)
    return table


def _own(model: _Residuals, groups: int) -> Floats:
    """Each schedule's deviation of the residuals; NaN below 2 runs."""
    df = np.maximum(np.bincount(model.group, minlength=groups) - 1, 0)
    squares = np.bincount(model.group, model.residuals**2, groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = model.df / df.sum()  # the seeds' effects take part of the squares
        return np.where(df > 0, np.sqrt(squares / (df * share)), np.nan)


def _total(within: _Residuals, paired: _Residuals | None) -> tuple[float, float]:
    """The spread over a schedule's runs and its degrees of freedom.

    Schedules that share a seed share its effect, so that they tell less about it than as many
    independent runs: the two mean squares are combined by Satterthwaite's approximation.
    """
    if within.df < 1:
        return 0.0, 0.0
    variance = within.squares / within.df
    if paired is None or not paired.seed_df or variance <= 0.0:
        return math.sqrt(variance), float(within.df)
    share = paired.seed_df / (paired.seed_df + paired.df)
    seed = share * paired.seed_squares / paired.seed_df
    residual = (1.0 - share) * paired.squares / paired.df
    both = seed**2 / paired.seed_df + residual**2 / paired.df
    df = (seed + residual) ** 2 / both if both > 0.0 else float(within.df)
    return math.sqrt(variance), min(float(within.df), df)

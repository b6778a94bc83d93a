"""The final values of all runs with their schedules and seeds, and least squares over them.

value = schedule + seed + residual. A seed affects all schedules alike, as far as it does, so that
its effect cancels out of their differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.samples import Sample
from lrtrack.stats.scale import Scale, transformed

#: A schedule is paired with others where they have the seeds of at least this share of its runs.
_PAIRED = 0.5

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RunTable:
    """All runs that ended.

    Attributes:
        values: shape (n,), on the scale of the comparison.
        group: shape (n,): the index of each run's schedule.
        block: shape (n,): the index of its seed; -1 for a seed of its own.
        groups: how many schedules there are.
    """

    values: Floats
    group: Ints
    block: Ints
    groups: int

    def sums(self, weights: Floats | None = None) -> Floats:
        """Sums of `weights` over the runs of each schedule; None: how many it has."""
        return np.bincount(self.group, weights, self.groups).astype(np.float64)

    def centred(self) -> Floats:
        """Values minus the mean of their schedule."""
        means = self.sums(self.values) / np.maximum(self.sums(), 1.0)
        return np.asarray(self.values - means[self.group])

    def one_way(self) -> tuple[Floats, Floats]:
        """Each schedule's sum of squares around its mean, and the degrees of freedom."""
        return self.sums(self.centred() ** 2), np.maximum(self.sums() - 1.0, 0.0)

    def select(self, rows: NDArray[np.bool_]) -> RunTable:
        """Some of the runs, with their blocks numbered from 0."""
        blocks = np.unique(self.block[rows], return_inverse=True)[1].astype(np.int64)
        return RunTable(self.values[rows], self.group[rows], blocks, self.groups)


def table_of(samples: Sequence[Sample], scale: Scale) -> tuple[RunTable, float]:
    """The runs of one sample per schedule, divided by a power of two that keeps squares finite.

    Returns:
        The runs, and what they were divided by.
    """
    rows = [
        (value, at, seed)
        for at, sample in enumerate(samples)
        for value, seed in sorted(
            zip(sample.values, sample.seeds, strict=True), key=lambda pair: pair[0]
        )
        if math.isfinite(value)
    ]
    values = transformed(np.array([value for value, _, _ in rows], dtype=np.float64), scale)
    largest = float(np.abs(values).max(initial=0.0))
    unit = math.ldexp(1.0, min(1000, max(-1000, math.frexp(largest)[1])))
    seeds = {seed: None for _, _, seed in rows if seed is not None}
    index = {seed: position for position, seed in enumerate(sorted(seeds))}
    group = np.array([at for _, at, _ in rows], dtype=np.int64)
    block = np.array([-1 if s is None else index[s] for _, _, s in rows], dtype=np.int64)
    return RunTable(values / unit, group, _shared(group, block, len(samples)), len(samples)), unit


def _shared(group: Ints, block: Ints, groups: int) -> Ints:
    """The blocks of runs whose seed another schedule has too; -1 for the others.

    A schedule that has most of its seeds for itself is compared without them: its few shared runs
    would say less than all of them. That can take a partner away from others.
    """
    block = block.copy()
    runs = np.maximum(np.bincount(group, minlength=groups), 1)
    while True:
        paired = np.flatnonzero(block >= 0)
        pairs = np.unique(np.stack((block[paired], group[paired])), axis=1)
        owners = np.bincount(pairs[0], minlength=1 + int(block.max(initial=0)))
        single = paired[owners[block[paired]] < 2]
        block[single] = -1
        share = np.bincount(group[block >= 0], minlength=groups) / runs
        loose = (block >= 0) & (share[group] < _PAIRED)
        if not loose.any():
            return block
        block[loose] = -1


class TwoWay:
    """Weighted least squares with an effect of each schedule and of each seed.

    Args:
        runs: runs that all have a block.
    """

    def __init__(self, runs: RunTable) -> None:
        self._runs = runs
        table = np.zeros((runs.groups, int(runs.block.max()) + 1))
        np.add.at(table, (runs.group, runs.block), 1.0)
        self._table, self._counts = table, table.sum(axis=1)
        self._centred = runs.centred()
        self.part = _parts(table > 0.0)
        owner = table.argmax(axis=0)
        self._block_part = self.part[owner]
        parts = np.unique(self._block_part).size
        self.seeds = table.shape[1]
        self.seed_df = self.seeds - parts
        self.df = self._centred.size - int((self._counts > 0).sum()) - self.seed_df

    def residuals(self, weights: Floats) -> tuple[Floats, Floats]:
        """Each schedule's sum of squared residuals, and its degrees of freedom.

        Args:
            weights: shape (k,), above 0: the weight of each schedule's runs.
        """
        effects, inverse = self._effects(weights)
        runs, counts = self._runs, np.maximum(self._counts, 1.0)
        without = RunTable(runs.values - effects[runs.block], runs.group, runs.block, runs.groups)
        used = self._table @ np.diag(inverse)
        used -= ((self._table @ inverse) * self._table).sum(axis=1) / counts
        df = np.maximum(self._counts - 1.0 - weights * used, 0.0)
        return runs.sums(without.centred() ** 2), np.where(self._counts > 0, df, 0.0)

    def _effects(self, weights: Floats) -> tuple[Floats, Floats]:
        """The effects of the seeds, except for a constant, and the inverse of their information."""
        table, counts = self._table, np.maximum(self._counts, 1.0)
        information = np.diag(weights @ table)
        information -= table.T @ ((weights / counts)[:, np.newaxis] * table)
        inverse = _inverse(information, self._block_part)
        runs = self._runs
        right = np.bincount(runs.block, weights[runs.group] * self._centred, self.seeds)
        return inverse @ right, inverse

    def estimates(self, weights: Floats) -> Floats:
        """The schedules' effects, shape (k,), except for a constant; NaN without paired runs."""
        effects, _ = self._effects(weights)
        runs = self._runs
        sums = runs.sums(runs.values - effects[runs.block])
        present = self._counts > 0
        return np.asarray(np.where(present, sums / np.maximum(self._counts, 1.0), np.nan))

    def covariance(self, weights: Floats) -> Floats:
        """Of the estimates, shape (k, k), except for a constant, if variances are 1/weights."""
        table = weights[:, np.newaxis] * self._table
        information = np.diag(table.sum(axis=1)) - (table / table.sum(axis=0)) @ table.T
        return _inverse(information, self.part)

    def seed_squares(self, left: float) -> float:
        """The sum of squares of the seeds' effects, given that of the residuals."""
        return max(0.0, float((self._centred**2).sum()) - left)

    def factors(self, weights: Floats, reference: int) -> Floats:
        """The variances of the differences to one schedule, as sums over schedules' variances.

        Returns:
            Shape (k, k): the factor of each schedule's variance (columns) in each difference.
        """
        table = weights[:, np.newaxis] * self._table
        inverse = self.covariance(weights)
        effects = inverse - inverse[reference]
        of_seeds = effects @ (table / table.sum(axis=0))
        squares = self._counts * effects**2 - 2.0 * effects * (of_seeds @ self._table.T)
        squares += of_seeds**2 @ self._table.T
        return np.asarray(weights**2 * np.maximum(squares, 0.0))


def _inverse(information: Floats, part: Ints) -> Floats:
    """The inverse, up to the constant that is arbitrary in each connected part."""
    scale = float(np.diag(information).max(initial=0.0)) or 1.0
    same = (part[:, np.newaxis] == part) & (part >= 0)
    full = information + scale * same / part.size
    np.fill_diagonal(full, np.where(np.diag(information) > 0.0, np.diag(full), 1.0))
    return np.linalg.inv(full)


def _parts(present: NDArray[np.bool_]) -> Ints:
    """Which schedules are connected by shared seeds, shape (k,); -1 of those without any.

    Args:
        present: shape (k, m): which schedule has which seed.
    """
    part = np.full(present.shape[0], -1, dtype=np.int64)
    for first in range(part.size):
        if part[first] >= 0 or not present[first].any():
            continue
        seeds = present[first]
        while True:
            members = (present & seeds).any(axis=1)
            wider = present[members].any(axis=0)
            if (wider == seeds).all():
                break
            seeds = wider
        part[members] = first
    return part

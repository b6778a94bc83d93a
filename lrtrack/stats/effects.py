"""Differences between schedules, with intervals that hold for all of them at once.

Against the best: Tukey's studentized range. The data choose the best, so that the differences to
it are the most favourable of all pairs; Tukey's intervals hold for all pairs at once. Hsu's
multiple comparisons with the best are narrower, but let one of several equally good schedules be
called worse. Against a baseline that was named beforehand: Dunnett's test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrtrack._optional import load
from lrtrack.stats.figures import Effect
from lrtrack.stats.samples import LEVEL
from lrtrack.stats.scale import distance, falls
from lrtrack.stats.sequential import sequential_p, sequential_t
from lrtrack.stats.spread_model import ROUNDING, Model
from lrtrack.stats.studentized import modulus_p, modulus_t, range_p, range_t

#: The power at which `seeds_to_tell` counts as enough.
POWER = 0.8
#: More seeds than this are not computed.
_MOST_SEEDS = 100_000


@dataclass(frozen=True)
class _Contrast:
    """A difference on the model's scale, with its standard error.

    `information` is the residual variance over that of the difference.
    """

    size: float
    error: float
    df: float
    information: float = math.nan

    @property
    def t(self) -> float:
        return self.size / self.error


class Effects:
    """Compares each schedule with the best one, or with a baseline.

    Args:
        model: the fitted model.
        reference: the index of the best schedule, or of the baseline.
        chosen: whether the reference is a baseline that was named beforehand.
        final: the means of the schedules, None where they have none.
        sequential: whether intervals and p-values hold however often one looks.
    """

    def __init__(
        self,
        model: Model,
        reference: int,
        *,
        chosen: bool,
        final: Sequence[float | None],
        sequential: bool = False,
    ) -> None:
        self._model, self._reference, self._chosen = model, reference, chosen
        self._final, self._sequential = final, sequential
        self._compared = int((model.counts > 0).sum())
        self._correlation = _least_correlation(model, reference) if chosen else 0.0

    def of(self, index: int) -> Effect | None:
        """The effect of schedule `index`; None for the reference and where no spread is known."""
        contrast = self._contrast(index)
        if contrast is None:
            return None
        half = self._critical(contrast.df, contrast.information) * contrast.error
        ends = [self._difference(index, contrast.size + sign * half) for sign in (-1.0, 1.0)]
        difference = self._difference(index, contrast.size)
        if not all(map(math.isfinite, (difference, *ends))):
            return None
        low, high = sorted(ends)
        return Effect(difference, (low, high), self._p(contrast))

    def seeds_to_tell(self, index: int) -> int | None:
        """How many seeds of each schedule would show this difference with 80 % power.

        Returns:
            None for the reference, where the difference is shown already or is 0, and where no
            spread is known.
        """
        contrast = self._contrast(index)
        if contrast is None or contrast.size == 0.0 or self._p(contrast) < LEVEL:
            return None
        size = abs(contrast.size)
        spread = self._pair_sigma(index)
        seeds = 2
        while self._power(size, spread, seeds) < POWER:
            seeds *= 2
            if seeds > _MOST_SEEDS:
                return None
        low = seeds // 2
        while seeds - low > 1:
            middle = (low + seeds) // 2
            if self._power(size, spread, middle) < POWER:
                low = middle
            else:
                seeds = middle
        # The observed numbers did not show it.
        return max(seeds, int(self._model.counts[[index, self._reference]].min()) + 1)

    def _power(self, size: float, spread: float, seeds: int) -> float:
        pooled, paired = self._model.pooled, self._model.seeds > 0
        df = float((seeds - 1) * (self._compared - paired if pooled else 2))
        shift = size / (spread * math.sqrt(2.0 / seeds))
        if shift > 50.0:
            return 1.0
        critical = self._critical(df, seeds / 2.0)
        if math.isinf(critical):
            return 0.0
        return float(load("scipy.special").nctdtr(df, -shift, -critical))

    def _pair_sigma(self, index: int) -> float:
        """The residual spread behind one difference."""
        model = self._model
        if model.pooled and model.sigma is not None:
            return model.sigma
        return math.hypot(*model.own[[index, self._reference]]) / math.sqrt(2.0)

    def _contrast(self, index: int) -> _Contrast | None:
        model, base = self._model, self._reference
        if index == base or model.sigma is None or not model.counts[[index, base]].all():
            return None
        size = float(model.estimates[index] - model.estimates[base])
        if model.scale != "linear":
            # The logarithm of the ratio of means, not of geometric means, as the report shows.
            own, other = (self._distance(at) for at in (index, base))
            adjustment = size - float(model.means[index] - model.means[base])
            size = math.log(own / other) / model.unit + adjustment
        if model.pooled:
            c = model.covariance
            variance = float(c[index, index] + c[base, base] - 2.0 * c[index, base])
            return _Contrast(size, model.sigma * math.sqrt(variance), model.df, 1.0 / variance)
        return _own(model, index, base, size)

    @property
    def _choices(self) -> int:
        """2 where the data rejected a common spread: they often look unequal by chance then."""
        return 1 if self._model.pooled else 2

    @property
    def _comparisons(self) -> int:
        """Of all pairs, because the data choose the best; of all others with a baseline."""
        others = self._compared - 1
        return max(1, others if self._chosen else others * self._compared // 2)

    def _critical(self, df: float, information: float) -> float:
        if self._sequential:
            return sequential_t(df, information, self._comparisons, LEVEL)
        df, level = _rounded(df), LEVEL / self._choices
        if self._chosen:
            return modulus_t(self._compared - 1, self._correlation, df, level)
        return range_t(self._compared, df, level)

    def _p(self, contrast: _Contrast) -> float:
        if self._sequential:
            return sequential_p(contrast.t, contrast.df, contrast.information, self._comparisons)
        df = _rounded(contrast.df)
        if self._chosen:
            p = modulus_p(contrast.t, self._compared - 1, self._correlation, df)
        else:
            p = range_p(contrast.t, self._compared, df)
        return min(1.0, self._choices * p)

    def _difference(self, index: int, size: float) -> float:
        """A difference on the model's scale as a difference of the metric."""
        size = size * self._model.unit
        if self._model.scale == "linear":
            return size
        change = self._distance(self._reference) * math.expm1(min(size, 700.0))
        return -change if falls(self._model.scale) else change

    def _distance(self, index: int) -> float:
        mean = np.array([self._final[index]], dtype=np.float64)
        return float(distance(mean, self._model.scale)[0])


def _own(model: Model, index: int, base: int, size: float) -> _Contrast | None:
    """Games and Howell: the spreads of the two schedules alone, with Welch's degrees of freedom."""
    counts = model.counts[[index, base]]
    if counts.min() < 2:
        return None
    errors = model.own[[index, base]] / np.sqrt(counts)
    error = math.hypot(*errors)
    if not error > ROUNDING:
        return None
    shares = (errors / error) ** 2
    return _Contrast(size, error, float(1.0 / (shares**2 / (counts - 1)).sum()))


def _rounded(df: float) -> float:
    """Degrees of freedom in steps of 0.1 %, so that quantiles are computed once."""
    return float(f"{df:.3g}") if df < 1e6 else math.inf


def _least_correlation(model: Model, reference: int) -> float:
    """The smallest correlation between two differences to the reference, rounded down."""
    others = np.flatnonzero(model.counts > 0)
    others = others[others != reference]
    if others.size < 2:
        return 0.0
    c = model.covariance
    if not model.pooled:
        largest = max(float(np.nanmax(model.own, initial=0.0)), 1e-300)
        relative = np.nan_to_num(model.own) / largest
        c = np.diag(relative**2 / np.maximum(model.counts, 1))
    base = c[reference, reference]
    cross = c[np.ix_(others, others)] - c[reference, others] - c[others, reference][:, np.newaxis]
    cross = cross + base
    sizes = np.sqrt(np.diag(cross))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = cross / np.outer(sizes, sizes)
    least = float(correlations[~np.eye(others.size, dtype=bool)].min())
    if not math.isfinite(least):
        return 0.0
    return min(0.99, max(0.0, math.floor(least * 100.0 + 1e-9) / 100.0))

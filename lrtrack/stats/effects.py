"""Differences between schedules, with intervals that hold for all of them at once.

Against the best: Tukey's studentized range. The data choose the best, so that the differences to
it are the most favourable of all pairs; Tukey's intervals hold for all pairs at once. Hsu's
multiple comparisons with the best are narrower, but let one of several equally good schedules be
called worse. Against a baseline that was named beforehand: Dunnett's test. Spreads that differ
between schedules change the standard errors and their degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrtrack._optional import load
from lrtrack.stats.figures import Effect
from lrtrack.stats.samples import LEVEL
from lrtrack.stats.scale import distance, falls, farthest
from lrtrack.stats.sequential import sequential_p, sequential_t
from lrtrack.stats.spread_model import Model
from lrtrack.stats.studentized import modulus_p, modulus_t, range_p, range_t

#: The power at which `seeds_to_tell` counts as enough.
POWER = 0.8
#: More seeds than this are not computed.
_MOST_SEEDS = 100_000
#: The steps of degrees of freedom that are not whole.
_STEP = 1.02
#: Satterthwaite's approximation says nothing below this.
_LEAST_DF = 0.7


@dataclass(frozen=True)
class _Contrast:
    """A difference on the model's scale, with its standard error.

    `pair` is the mean variance of a run of the two schedules.
    """

    size: float
    error: float
    df: float
    pair: float

    @property
    def information(self) -> float:
        """The variance of a run over that of the difference."""
        return self.pair / self.error**2

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
        self._correlation = model.least_correlation(reference) if chosen else 0.0
        self._differences = None if model.sigma is None else model.differences(reference)

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
        seeds = 2
        while self._power(contrast, seeds) < POWER:
            seeds *= 2
            if seeds > _MOST_SEEDS:
                return None
        low = seeds // 2
        while seeds - low > 1:
            middle = (low + seeds) // 2
            if self._power(contrast, middle) < POWER:
                low = middle
            else:
                seeds = middle
        # The observed numbers did not show it.
        return max(seeds, int(self._model.counts[[index, self._reference]].min()) + 1)

    def _power(self, contrast: _Contrast, seeds: int) -> float:
        df = (seeds - 1) * self._df_per_seed * contrast.df / self._model.df
        shift = abs(contrast.size) / math.sqrt(2.0 * contrast.pair / seeds)
        if shift > 50.0:
            return 1.0
        critical = self._critical(df, seeds / 2.0)
        if math.isinf(critical):
            return 0.0
        return float(load("scipy.special").nctdtr(df, -shift, -critical))

    @property
    def _df_per_seed(self) -> float:
        """The degrees of freedom that one more seed of each schedule adds."""
        return float(self._compared - (self._model.seeds > 0))

    def _contrast(self, index: int) -> _Contrast | None:
        model, base, all_of = self._model, self._reference, self._differences
        if index == base or all_of is None or not model.counts[[index, base]].all():
            return None
        size, error = float(all_of.sizes[index]), float(all_of.errors[index])
        if not (error > 0.0 and all_of.df[index] > 0.0):
            return None
        if model.scale != "linear":
            # The logarithm of the ratio of means, not of geometric means, as the report shows.
            own, other = (self._distance(at) for at in (index, base))
            adjustment = size - float(model.means[index] - model.means[base])
            size = math.log(own / other) / model.unit + adjustment
        return _Contrast(size, error, float(all_of.df[index]), float(all_of.pair[index]))

    @property
    def _comparisons(self) -> int:
        """Of all pairs, because the data choose the best; of all others with a baseline."""
        others = self._compared - 1
        return max(1, others if self._chosen else others * self._compared // 2)

    def _critical(self, df: float, information: float) -> float:
        if self._sequential:
            return sequential_t(df, information, self._comparisons, LEVEL)
        if self._chosen:
            return modulus_t(self._compared - 1, self._correlation, _rounded(df))
        return range_t(self._compared, _rounded(df))

    def _p(self, contrast: _Contrast) -> float:
        if self._sequential:
            return sequential_p(contrast.t, contrast.df, contrast.information, self._comparisons)
        df = _rounded(contrast.df)
        if self._chosen:
            return modulus_p(contrast.t, self._compared - 1, self._correlation, df)
        return range_p(contrast.t, self._compared, df)

    def _difference(self, index: int, size: float) -> float:
        """A difference on the model's scale as a difference of the metric."""
        size = size * self._model.unit
        if self._model.scale == "linear":
            return size
        own = self._distance(self._reference)
        change = min(own * math.expm1(min(size, 700.0)), farthest(self._model.scale) - own)
        return -change if falls(self._model.scale) else change

    def _distance(self, index: int) -> float:
        mean = np.array([self._final[index]], dtype=np.float64)
        return float(distance(mean, self._model.scale)[0])


def _rounded(df: float) -> float:
    """Degrees of freedom, rounded down by up to 2 % unless whole, so that quantiles repeat."""
    if df >= 1e6:
        return math.inf
    df = max(df, _LEAST_DF)
    if abs(df - round(df)) < 1e-9 * df:
        return float(round(df))
    return float(_STEP ** math.floor(math.log(df) / math.log(_STEP)))

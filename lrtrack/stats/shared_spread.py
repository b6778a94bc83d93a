"""How much of each schedule's spread is the common one, and how much is its own.

Few runs tell little about the spread of one schedule, but those of many schedules a lot about one
that they share. A schedule may spread more than the others, though, and the common spread then
makes differences to it look certain. So each schedule's variance here is a mean of the common
one and its own. The weight of its own is the probability that it spreads more, given how far its
runs and those of the others spread. At weight 0 for all, differences are judged as by Tukey, at
weight 1 as by Games and Howell; no test decides between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The probability, before any run, that a schedule spreads more than the others.
UNEQUAL = 0.3
#: How much more, if so: the logarithm of the ratio of variances is exponential with this mean, so
#: that spreads four times as large are common. Beyond the longest, schedules are told apart anyway.
_MEAN_RATIO, _LONGEST, _NODES = 2.9, 14.0, 41
#: A variance that is larger than the others' by more than this counts as this much in the common
#: one; the second figure is for one degree of freedom of the others.
_CAP, _CAP_PER_DF = 10.0, 40.0
#: Degrees of freedom below this are rounding.
_NO_DF = 1e-6
#: The smallest weight of a schedule's runs beside the largest; less makes rounding errors grow.
_LIGHTEST = 1e-8
_FIRST_ROUNDS, _ROUNDS = 4, 6

#: The sums of squares and their degrees of freedom, both of shape (k,), of a model in which each
#: schedule's runs have the given weight, shape (k,).
Residuals = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Spreads:
    """The variances of schedules, with what is needed for the degrees of freedom of their sums.

    Attributes:
        variances: shape (k,): what counts as the variance of each schedule's runs.
        own: shape (k,), from 0 to 1: the weight of the schedule's own variance in that.
        df: shape (k,): degrees of freedom of each schedule's own variance.
        common: the variance that is shared.
        shares: shape (k,): the weights of the schedules in that; their sum is 1.
    """

    variances: Floats
    own: Floats
    df: Floats
    common: float
    shares: Floats

    def summed(self, factors: Floats, dependence: float = 1.0) -> tuple[Floats, Floats]:
        """Weighted sums of the variances, and their degrees of freedom by Satterthwaite.

        Args:
            factors: shape (c, k), the weights of each sum.
            dependence: by how much the common variance has fewer degrees of freedom than the
                schedules' own ones add up to, from 0 to 1.

        Returns:
            Two arrays of shape (c,).
        """
        sums = factors @ self.variances
        shared = (factors @ (1.0 - self.own))[:, np.newaxis]
        shared = shared * (self.shares * self.variances)
        alone = factors * (self.own * self.variances)
        squares = shared**2 / dependence + 2.0 * shared * alone + alone**2
        inverse = np.divide(1.0, self.df, out=np.zeros_like(self.df), where=self.df > _NO_DF)
        spread = squares @ inverse
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums, np.where(spread > 0.0, sums**2 / spread, 0.0)


def shared(
    residuals: Residuals, smallest: Floats, unequal: float = UNEQUAL, *, weighted: bool = False
) -> Spreads:
    """Estimate the variances; a schedule that spreads more weighs less in its seeds' effects.

    Args:
        residuals: fits the model with the given weights of runs.
        smallest: shape (k,), above 0: variances below this cannot be seen in the values.
        unequal: the probability, before any run, that a schedule spreads more.
        weighted: whether weights make a difference to the residuals.
    """
    weights = np.ones_like(smallest)
    squares, df = residuals(weights)
    if (df > _NO_DF).sum() < 2:
        unequal = 0.0
    if unequal > 0.0 and weighted:
        # Without this start, one huge spread would seem to be that of all who share its seeds.
        for _ in range(_FIRST_ROUNDS):
            own = _own(squares, df, smallest)
            known = own[df > _NO_DF]
            if known.size:
                own = np.maximum(own, 1e-3 * float(np.median(known)))
            weights = _inverse(own, df)
            squares, df = residuals(weights)
    found = _mixed(_own(squares, df, smallest), df, np.zeros_like(df), unequal)
    for _ in range(_ROUNDS):
        if unequal <= 0.0:
            break
        before = found
        squares, df = residuals(_inverse(found.variances, df))
        found = _mixed(_own(squares, df, smallest), df, before.own, unequal)
        if np.abs(np.log(found.variances / before.variances)).max() < 1e-3:
            break
    return found


def _own(squares: Floats, df: Floats, smallest: Floats) -> Floats:
    """Each schedule's own variance; the smallest one without degrees of freedom."""
    own = np.divide(squares, df, out=np.zeros_like(df), where=df > _NO_DF)
    return np.asarray(np.maximum(own, smallest))


def _inverse(variances: Floats, df: Floats) -> Floats:
    """Weights of runs, of which the largest is 1; of a schedule with unknown spread the median."""
    known = df > _NO_DF
    weights = 1.0 / variances
    weights = np.where(known, weights, np.median(weights[known]) if known.any() else 1.0)
    return np.asarray(np.maximum(weights / weights.max(), _LIGHTEST))


def _mixed(own: Floats, df: Floats, weight: Floats, unequal: float) -> Spreads:
    """Mix own and common variances, given the weights of the own ones in the round before."""
    known = df > _NO_DF
    counted = np.where(known, (1.0 - weight**3) * df, 0.0)
    others_df = counted @ (1.0 - np.eye(counted.size))
    capped = own
    for _ in range(3):  # several large variances hide each other
        others = _others(counted, capped, others_df)
        limits = others * (_CAP + _CAP_PER_DF / np.maximum(others_df, _NO_DF))
        limits = np.where(others_df > _NO_DF, limits, own)
        capped = np.minimum(own, limits)
    others = np.where(others_df > _NO_DF, _others(counted, capped, others_df), own)
    weight = np.zeros_like(own)
    compared = known & (others_df > _NO_DF)
    ratios = np.log(own[compared] / others[compared])
    weight[compared] = _larger(ratios, df[compared], others_df[compared], unequal)
    counted = np.where(known, (1.0 - weight**3) * df, 0.0)
    if not counted.sum() > 0.0:
        counted = np.where(known, df, 0.0)
    shares = counted / max(float(counted.sum()), _NO_DF)
    common = float(shares @ np.minimum(own, limits))
    return Spreads((1.0 - weight) * common + weight * own, weight, df, common, shares)


def _others(counted: Floats, variances: Floats, df: Floats) -> Floats:
    """For each schedule the common variance of the others."""
    rest = (counted * variances) @ (1.0 - np.eye(counted.size))  # a difference would be rounded
    return np.asarray(np.where(df > _NO_DF, rest / np.maximum(df, _NO_DF), np.inf))


def _larger(ratios: Floats, df: Floats, others_df: Floats, unequal: float) -> Floats:
    """The probability that a schedule's variance is larger than that of the others, by Bayes.

    Args:
        ratios: logarithms of the observed ratios of variances, shape (c,); their densities are
            those of Fisher's z.
    """
    if unequal >= 1.0:
        return np.ones_like(ratios)
    if unequal <= 0.0:
        return np.zeros_like(ratios)
    true = np.linspace(0.0, _LONGEST, _NODES)
    prior = np.exp(-true / _MEAN_RATIO)

    def log_density(z: Floats) -> Floats:
        d, e = df[:, np.newaxis], others_df[:, np.newaxis]
        return np.asarray(0.5 * d * z - 0.5 * (d + e) * np.logaddexp(0.0, np.log(d / e) + z))

    ratios = np.clip(ratios, -600.0, 600.0)[:, np.newaxis]
    gains = log_density(ratios - true) - log_density(ratios)
    largest = gains.max(axis=1, keepdims=True)
    gain = largest[:, 0] + np.log(np.exp(gains - largest) @ (prior / prior.sum()))
    odds = np.log(unequal / (1.0 - unequal)) + gain
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0))))

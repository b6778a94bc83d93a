"""Spread over runs, confidence intervals, and the time until a target is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.records import History, one_by_one, recorded
from lrtrack.stats.figures import GradNorm, Reach, Spread
from lrtrack.stats.quantiles import quantile
from lrtrack.stats.samples import Sample
from lrtrack.stats.scale import distance, farthest
from lrtrack.stats.spread_model import ROUNDING, Model
from lrtrack.stats.summary import RunSummary, finite

#: How an interval was computed, see `Interval`.
Method = Literal["t-own", "t-pooled", "t-pooled-log"]

#: The fewest values for an interquartile mean; below, it is the median.
FEWEST_FOR_IQM = 4


def spread_of(values: Sequence[float | None]) -> Spread:
    """Describe `values`, one per run; None stands for a run without a value.

    Their order affects only `Spread.values`.
    """
    present = np.sort(np.array([value for value in values if value is not None], dtype=np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        return Spread(
            mean=finite(present.mean()) if present.size else None,
            std=_deviation(present) if present.size > 1 else None,
            median=finite(np.median(present)) if present.size else None,
            ci95=interval(present),
            min=float(present[0]) if present.size else None,
            max=float(present[-1]) if present.size else None,
            values=tuple(values),
            iqm=interquartile_mean(present),
        )


def _deviation(ordered: NDArray[np.float64]) -> float | None:
    """The sample standard deviation, 0 for equal values whose mean is rounded."""
    return 0.0 if ordered[0] == ordered[-1] else finite(ordered.std(ddof=1))


def interquartile_mean(values: NDArray[np.float64]) -> float | None:
    """The mean without the lowest and the highest quarter; None below 4 values."""
    if values.size < FEWEST_FOR_IQM:
        return None
    return finite(float(middle_mean(values)))


def middle_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row, shape (…, n), without the lowest and the highest quarter of it."""
    size = values.shape[-1]
    cut = size // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : size - cut].mean(axis=-1))


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean by Student's t, with the spread of these values alone.

    Returns:
        Low and high end; None below 2 values, and where all are equal up to rounding.
    """
    if values.size < 2:
        return None
    unit = float(np.abs(values).max())
    if unit == 0.0:
        return None
    scaled = np.sort(values) / unit
    deviation = float(scaled.std(ddof=1))
    if deviation <= ROUNDING:
        return None
    half = t_quantile(values.size - 1) * deviation / math.sqrt(values.size)
    mean = float(scaled.mean())
    return _finite_ends((mean - half) * unit, (mean + half) * unit)


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval of a mean, and how it was computed.

    `t-own`: Student's t with the schedule's own spread; `t-pooled`: with the spread that schedules
    share; `t-pooled-log`: the same for the logarithms, see `lrtrack.stats.scale`.
    """

    ends: tuple[float, float] | None
    method: Method | None


def intervals(model: Model, samples: Sequence[Sample]) -> list[Interval]:
    """The interval of each schedule's mean over the runs that ended.

    The spread is that over runs, the effect of the seed included, and is shared by all schedules
    as far as their spreads are alike, see `lrtrack.stats.shared_spread`.
    """
    return [_interval(model, at, sample.ended) for at, sample in enumerate(samples)]


def _interval(model: Model, index: int, values: NDArray[np.float64]) -> Interval:
    if values.size < 2 or model.sigma is None:
        return Interval(None, None)
    if (model.counts > 1).sum() < 2:
        ends = interval(values)
        return Interval(ends, None if ends is None else "t-own")
    factors = np.zeros((1, model.counts.size))
    factors[0, index] = 1.0
    variances, df = model.total.summed(factors, model.dependence)
    total = math.sqrt(variances[0]) * model.unit
    half = t_quantile(df[0]) * total / math.sqrt(values.size)
    with np.errstate(over="ignore"):
        mean = float(np.sort(values).mean())
    if model.scale == "linear":
        return _named(_finite_ends(mean - half, mean + half), "t-pooled")
    # The logarithm of a mean of lognormal values varies as (e^σ² - 1) / n instead of σ² / n.
    variance = total * total
    half = min(700.0, half * math.sqrt(math.expm1(min(variance, 700.0)) / variance))
    size = float(distance(np.array([mean]), model.scale)[0])
    low, high = size * math.exp(-half), min(size * math.exp(half), farthest(model.scale))
    low, high = sorted(map(float, distance(np.array([low, high]), model.scale)))
    return _named(_finite_ends(low, high), "t-pooled-log")


def _named(ends: tuple[float, float] | None, method: Method) -> Interval:
    return Interval(ends, None if ends is None else method)


def _finite_ends(low: float, high: float) -> tuple[float, float] | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def t_quantile(df: float) -> float:
    """The 97.5 % quantile of Student's t."""
    return float(load("scipy.special").stdtrit(df, 0.975))


def grad_norm_of(histories: Sequence[History]) -> GradNorm:
    """Pool the runs' finite gradient norms."""
    # One preallocated array: a thousand long runs do not fit into memory twice.
    pool = np.empty(sum(history.steps.size for history in histories))
    size = 0
    for history in one_by_one(histories):
        name = history.name_of("grad_norm")
        if name is None:
            continue
        norms = recorded(history, name, history.metrics[name])
        usable = np.isfinite(norms)
        norms = norms if usable.all() else norms[usable]
        pool[size : size + norms.size] = norms
        size += norms.size
    pool = pool[:size]
    if not size:
        return GradNorm(None, None, None)
    return GradNorm(quantile(pool, 0.5), quantile(pool, 0.95), float(pool.max()))


def steps_to_target(runs: Sequence[RunSummary]) -> Reach:
    """The step at which runs reached the target."""
    hits = [(run.target_step, run.target_gap) for run in runs]
    return reach_of(runs, hits, [run.steps - 1 for run in runs])


def seconds_to_target(runs: Sequence[RunSummary]) -> Reach:
    """The seconds after their first step at which runs reached the target."""
    hits = [(run.target_second, run.target_gap_seconds) for run in runs]
    return reach_of(runs, hits, [run.last_second for run in runs])


def reach_of(
    runs: Sequence[RunSummary],
    hits: Sequence[tuple[float | None, float | None]],
    ends: Sequence[float],
) -> Reach:
    """Kaplan-Meier estimate; a run that ended before the target is censored at its end.

    A diverged run would never have reached the target, so it stays at risk until the last event.
    A run without the metric is not counted. Between two records that are more than a step apart,
    the target counts as reached in their middle.

    Args:
        hits: for each run when it reached the target, and the time since the record before.
        ends: when each run ended.
    """
    halves = [
        gap / 2.0
        for run, (_, gap) in zip(runs, hits, strict=True)
        if gap is not None and (run.target_gap or 1) > 1
    ]
    reached = [
        float(hit) - (gap / 2.0 if gap is not None and (run.target_gap or 1) > 1 else 0.0)
        for run, (hit, gap) in zip(runs, hits, strict=True)
        if hit is not None
    ]
    last = max([*reached, *ends], default=0.0)
    censored = [
        float(last if run.diverged else end)
        for run, (hit, _), end in zip(runs, hits, ends, strict=True)
        if hit is None and run.recorded
    ]
    resolution = float(np.median(halves)) if halves else None
    return Reach(len(reached), median_time(reached, censored), resolution)


def median_time(reached: Sequence[float], censored: Sequence[float]) -> float | None:
    """Kaplan-Meier median; the plain median if all runs reach, None if fewer than half do.

    If the curve stays at exactly one half for some time, the middle of that time is returned.
    """
    if not reached or len(reached) < len(censored):
        return None
    stats = load("scipy.stats")
    curve = stats.ecdf(stats.CensoredData(uncensored=reached, right=censored)).sf
    share = np.asarray(curve.probabilities)
    half = np.flatnonzero(share <= 0.5 + 1e-9)
    if not half.size:
        return None
    below = np.flatnonzero(share < 0.5 - 1e-9)
    first = float(curve.quantiles[half[0]])
    if half[0] in below or not below.size:
        return first
    return (first + float(curve.quantiles[below[0]])) / 2.0

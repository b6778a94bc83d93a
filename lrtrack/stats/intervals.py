"""Spread over runs, confidence intervals, and the time until a target is reached."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.records import History, one_by_one
from lrtrack.stats.result import GradNorm, Reach, Spread
from lrtrack.stats.summary import RunSummary, finite

#: The seed of the bootstrap: the same runs always give the same interval.
SEED = 20_240_229
#: The fewest values for a confidence interval; below, it would be far too narrow.
FEWEST_FOR_INTERVAL = 3
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
            std=finite(present.std(ddof=1)) if present.size > 1 else None,
            median=finite(np.median(present)) if present.size else None,
            ci95=interval(present),
            min=float(present[0]) if present.size else None,
            max=float(present[-1]) if present.size else None,
            values=tuple(values),
            iqm=interquartile_mean(present),
        )


def interquartile_mean(values: NDArray[np.float64]) -> float | None:
    """The mean without the lowest and the highest quarter; None below 4 values."""
    if values.size < FEWEST_FOR_IQM:
        return None
    return finite(load("scipy.stats").trim_mean(values, 0.25))


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, by the bias-corrected accelerated bootstrap (BCa).

    If all values are equal, both ends are that value. Where the correction is undefined, for
    example for values whose differences are tiny compared with their size, the percentile
    interval is returned.

    Returns:
        Low and high end; None below 3 values.
    """
    if values.size < FEWEST_FOR_INTERVAL:
        return None
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, high
    # Resampling draws by position, so sorting makes the result independent of the order.
    ordered = np.sort(values)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            bootstrap = (
                load("scipy.stats")
                .bootstrap((ordered,), np.mean, method=method, rng=np.random.default_rng(SEED))
                .confidence_interval
            )
        ends = finite(bootstrap.low), finite(bootstrap.high)
        if ends[0] is not None and ends[1] is not None:
            # A mean lies within its values, but rounding may have moved it slightly outside.
            return max(low, ends[0]), min(high, ends[1])
    return None


def grad_norm_of(histories: Sequence[History]) -> GradNorm:
    """Pool the runs' finite gradient norms."""
    # One preallocated array: a thousand long runs do not fit into memory twice.
    pool = np.empty(sum(history.steps.size for history in histories))
    size = 0
    for history in one_by_one(histories):
        norms = history.series("grad_norm")[1]
        norms = norms[np.isfinite(norms)]
        pool[size : size + norms.size] = norms
        size += norms.size
    pool = pool[:size]
    if not size:
        return GradNorm(None, None, None)
    largest = float(pool.max())
    median, p95 = np.percentile(pool, [50.0, 95.0], overwrite_input=True)
    return GradNorm(float(median), float(p95), largest)


def steps_to_target(runs: Sequence[RunSummary]) -> Reach:
    """The step at which runs reached the target."""
    return _reach(runs, [run.target_step for run in runs], [run.steps - 1 for run in runs])


def seconds_to_target(runs: Sequence[RunSummary]) -> Reach:
    """The seconds after their first step at which runs reached the target."""
    return _reach(runs, [run.target_second for run in runs], [run.last_second for run in runs])


def _reach(
    runs: Sequence[RunSummary], hits: Sequence[float | None], ends: Sequence[float]
) -> Reach:
    """Kaplan-Meier estimate; a run that ended before the target is censored at its end.

    A diverged run would never have reached the target, so it stays at risk until the last event.
    A run without the metric is not counted.
    """
    reached = [float(hit) for hit in hits if hit is not None]
    last = max([*reached, *ends], default=0.0)
    censored = [
        float(last if run.diverged else end)
        for run, hit, end in zip(runs, hits, ends, strict=True)
        if hit is None and run.recorded
    ]
    return Reach(len(reached), median_time(reached, censored))


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

"""A figure's spread over runs, its confidence interval, and the time until a target is met."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.records import History, one_by_one
from lrtrack.stats.result import GradNorm, Reach, Spread
from lrtrack.stats.summary import RunSummary, finite

#: So that the same runs always give the same interval.
SEED = 20_240_229
#: An interval over fewer runs would pretend to know more than it does.
FEWEST_FOR_INTERVAL = 3
#: With fewer, the middle half is no more than the median.
FEWEST_FOR_IQM = 4


def spread_of(values: Sequence[float | None]) -> Spread:
    """Describe `values`, one a run; None stands for a run without one.

    Order changes nothing but `Spread.values`.
    """
    kept = np.sort(np.array([value for value in values if value is not None], dtype=np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        return Spread(
            mean=finite(kept.mean()) if kept.size else None,
            std=finite(kept.std(ddof=1)) if kept.size > 1 else None,
            median=finite(np.median(kept)) if kept.size else None,
            ci95=interval(kept),
            min=float(kept[0]) if kept.size else None,
            max=float(kept[-1]) if kept.size else None,
            values=tuple(values),
            iqm=interquartile_mean(kept),
        )


def interquartile_mean(values: NDArray[np.float64]) -> float | None:
    """Mean without the lowest and the highest quarter; None under 4 values."""
    if values.size < FEWEST_FOR_IQM:
        return None
    return finite(load("scipy.stats").trim_mean(values, 0.25))


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, by the bias-corrected accelerated bootstrap.

    Values that are all equal give themselves. Where the correction is not defined, as for values
    whose differences vanish beside their size, the plain percentile interval stands in.

    Returns:
        Low and high end; None under 3 values.
    """
    if values.size < FEWEST_FOR_INTERVAL:
        return None
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, high
    ordered = np.sort(values)  # resampling picks by position: order must not matter
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = (
                load("scipy.stats")
                .bootstrap((ordered,), np.mean, method=method, rng=np.random.default_rng(SEED))
                .confidence_interval
            )
        ends = finite(found.low), finite(found.high)
        if ends[0] is not None and ends[1] is not None:
            # a mean of values lies among them; rounding may have moved it out by a hair
            return max(low, ends[0]), min(high, ends[1])
    return None


def grad_norm_of(histories: Sequence[History]) -> GradNorm:
    """Pool the runs' finite gradient norms."""
    # One array for all of them: of a thousand long runs there is no room for two.
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
    """At which step the runs reached the target."""
    return _reach(runs, [run.target_step for run in runs], [run.steps - 1 for run in runs])


def seconds_to_target(runs: Sequence[RunSummary]) -> Reach:
    """How many seconds after their first step the runs reached the target."""
    return _reach(runs, [run.target_second for run in runs], [run.last_second for run in runs])


def _reach(
    runs: Sequence[RunSummary], hits: Sequence[float | None], ends: Sequence[float]
) -> Reach:
    """Kaplan-Meier: a run that ended before the target is only known to need longer.

    A run that diverged would never have got there, so it stays among those at risk to the last.
    One that lacks the metric says nothing.
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
    """Kaplan-Meier median; the plain median where all reach, None where under half do.

    Where the curve lies exactly at one half for a while, the middle of that while is taken.
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

"""Aggregates of scores over tasks: ranks, profiles, interquartile means and optimality gaps.

They are those of Agarwal et al., "Deep reinforcement learning at the edge of the statistical
precipice" (2021), as in their library rliable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lrtrack.stats.figures import Aggregate
from lrtrack.stats.intervals import interquartile_mean, middle_mean
from lrtrack.stats.summary import Mode, finite, worst

#: The seed of the bootstrap: the same runs always give the same interval.
SEED = 20_240_229
#: Resamples of the bootstrap.
RESAMPLES = 2000
#: Scores at which a performance profile is given.
PROFILE = tuple(round(0.5 + at / 50, 2) for at in range(76))

Floats = NDArray[np.float64]


def aggregates_of(scores: Sequence[Mapping[str, Floats]], mode: Mode) -> list[Aggregate]:
    """Each schedule's aggregates; their intervals are by the bootstrap, stratified by task.

    Args:
        scores: for each schedule the scores of its runs by task, the same tasks for all; infinitely
            bad for a run that diverged.
    """
    rng = np.random.default_rng(SEED)
    draws = [
        [_resampled(values, rng, mode) for values in of_schedule.values()] for of_schedule in scores
    ]
    ranks = mean_ranks(np.array([[_task_mean(v, mode) for v in s.values()] for s in scores]), mode)
    rank_draws = mean_ranks(np.array([[d.mean(axis=1) for d in row] for row in draws]), mode)
    result = []
    for at, (by_task, rows) in enumerate(zip(scores, draws, strict=True)):
        values = np.concatenate(list(by_task.values()))
        present = [d for d, own in zip(rows, by_task.values(), strict=True) if own.size]
        pooled = np.concatenate(present, axis=1) if present else np.empty((RESAMPLES, 0))
        gap, rank = optimality_gap(values, mode), float(ranks[at])
        result.append(
            Aggregate(
                iqm=interquartile_mean(values),
                iqm_ci95=_ends(_trimmed(pooled)),
                optimality_gap=None if gap is None else finite(gap),
                optimality_gap_ci95=_ends(_short_of(pooled, mode).mean(axis=1))
                if present
                else None,
                rank=rank,
                rank_ci95=_ends(rank_draws[at]) or (rank, rank),
                profile=profile(values, PROFILE, mode),
            )
        )
    return result


def mean_ranks(means: Floats, mode: Mode) -> Floats:
    """The ranks of schedules by their means on each task, averaged over tasks; ties share a rank.

    Args:
        means: shape (schedules, tasks, …); infinite where a schedule diverged or lacks the task.

    Returns:
        Shape (schedules, …), from 1.
    """
    ordered = means if mode == "min" else -means
    ordered = np.where(np.isnan(ordered), np.inf, ordered)
    better = (ordered[np.newaxis] < ordered[:, np.newaxis]).sum(axis=1)
    same = (ordered[np.newaxis] == ordered[:, np.newaxis]).sum(axis=1)
    return np.asarray((better + (same + 1) / 2.0).mean(axis=1))


def profile(scores: Floats, at: Sequence[float], mode: Mode) -> tuple[float, ...]:
    """The share of runs, over all tasks, whose score is better than each of `at`."""
    if not scores.size:
        return tuple(0.0 for _ in at)
    edges = np.asarray(at)[:, np.newaxis]
    better = scores < edges if mode == "min" else scores > edges
    return tuple(map(float, better.mean(axis=1)))


def optimality_gap(scores: Floats, mode: Mode, goal: float = 1.0) -> float | None:
    """How far runs fall short of the score `goal` on average; better ones count as reaching it.

    Returns:
        Infinity if a run diverged; None without runs.
    """
    return float(_short_of(scores, mode, goal).mean()) if scores.size else None


def _short_of(scores: Floats, mode: Mode, goal: float = 1.0) -> Floats:
    missing = scores - goal if mode == "min" else goal - scores
    return np.maximum(missing, 0.0)


def _task_mean(values: Floats, mode: Mode) -> float:
    return float(values.mean()) if values.size else worst(mode)


def _resampled(values: Floats, rng: np.random.Generator, mode: Mode) -> Floats:
    """Bootstrap samples of one task's runs, shape (resamples, runs): the tasks are the strata."""
    if not values.size:
        return np.full((RESAMPLES, 1), worst(mode))
    return np.asarray(values[rng.integers(values.size, size=(RESAMPLES, values.size))])


def _trimmed(pooled: Floats) -> Floats:
    """The interquartile mean of each row, shape (resamples,); empty without scores."""
    return middle_mean(pooled) if pooled.size else np.empty(0)


def _ends(draws: Floats) -> tuple[float, float] | None:
    """The 2.5 and 97.5 % quantiles; None if any draw is not finite."""
    if not draws.size or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)

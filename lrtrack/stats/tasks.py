"""Comparisons over several tasks: scores relative to the best of each, profiles and ranks.

Losses of different tasks have no common unit. Each run's final value is therefore divided by the
best schedule's mean on its task, and a task and seed together take the place of a seed. The
aggregates are those of Agarwal et al., "Deep reinforcement learning at the edge of the statistical
precipice" (2021), as in their library rliable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.errors import UsageError
from lrtrack.fields import names_of, resolve, text_of, unknown_field
from lrtrack.stats import fairness
from lrtrack.stats.figures import Aggregate, Notice, TaskScore
from lrtrack.stats.groups import Group
from lrtrack.stats.intervals import interquartile_mean, spread_of
from lrtrack.stats.ranking import Entry
from lrtrack.stats.samples import Sample
from lrtrack.stats.summary import Mode, RunSummary, finite

#: The seed of the bootstrap: the same runs always give the same interval.
SEED = 20_240_229
#: Resamples of the bootstrap.
RESAMPLES = 2000
#: Scores at which a performance profile is given.
PROFILE = tuple(round(0.5 + at / 50, 2) for at in range(76))

Floats = NDArray[np.float64]


class Tasks:
    """The runs of several tasks.

    Args:
        entries: one per schedule, with the metric's own values.
        task: the field that names a run's task.
        mode: whether small or large values are better.

    Raises:
        UsageError: no run has the field, or all have one value of it.
    """

    def __init__(self, entries: Sequence[Entry], task: str, mode: Mode) -> None:
        known = names_of([h.fields() for entry in entries for h in entry.group.histories])
        field = resolve(task, known)
        if field is None:
            raise unknown_field("compare tasks by", task, known)
        self._mode = mode
        self._tasks = [
            [text_of(history.fields().get(field)) for history in entry.group.histories]
            for entry in entries
        ]
        self._entries, self._field = list(entries), field
        self.names = tuple(sorted({name for names in self._tasks for name in names}))
        if len(self.names) < 2:
            raise UsageError(f"All runs have the task {self.names[0]!r}: there is nothing to join.")
        self._best = {name: self._best_of(name) for name in self.names}
        self._blocks: dict[tuple[str, int], int] = {}

    def relative(self) -> list[Entry]:
        """The entries with scores instead of values, paired by task and seed."""
        return [self._relative(at) for at in range(len(self._entries))]

    def summaries(self) -> dict[str, dict[str, Any]]:
        """By the label of each schedule the fields of its summary that are about tasks."""
        relative = self.relative()
        pairs = zip(relative, self.aggregates(relative), strict=True)
        return {
            entry.group.label: {
                "tasks": self.scores(at),
                "across": across,
                "best": spread_of([None] * len(entry.runs)),
            }
            for at, (entry, across) in enumerate(pairs)
        }

    def scores(self, index: int) -> tuple[TaskScore, ...]:
        """The means of schedule `index` on each task, in the order of `names`."""
        return tuple(
            TaskScore(
                task=name,
                runs=self._tasks[index].count(name),
                mean=self._mean(index, name),
                score=self._score(self._mean(index, name), name),
            )
            for name in self.names
        )

    def aggregates(self, relative: Sequence[Entry]) -> list[Aggregate]:
        """Each schedule's aggregates over tasks, given the result of `relative`."""
        scores = [self._by_task(at, entry) for at, entry in enumerate(relative)]
        rng = np.random.default_rng(SEED)
        draws = [
            [_resampled(values, rng, self._mode) for values in of_schedule.values()]
            for of_schedule in scores
        ]
        ranks = mean_ranks(
            np.array([[_task_mean(v, self._mode) for v in s.values()] for s in scores]), self._mode
        )
        means = np.array([[d.mean(axis=1) for d in row] for row in draws])
        rank_draws = mean_ranks(means, self._mode)
        result = []
        for at, entry in enumerate(relative):
            flat = entry.sample.ended
            pooled = np.concatenate([d for d in draws[at] if d.size], axis=1)
            pooled = np.sort(np.where(np.isfinite(pooled), pooled, np.nan), axis=1)
            result.append(
                Aggregate(
                    iqm=interquartile_mean(np.sort(flat)),
                    iqm_ci95=_ends(_trimmed(pooled)),
                    rank=float(ranks[at]),
                    rank_ci95=_ends(rank_draws[at]) or (float(ranks[at]), float(ranks[at])),
                    profile=profile(np.array(entry.sample.values), PROFILE, self._mode),
                )
            )
        return result

    def notices(self, metric: str) -> Iterator[Notice]:
        """The warnings of each task by itself, and of schedules that lack one."""
        lacking = [
            entry.group.label
            for entry, names in zip(self._entries, self._tasks, strict=True)
            if set(names) != set(self.names)
        ]
        if lacking:
            shown = ", ".join(lacking[:3]) + f" and {len(lacking) - 3} more" * (len(lacking) > 3)
            yield Notice(
                "tasks-missing",
                f"Not every schedule ran on all {len(self.names)} tasks ({shown}): its scores are "
                "those of the tasks it has.",
            )
        for name in self.names:
            groups, runs = self._groups(name)
            for notice in fairness.notices(groups, runs, metric):
                yield replace(notice, message=f"{name}: {notice.message}")

    def _groups(self, name: str) -> tuple[list[Group], list[tuple[RunSummary, ...]]]:
        """The runs of one task."""
        groups, summaries = [], []
        for entry, tasks in zip(self._entries, self._tasks, strict=True):
            kept = [at for at, task in enumerate(tasks) if task == name]
            if kept:
                histories = tuple(entry.group.histories[at] for at in kept)
                fields = (*entry.group.fields, self._field)
                groups.append(Group(fields, entry.group.label, histories))
                summaries.append(tuple(entry.runs[at] for at in kept))
        return groups, summaries

    def _mean(self, index: int, name: str) -> float | None:
        values = [
            value
            for value, task in zip(
                self._entries[index].final.values, self._tasks[index], strict=True
            )
            if task == name and value is not None
        ]
        return finite(float(np.mean(values))) if values else None

    def _best_of(self, name: str) -> float | None:
        means = [self._mean(at, name) for at in range(len(self._entries))]
        present = [mean for mean in means if mean is not None]
        choose = min if self._mode == "min" else max
        return choose(present, default=None)

    def _score(self, value: float | None, name: str) -> float | None:
        """A value relative to the best mean: their ratio where both are above 0."""
        best = self._best[name]
        if value is None or best is None:
            return None
        unit = abs(best) or max(
            (abs(mean) for at in range(len(self._entries)) if (mean := self._mean(at, name))),
            default=1.0,
        )
        return finite(1.0 + (value - best) / unit)

    def _relative(self, index: int) -> Entry:
        entry, tasks = self._entries[index], self._tasks[index]
        worst = math.inf if self._mode == "min" else -math.inf
        scores = [
            self._score(value, task) for value, task in zip(entry.final.values, tasks, strict=True)
        ]
        compared = [
            (run, worst if run.diverged else score, task)
            for run, score, task in zip(entry.runs, scores, tasks, strict=True)
            if run.diverged or score is not None
        ]
        sample = Sample(
            values=tuple(worst if score is None else score for _, score, _ in compared),
            seeds=tuple(self._block(task, run.seed) for run, _, task in compared),
        )
        return replace(
            entry, final=spread_of(scores), sample=sample, median=sample.median(self._mode)
        )

    def _block(self, task: str, seed: int | None) -> int | None:
        if seed is None:
            return None
        return self._blocks.setdefault((task, seed), len(self._blocks))

    def _by_task(self, index: int, entry: Entry) -> Mapping[str, Floats]:
        """All scores of a schedule on each task, divergence as the worst."""
        worst = math.inf if self._mode == "min" else -math.inf
        rows = list(zip(entry.runs, entry.final.values, self._tasks[index], strict=True))
        return {
            name: np.array(
                [
                    worst if run.diverged else score
                    for run, score, task in rows
                    if task == name and (run.diverged or score is not None)
                ],
                dtype=np.float64,
            )
            for name in self.names
        }


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


def optimality_gap(scores: Floats, mode: Mode, goal: float = 1.0) -> float:
    """How far runs fall short of the score `goal` on average; better ones count as reaching it."""
    short = np.maximum(scores - goal, 0.0) if mode == "min" else np.maximum(goal - scores, 0.0)
    return float(short.mean())


def _task_mean(values: Floats, mode: Mode) -> float:
    return float(values.mean()) if values.size else math.inf if mode == "min" else -math.inf


def _resampled(values: Floats, rng: np.random.Generator, mode: Mode) -> Floats:
    """Bootstrap samples of one task's runs, shape (resamples, runs): the tasks are the strata."""
    if not values.size:
        return np.full((RESAMPLES, 1), math.inf if mode == "min" else -math.inf)
    return np.asarray(values[rng.integers(values.size, size=(RESAMPLES, values.size))])


def _trimmed(ordered: Floats) -> Floats:
    """The interquartile mean of each row, shape (resamples,)."""
    cut = ordered.shape[1] // 4
    return np.asarray(ordered[:, cut : ordered.shape[1] - cut].mean(axis=1))


def _ends(draws: Floats) -> tuple[float, float] | None:
    """The 2.5 and 97.5 % quantiles; None if any draw is not finite."""
    if not draws.size or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)

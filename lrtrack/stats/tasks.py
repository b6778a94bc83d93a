"""Comparisons over several tasks: scores relative to the best of each, profiles and ranks.

Losses of different tasks have no common unit. Each run's final value is therefore divided by the
best schedule's mean on its task, and a task and seed together take the place of a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lrtrack.errors import UsageError
from lrtrack.fields import text_of
from lrtrack.stats import fairness
from lrtrack.stats.aggregates import Floats, aggregates_of
from lrtrack.stats.figures import Aggregate, Notice, TaskScore
from lrtrack.stats.groups import Group, noun_of
from lrtrack.stats.intervals import seconds_to_target, spread_of, steps_to_target
from lrtrack.stats.ranking import Entry, sample_of
from lrtrack.stats.summary import Mode, RunSummary, finite, worst
from lrtrack.stats.targets import Goal, target_scores, task_field


class Tasks:
    """The runs of several tasks.

    Args:
        entries: one per schedule, with the metric's own values.
        task: the field that names a run's task.
        mode: whether small or large values are better.
        goal: the target of each run.

    Raises:
        UsageError: no run has the field, or all have one value of it.
    """

    def __init__(self, entries: Sequence[Entry], task: str, mode: Mode, goal: Goal) -> None:
        field = task_field(task, [h for entry in entries for h in entry.group.histories])
        self._mode = mode
        self._tasks = [
            [text_of(history.fields().get(field)) for history in entry.group.histories]
            for entry in entries
        ]
        self._entries, self._field = list(entries), field
        self.names = tuple(sorted({name for names in self._tasks for name in names}))
        if len(self.names) < 2:
            raise UsageError(f"All runs have the task {self.names[0]!r}. Fix: leave the tasks out.")
        self._best = {name: self._best_of(name) for name in self.names}
        self._goals = {
            name: goal(history)
            for entry, names in zip(entries, self._tasks, strict=True)
            for history, name in zip(entry.group.histories, names, strict=True)
        }
        self._blocks: dict[tuple[str, int], int] = {}
        self._scored = [self._relative(at) for at in range(len(self._entries))]

    def relative(self) -> list[Entry]:
        """The entries with scores instead of values, paired by task and seed."""
        return self._scored

    def summaries(self) -> dict[str, dict[str, Any]]:
        """By the label of each schedule the fields of its summary that are about tasks."""
        scores = [self.scores(at) for at in range(len(self._entries))]
        triples = zip(self._entries, scores, self._aggregates(scores), strict=True)
        return {
            entry.group.label: {
                "tasks": tasks,
                "across": across,
                "best": spread_of([None] * len(entry.runs)),
            }
            for entry, tasks, across in triples
        }

    def scores(self, index: int) -> tuple[TaskScore, ...]:
        """Schedule `index` on each task, in the order of `names`."""
        return tuple(self._score_on(index, name) for name in self.names)

    def _score_on(self, index: int, name: str) -> TaskScore:
        runs = [
            run
            for run, task in zip(self._entries[index].runs, self._tasks[index], strict=True)
            if task == name
        ]
        goal = self._goals[name]
        return TaskScore(
            task=name,
            runs=len(runs),
            mean=self._mean(index, name),
            score=self._score(self._mean(index, name), name),
            target=goal,
            steps_to_target=None if goal is None else steps_to_target(runs),
            seconds_to_target=None if goal is None else seconds_to_target(runs),
        )

    def _aggregates(self, scores: Sequence[Sequence[TaskScore]]) -> list[Aggregate]:
        """Each schedule's aggregates over tasks, given its scores on each."""
        plain = aggregates_of([self._by_task(at) for at in range(len(self._entries))], self._mode)
        steps = target_scores([[on.steps_to_target for on in row] for row in scores], first=1.0)
        seconds = target_scores([[on.seconds_to_target for on in row] for row in scores])
        return [
            replace(across, steps_to_target=by_steps, seconds_to_target=by_seconds)
            for across, by_steps, by_seconds in zip(plain, steps, seconds, strict=True)
        ]

    def notices(self, metric: str) -> Iterator[Notice]:
        """The warnings of each task by itself, and of schedules that lack one."""
        noun = noun_of(self._entries[0].group.fields)
        lacking = [
            entry.group.label
            for entry, names in zip(self._entries, self._tasks, strict=True)
            if set(names) != set(self.names)
        ]
        if lacking:
            yield Notice(
                "tasks-missing",
                f"Not every {noun} ran on all {len(self.names)} tasks ({_some(lacking)}): its "
                "scores are those of the tasks it has.",
            )
        if missed := [name for name in self.names if self._missed(name)]:
            yield Notice(
                "target-missed",
                f"No run reached the target on {_some(missed)}, which counts as missed by every "
                f"{noun} in the time-to-target scores.",
            )
        of_tasks: dict[Notice, list[str]] = {}
        for name in self.names:
            groups, runs = self._groups(name)
            for notice in fairness.notices(groups, runs, metric):
                of_tasks.setdefault(notice, []).append(name)
        for notice, names in of_tasks.items():
            yield replace(notice, message=f"{_some(names)}: {notice.message}")

    def _missed(self, name: str) -> bool:
        """Whether a task has a target that no run reached."""
        return self._goals[name] is not None and not any(
            run.target_step is not None
            for entry, tasks in zip(self._entries, self._tasks, strict=True)
            for run, task in zip(entry.runs, tasks, strict=True)
            if task == name
        )

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
        scores = [
            self._score(value, task) for value, task in zip(entry.final.values, tasks, strict=True)
        ]
        blocks = [self._block(task, run.seed) for run, task in zip(entry.runs, tasks, strict=True)]
        sample = sample_of(entry.runs, scores, blocks, self._mode)
        return replace(
            entry, final=spread_of(scores), sample=sample, median=sample.median(self._mode)
        )

    def _block(self, task: str, seed: int | None) -> int | None:
        if seed is None:
            return None
        return self._blocks.setdefault((task, seed), len(self._blocks))

    def _by_task(self, index: int) -> Mapping[str, Floats]:
        """All scores of a schedule on each task, divergence as the worst."""
        entry = self._scored[index]
        rows = list(zip(entry.runs, entry.final.values, self._tasks[index], strict=True))
        return {
            name: np.array(
                [
                    worst(self._mode) if run.diverged else score
                    for run, score, task in rows
                    if task == name and (run.diverged or score is not None)
                ],
                dtype=np.float64,
            )
            for name in self.names
        }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)

"""Targets of runs, and how soon schedules reach them over several tasks.

A time on one task has no meaning on another. Each schedule's time is therefore divided by that of
the fastest schedule on the task, as in the scoring of AlgoPerf: Dahl et al., "Benchmarking neural
network training algorithms" (2023), after the performance profiles of Dolan and Moré (2002).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import numpy as np

from lrtrack.errors import UsageError, unknown
from lrtrack.fields import names_of, resolve, text_of, unknown_field
from lrtrack.records import History
from lrtrack.stats.figures import Reach, TargetScore

#: One value of the metric for all runs, or one for each task.
Target = float | Mapping[str, float]
#: The target of a run; None if its task has none.
Goal = Callable[[History], float | None]

#: Ratios of times at which a profile is given, from 1 to the largest that counts.
RATIOS = tuple(round(1.0 + at / 25, 2) for at in range(76))
SLOWEST = RATIOS[-1]


def task_field(task: str, histories: Sequence[History]) -> str:
    """The full name of the field that names a run's task.

    Raises:
        UsageError: no run has the field.
    """
    known = names_of([history.fields() for history in histories])
    field = resolve(task, known)
    if field is None:
        raise unknown_field("compare tasks by", task, known)
    return field


def checked(target: Target | None) -> Target | None:
    """The target with plain numbers.

    Raises:
        UsageError: it is not a finite number, or a mapping without any.
    """
    if not isinstance(target, Mapping):
        return None if target is None else _number(target)
    if not target:
        raise UsageError("The target is a mapping without a task. Fix: name one, or leave it out.")
    return {str(task): _number(value) for task, value in target.items()}


def _number(value: object) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise UsageError(f"The target must be a finite number, not {value}.")
    return float(value)


def goal_of(target: Target | None, task: str | None, histories: Sequence[History]) -> Goal:
    """What each run's target is.

    Args:
        target: one value, or one for each task; a task that is not named has no target.
        task: the field that names a run's task, if there are several.

    Raises:
        UsageError: a target names a task that no run has, or names tasks although there is but one.
    """
    if not isinstance(target, Mapping):
        return lambda history: target
    if task is None:
        raise UsageError(
            f"There is a target for {', '.join(map(repr, target))}, but the runs are of one task. "
            "Fix: give one number, or say which field names the tasks."
        )
    field = task_field(task, histories)
    tasks = {text_of(history.fields().get(field)) for history in histories}
    for name in target:
        if name not in tasks:
            raise UsageError(unknown("task", name, tasks))
    return lambda history: target.get(text_of(history.fields().get(field)))


def target_scores(
    reaches: Sequence[Sequence[Reach | None]], first: float = 0.0
) -> list[TargetScore | None]:
    """How soon each schedule reaches the targets, relative to the fastest on each task.

    A task that no schedule reaches counts as missed by all.

    Args:
        reaches: for each schedule its times by task; None for tasks without a target.
        first: the time of a target that the first record reaches: 1 if times are counted in steps,
            as one step was made then.

    Returns:
        None for all if no task has a target.
    """
    tasks = [at for at, reach in enumerate(reaches[0]) if reach is not None] if reaches else []
    if not tasks:
        return [None for _ in reaches]
    times = np.array(
        [[_time(reach_of[at], first) for at in tasks] for reach_of in reaches], dtype=np.float64
    )
    fastest = times.min(axis=0)
    ratios = np.full(times.shape, np.inf)
    known = np.isfinite(times)
    # Two schedules that need no time at all are equally fast.
    np.divide(times, fastest, out=ratios, where=known & (fastest > 0.0))
    ratios[known & (times == fastest)] = 1.0
    return [_score(row) for row in ratios]


def _time(reach: Reach | None, first: float) -> float:
    return math.inf if reach is None or reach.median is None else reach.median + first


def _score(ratios: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> TargetScore:
    # The profile is a step function, so that its area is a sum: each task adds from its ratio on.
    areas = np.maximum(SLOWEST - ratios, 0.0) / (SLOWEST - 1.0)
    return TargetScore(
        score=float(areas.mean()),
        ratios=tuple(float(ratio) if math.isfinite(ratio) else None for ratio in ratios),
        profile=tuple(float((ratios <= edge).mean()) for edge in RATIOS),
    )

"""Turns histories into a `ComparisonResult`: groups, summarises, ranks, tests and warns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean, median, median_low
from typing import Any, TypeVar

from lrtrack.errors import NothingFound, UsageError, unknown
from lrtrack.records import History, one_by_one
from lrtrack.stats.conclusions import Standing, conclude, few_runs
from lrtrack.stats.diagnose import diagnoses_by_run
from lrtrack.stats.fairness import metrics_of, notices
from lrtrack.stats.figures import Notice
from lrtrack.stats.groups import fields_of, grouped, noun_of
from lrtrack.stats.intervals import grad_norm_of, seconds_to_target, spread_of, steps_to_target
from lrtrack.stats.over_metric import over_metric
from lrtrack.stats.ranking import Entry, entry_of, ranked
from lrtrack.stats.result import ComparisonResult, ScheduleSummary
from lrtrack.stats.summary import Mode, mode_of
from lrtrack.stats.targets import Target, checked, goal_of
from lrtrack.stats.tasks import Tasks
from lrtrack.stats.tuning import Tuned, tuned

ResultT = TypeVar("ResultT", bound=ComparisonResult)


def build_comparison(
    cls: type[ResultT],
    histories: Sequence[History],
    *,
    experiment: str | None,
    metric: str,
    mode: Mode | None = None,
    target: Target | None = None,
    group_by: str | Sequence[str] = ("schedule",),
    baseline: str | None = None,
    margin: float | None = None,
    include_unfinished: bool = False,
    tune: str | None = None,
    sequential: bool = False,
    task: str | None = None,
    x: str = "step",
) -> ResultT:
    """Compare schedules by `metric`, best first.

    A run that diverged (its loss or its metric became NaN or infinite) counts as worse than any
    value, and `Spread.values` has None for it, as for one that has not finished. Schedules rank by
    the median over their runs, then by the mean of those that ended. Schedules without any final
    value rank last.

    Args:
        cls: the class of the result; a subclass may add methods.
        histories: runs in any order; the order does not change the result.
        experiment: the experiment's name, if it has one.
        metric: the metric to compare, without the run's prefix.
        mode: whether small (`min`) or large (`max`) values are better; None: decided by the
            metric's name, see `mode_of`.
        target: a value of the metric, or one for each task; the result then contains when runs
            reached it, see `lrtrack.stats.targets`.
        group_by: `schedule` (its id), `name`, or fields such as `optimizer.lr`.
        baseline: name, id or label of the schedule to test against instead of the best one.
        margin: the difference of the metric up to which schedules count as equivalent.
        include_unfinished: whether runs that failed or are still going count as the others.
        tune: a field; each schedule is compared at its own best value of it, see
            `lrtrack.stats.tuning`.
        sequential: whether differences stay valid however often one looks, see
            `lrtrack.stats.sequential`.
        task: the field that names a run's task, if there are several: schedules are compared by
            their scores relative to the best of each, see `lrtrack.stats.tasks`.
        x: the x axis: `step`, `time`, `epoch`, or a metric, see `lrtrack.stats.over_metric`.

    Raises:
        NothingFound: there are no runs, or none has the metric or the x axis.
        UsageError: a field, baseline, mode or task does not exist, a target is not finite, or the
            margin is not above 0.
    """
    _check_options(mode, margin)
    target = checked(target)
    _check_metric(histories, metric, experiment)
    mode = mode_of(metric) if mode is None else mode
    fields, best, goal = fields_of(group_by), None, goal_of(target, task, histories)
    if tune is not None:
        best = tuned(histories, fields, tune, metric, mode, include_unfinished=include_unfinished)
    entries = [
        entry_of(group, metric, mode, goal, include_unfinished=include_unfinished)
        for group in (grouped(histories, fields) if best is None else best.groups)
    ]
    tasks = None if task is None else Tasks(entries, task, mode, goal)
    across: Mapping[str, Mapping[str, Any]] = {} if tasks is None else tasks.summaries()
    placed = ranked(entries if tasks is None else tasks.relative(), mode)
    entries = [entry for _, entry in placed]
    reference = None if baseline is None else _find(entries, baseline)
    conclusions = conclude(placed, reference, mode, margin, sequential)
    comparison = cls(
        experiment=experiment,
        metric=metric,
        mode=mode,
        target=target,
        schedules=tuple(
            _summary(rank, entry, standing, best, across)
            for (rank, entry), standing in zip(placed, conclusions.standings, strict=True)
        ),
        warnings=(
            *(_notices(entries, metric) if tasks is None else tasks.notices(metric)),
            *(() if best is None else best.notices),
            *few_runs(
                [entry.sample for entry in entries], reference or 0, conclusions, noun_of(fields)
            ),
        ),
        baseline=None if reference is None else entries[reference].group.label,
        margin=margin,
        task=task,
        test=conclusions.test,
        noun=noun_of(fields),
        runs=tuple(run for entry in entries for run in entry.runs),
        histories=tuple(run for entry in entries for run in entry.group.histories),
        diagnoses=diagnoses_by_run(
            one_by_one(run for entry in entries for run in entry.group.histories)
        ),
    )
    return over_metric(comparison, x)


#: `build_comparison` for callers that need only the numbers.
compare_histories = partial(build_comparison, ComparisonResult)


def _check_options(mode: str | None, margin: float | None) -> None:
    if mode not in (None, "min", "max"):
        raise UsageError(unknown("mode", str(mode), ("min", "max")))
    if margin is not None and not 0.0 < margin < math.inf:
        raise UsageError(f"The margin must be a finite number above 0, not {margin}.")


def _check_metric(histories: Sequence[History], metric: str, experiment: str | None) -> None:
    where = "" if experiment is None else f" in experiment {experiment!r}"
    if not histories:
        raise NothingFound(f"There are no runs to compare{where}.")
    metrics = metrics_of(histories)
    if not metrics:
        raise NothingFound(f"No run{where} has recorded a metric yet.")
    if metric not in metrics and all(
        not history.series(metric)[0].size for history in one_by_one(histories)
    ):
        raise NothingFound(f"{unknown('metric', metric, metrics)} No run{where} has it.")


def _find(entries: Sequence[Entry], baseline: str) -> int:
    """Index of the one group whose label, schedule id or schedule name is `baseline`."""
    names = [_names(entry) for entry in entries]
    for position in range(3):  # labels identify a schedule most exactly, names least
        matches = [index for index, forms in enumerate(names) if forms[position] == baseline]
        if len(matches) == 1:
            return matches[0]
        if matches:
            labels = "; ".join(names[index][0] for index in matches)
            raise UsageError(
                f"{baseline!r} is the name of several rows here: {labels}. Fix: write one of "
                "these labels."
            )
    candidates = {form for forms in names for form in forms if form is not None}
    raise UsageError(unknown("baseline", baseline, candidates))


def _names(entry: Entry) -> tuple[str, str | None, str]:
    schedule = entry.group.schedule
    key = None if schedule is None else schedule.id
    return entry.group.label, key, entry.group.schedule_name


def _notices(entries: Sequence[Entry], metric: str) -> tuple[Notice, ...]:
    return notices([entry.group for entry in entries], [entry.runs for entry in entries], metric)


def _summary(
    rank: int,
    entry: Entry,
    standing: Standing,
    best: Tuned | None,
    across: Mapping[str, Mapping[str, Any]],
) -> ScheduleSummary:
    """The summary of one schedule.

    Args:
        best: how values were tuned, if they were.
        across: fields of the summary that are about tasks, by the schedule's label.
    """
    tuning = None if best is None else best.tunings[entry.group.label]
    runs, group = entry.runs, entry.group
    rates = [run.steps_per_second for run in runs if run.steps_per_second is not None]
    areas = [run.log_area for run in runs if run.log_area is not None]
    peaks = [run.lr_peak for run in runs if run.lr_peak is not None]
    summary = ScheduleSummary(
        rank=rank,
        schedule=group.schedule_name,
        id=None if group.schedule is None else group.schedule.id,
        label=group.label,
        params=group.params,
        source=group.source,
        runs=len(runs),
        diverged=entry.diverged,
        unfinished=sum(run.unfinished for run in runs),
        steps=median_low(run.steps for run in runs),
        final=replace(entry.final, ci95=standing.interval.ends),
        best=spread_of([None if run.diverged else run.best for run in runs]),
        steps_to_target=steps_to_target(runs),
        seconds_to_target=seconds_to_target(runs),
        lr_peak=max(peaks, default=None),
        grad_norm=grad_norm_of(group.histories),
        steps_per_second=median(rates) if rates else None,
        ci95_method=standing.interval.method,
        vs_best=standing.effect,
        p_vs_best=None if standing.effect is None else standing.effect.p,
        could_be_best=standing.could_be_best,
        indistinguishable_from_best=standing.could_be_best,
        seeds_to_tell=standing.seeds_to_tell,
        run_ids=tuple(run.run_id for run in runs),
        seeds=tuple(run.seed for run in runs),
        p_improvement=None if standing.improvement is None else standing.improvement.p,
        p_improvement_ci95=None if standing.improvement is None else standing.improvement.ci95,
        optimistic=standing.optimistic or (tuning is not None and tuning.optimistic),
        tuning=tuning,
        equivalent=standing.equivalent,
        verdict=standing.verdict,
        log_area=fmean(areas) if len(areas) == len(runs) else None,
    )
    return replace(summary, **across.get(entry.group.label, {}))

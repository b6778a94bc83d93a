"""`compare()` and `histories()`: read runs back from trackers and compare their schedules.

branches.py    links runs that branched off others to their parents
reading.py     reads an experiment's runs from one or several trackers
selection.py   the runs that started last, or since a moment
default_metric.py  the metric of a report for which the user names none
rates.py       leaves out runs whose learning rates were not recorded
comparison.py  what `compare()` returns: numbers that can be shown and saved
looks.py       remembers how often a comparison was looked at while seeds were added
preloading.py  imports what figures need while runs are read
dataframes.py  its figures and steps as pandas data frames
publishing.py  stores its report where the runs are
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lrtrack import settings, stats
from lrtrack.comparing import default_metric, looks
from lrtrack.comparing.comparison import Comparison
from lrtrack.comparing.preloading import import_meanwhile
from lrtrack.comparing.publishing import publish, publishers
from lrtrack.comparing.rates import with_rates
from lrtrack.comparing.reading import Filters, fetch, fetch_each, histories
from lrtrack.comparing.selection import Since, count_of, latest, moment_of
from lrtrack.errors import UsageError
from lrtrack.filters import filters_of, select
from lrtrack.records import TRAIN, History
from lrtrack.trackers.base import Progress, Tracker

__all__ = ["Comparison", "compare", "fetch", "fetch_each", "histories", "publish", "publishers"]


def compare(
    experiment: str | Sequence[str] | None = None,
    *,
    histories: Sequence[History] | None = None,
    tracker: str | Tracker | Sequence[str | Tracker] | None = None,
    tracking_uri: str | None = None,
    metric: str | None = None,
    mode: stats.Mode | None = None,
    target: stats.Target | None = None,
    group_by: str | Sequence[str] = "schedule",
    filters: Filters = (),
    filter_raw: str | Sequence[str] = (),
    last: int | None = None,
    since: Since | None = None,
    baseline: str | None = None,
    margin: float | None = None,
    include_unfinished: bool = False,
    tune: str | None = None,
    sequential: bool = False,
    task: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    runs: str | None = None,
    lr_metric: str | None = None,
    seed_field: str | None = None,
    x: str = stats.STEP,
) -> Comparison:
    """Compare the schedules of an experiment's trainings, best first, without range tests.

    Args:
        experiment: the experiment's name, or several, which are then tasks of one report; None: the
            one in `pyproject.toml`, else the tracker's own default.
        histories: the runs to compare, such as those of `History.from_series()`, instead of reading
            them from a tracker.
        tracker: a name, names joined by commas, a tracker object, or a list of these; None: the
            one in `LRTRACK_TRACKER` or `pyproject.toml`, else MLflow.
        tracking_uri: the tracker's address; with several trackers, MLflow's. None: its default.
        metric: the metric to compare, by its mean over the last 5 % of a run's records. None:
            `loss` if any run has it, else the loss that most runs have, such as `eval/loss`; a line
            on stderr says which, and which others there are.
        mode: whether small (`"min"`) or large (`"max"`) values are better; None: decided by the
            metric's name (large for accuracies, scores and the like).
        target: a value of the metric, or one for each task, such as `{"mnist": 0.3}`; the result
            then reports when runs reached it.
        group_by: `schedule` (with its parameters), `name` (the schedule's name alone), or fields
            of `History.fields()` such as `optimizer.lr`, joined by commas.
        filters: conditions that runs must meet, such as `"seed < 5"` or
            `["config.data = cifar10", "state = FINISHED"]`; see `lrtrack.filters.Filter`.
        filter_raw: conditions in the tracker's own language: MLflow's search expressions, or JSON
            for W&B.
        last: only so many runs of each experiment, those that started last.
        since: only runs that started since then: a span such as `"12h"`, `"7d"` or `"2w"` before
            now, or a date such as `"2026-11-01"`.
        baseline: name, id or label of the schedule to test against instead of the best one.
        margin: the difference up to which schedules count as equivalent.
        include_unfinished: whether runs that failed or are still going count as the others.
        tune: a field such as `optimizer.lr`; each schedule is compared at its own best value of it,
            chosen on half of the seeds where there are enough. `optimizer.lr` and `lr_peak` mean
            the peak of the learning rate, also where the schedule sets it (`max_lr`).
        sequential: whether differences hold however often one looks while seeds are added; they
            then need more seeds.
        task: a field that names tasks, such as `config.data`: schedules are then compared by their
            scores relative to the best of each task. With several experiments, `"experiment"`.
        directory: the journal directory; None: as in `track()`.
        cache: whether copies of finished runs on this machine may be used.
        progress: called with (done, total) while runs are fetched.
        runs: `lrtrack` for runs that lrtrack recorded, `all` for those that others logged too,
            whose schedules their learning rates show; None: `lrtrack` if there is one such run,
            else `all`.
        lr_metric: the metric of others' runs that is the learning rate; None: `lr`,
            `learning_rate`, or another usual name.
        seed_field: the setting of others' runs that is the seed; None: `seed` or another usual
            name.
        x: the x axis of curves: `step`, `time`, `epoch`, or a metric that is a running total, such
            as `tokens`. With a metric or `epoch`, the result also reports when runs reached the
            target on that axis, as `x_to_target`.

    Raises:
        NothingFound: there is no such experiment, it has no runs, none since `since`, none has the
            metric or the x axis, or all are to be grouped by a schedule that no learning rate
            shows.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker, field, mode, baseline or task does not exist, a filter, `last` or
            `since` is invalid, or both histories and a tracker are given.
    """
    names = [experiment] if isinstance(experiment, str) or experiment is None else [*experiment]
    fetched = histories is None
    if histories is None:
        names = [name or settings.read().experiment for name in dict.fromkeys(names or [None])]
        histories = fetch_each(
            names,
            tracker=tracker,
            tracking_uri=tracking_uri,
            filters=filters,
            filter_raw=filter_raw,
            metric=metric or default_metric.LOSS,
            last=last,
            since=since,
            kind=TRAIN,
            directory=directory,
            cache=cache,
            progress=import_meanwhile(progress),
            runs=runs,
            lr_metric=lr_metric,
            seed_field=seed_field,
            axis=None if x in (stats.STEP, stats.TIME) else x,
        )
        task = task or ("experiment" if len(names) > 1 else None)
    elif tracker is not None or tracking_uri is not None or filter_raw:
        raise UsageError("There are histories and a tracker to read from. Fix: pass one of them.")
    else:
        histories = select(histories, filters_of(filters), History.fields)
    where = ", ".join(filter(None, names)) or None
    trainings = [history for history in histories if history.run.kind == TRAIN]
    if not fetched:
        trainings = latest(trainings, count_of(last), moment_of(since))
    trainings, left_out = with_rates(trainings, group_by, where)
    if metric is None:
        choice = default_metric.choose(trainings)
        metric = choice.metric
        default_metric.announce(choice)
    comparison = stats.build_comparison(
        Comparison,
        trainings,
        experiment=where,
        metric=metric,
        mode=mode,
        target=target,
        group_by=group_by,
        baseline=baseline,
        margin=margin,
        include_unfinished=include_unfinished,
        tune=tune,
        sequential=sequential,
        task=task,
        x=x,
    )
    looked = looks.notice_of(comparison, group_by) if fetched else None
    more = [notice for notice in (left_out, looked) if notice is not None]
    return replace(comparison, warnings=(*comparison.warnings, *more)) if more else comparison

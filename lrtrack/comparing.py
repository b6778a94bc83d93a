"""`compare()`: read runs back from trackers and compare their schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack import settings, stats
from lrtrack.errors import NothingFound
from lrtrack.records import TRAIN
from lrtrack.trackers import registry
from lrtrack.trackers.base import Progress, Query, Tracker

if TYPE_CHECKING:
    from lrtrack.records import History


def compare(
    experiment: str | None = None,
    *,
    tracker: str | Tracker | Sequence[str | Tracker] | None = None,
    tracking_uri: str | None = None,
    metric: str = "loss",
    mode: stats.Mode | None = None,
    target: float | None = None,
    group_by: str | Sequence[str] = "schedule",
    filters: Sequence[str] = (),
    baseline: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> stats.Comparison:
    """Compare the schedules of an experiment's trainings, best first; range tests are left out.

    Args:
        experiment: None: the one that `pyproject.toml` names, else the tracker's own default.
        tracker: a name, names joined by commas, a tracker object, or a list of these; None: what
            `LRTRACK_TRACKER` or `pyproject.toml` says, else MLflow.
        tracking_uri: where the tracker is, of several trackers MLflow; None: its own default.
        metric: what is compared: its mean over the last 5 % of a run's records.
        mode: whether small (`"min"`) or large (`"max"`) values are good; None: decided by the
            metric's name (large for accuracies, scores and the like).
        target: a value of the metric; the result then says when runs reached it.
        group_by: `schedule`, `name`, or fields such as `optimizer.lr`, comma-joined.
        filters: expressions in the tracker's own filter language.
        baseline: name, id or label of the schedule to test against instead of the best.
        directory: where journals live; None: as in `track()`.
        cache: whether copies of finished runs on this machine may be used.
        progress: called with (done, total) while runs are fetched.

    Raises:
        NothingFound: no such experiment, no runs, or none with the metric.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker, field, mode or baseline that does not exist.
    """
    experiment = experiment or settings.read().experiment
    histories = fetch(
        experiment,
        tracker=tracker,
        tracking_uri=tracking_uri,
        filters=filters,
        metric=metric,
        directory=directory,
        cache=cache,
        progress=progress,
    )
    return stats.compare_histories(
        [history for history in histories if history.run.kind == TRAIN],
        experiment=experiment,
        metric=metric,
        mode=mode,
        target=target,
        group_by=group_by,
        baseline=baseline,
    )


def fetch(
    experiment: str | None = None,
    *,
    tracker: str | Tracker | Sequence[str | Tracker] | None = None,
    tracking_uri: str | None = None,
    filters: Sequence[str] = (),
    metric: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> list[History]:
    """Read an experiment's runs from one or several trackers, each run once.

    Where several trackers have a run, the one with more of its steps is believed. `metric` is
    what will be asked of the histories: some trackers fetch no more than they must.

    Raises:
        NothingFound: no tracker has the experiment.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker that does not exist, or a filter it does not understand.
    """
    found = settings.read()
    query = Query(
        experiment=experiment or found.experiment,
        uri=tracking_uri,
        filters=tuple(filters),
        directory=found.directory if directory is None else Path(directory).expanduser(),
        metric=metric,
        cache=cache,
    )
    trackers = registry.resolve(tracker or found.tracker or "mlflow")
    runs: dict[str, History] = {}
    absent: list[NothingFound] = []
    for source in trackers:
        addressed = source.name == "mlflow" or len(trackers) == 1
        own = query if addressed else replace(query, uri=None)
        try:
            for history in source.histories(own, progress):
                known = runs.get(history.run.id)
                if known is None or history.steps.size > known.steps.size:
                    runs[history.run.id] = history
        except NothingFound as error:  # another of the trackers may well have it
            absent.append(error)
    if len(absent) == len(trackers):
        raise absent[0] if len(absent) == 1 else NothingFound(" ".join(map(str, absent)))
    return list(runs.values())

"""Reading an experiment's runs from one or several trackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrtrack import settings
from lrtrack.errors import NothingFound
from lrtrack.trackers import registry
from lrtrack.trackers.base import Progress, Query, Tracker

if TYPE_CHECKING:
    from lrtrack.records import History


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

"""Reading an experiment's runs from one or several trackers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lrtrack import settings
from lrtrack.comparing.branches import with_parents
from lrtrack.comparing.selection import Since, count_of, latest, moment_of
from lrtrack.errors import LRTrackError, NothingFound, TrackerError
from lrtrack.filters import Filter, filters_of, passes, select
from lrtrack.records import History
from lrtrack.settings import redact
from lrtrack.trackers import per_run, registry
from lrtrack.trackers.base import Progress, Query, Tracker
from lrtrack.trackers.hooks import TakesSharedUri

#: Filters as users write them.
Filters = str | Filter | Sequence[str | Filter]


def fetch(
    experiment: str | None = None,
    *,
    tracker: str | Tracker | Sequence[str | Tracker] | None = None,
    tracking_uri: str | None = None,
    filters: Filters = (),
    filter_raw: str | Sequence[str] = (),
    metric: str | None = None,
    last: int | None = None,
    since: Since | None = None,
    kind: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> list[History]:
    """Read an experiment's runs from one or several trackers, each run once.

    If several trackers have a run, it is taken from the one with most steps. The arguments are
    those of `compare()`; `metric` lets trackers fetch no more than they must, and `kind` is that of
    `Run.kind`, None for all.

    Raises:
        NothingFound: no tracker has the experiment, or none of its runs started since `since`.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker does not exist, a filter is invalid, no run has its field, or `last`
            or `since` has an invalid value.
    """
    defaults, last, moment = settings.read(), count_of(last), moment_of(since)
    query = Query(
        experiment=experiment or defaults.experiment,
        uri=tracking_uri,
        filters=filters_of(filters),
        raw_filters=(filter_raw,) if isinstance(filter_raw, str) else tuple(filter_raw),
        directory=defaults.directory if directory is None else Path(directory).expanduser(),
        metric=metric,
        cache=cache,
    )
    trackers = registry.resolve(tracker or None)
    runs: dict[str, History] = {}
    every: list[History] = []
    absent: list[NothingFound] = []
    for source in trackers:
        own = query if takes_uri(source, trackers) else replace(query, uri=None)
        try:
            histories = _newest(source, own, last, kind, progress)
            every += histories
            for history in select(histories, query.filters, History.fields):
                if kind not in (None, history.run.kind):
                    continue
                other = runs.get(history.run.id)
                if other is None or history.steps.size > other.steps.size:
                    runs[history.run.id] = history
        except NothingFound as error:  # another tracker may have it
            absent.append(error)
    if len(absent) == len(trackers):
        raise absent[0] if len(absent) == 1 else NothingFound(" ".join(map(str, absent)))
    kept = latest(runs.values(), last, moment)
    if runs and not kept:
        where = "" if query.experiment is None else f" of experiment {query.experiment!r}"
        raise NothingFound(
            f"None of the {len(runs)} runs{where} started since {since}. Fix: go back further."
        )
    return with_parents(kept, every)


def fetch_each(experiments: Sequence[str | None], **options: Any) -> list[History]:
    """Read the runs of several experiments, newest first, each with its experiment's name.

    Args:
        experiments: at least one.
        **options: as for `fetch`, which raises the errors.
    """
    if len(experiments) == 1:
        return fetch(experiments[0], **options)
    histories = [
        replace(history, run=replace(history.run, experiment=name))
        for name in experiments
        for history in fetch(name, **options)
    ]
    return sorted(histories, key=lambda history: -history.run.started)


def _newest(
    source: Tracker, query: Query, last: int | None, kind: str | None, progress: Progress | None
) -> list[History]:
    """Read a tracker's histories, newest first, until `last` runs pass the filters."""
    histories: list[History] = []
    passed: set[str] = set()
    with closing(_sound(source, query, progress)) as newest_first:
        for history in newest_first:
            if last is not None and kind in (None, history.run.kind):
                if len(passed) == last and history.id not in passed:
                    break
                if passes(history.fields(), query.filters):
                    passed.add(history.id)
            histories.append(history)
    return histories


def takes_uri(tracker: object, trackers: Sequence[Tracker]) -> bool:
    """Whether `tracking_uri` is meant for `tracker`, which is one of `trackers`.

    A single tracker takes it; of several, those do that say so.
    """
    return len(trackers) == 1 or isinstance(tracker, TakesSharedUri)


def _sound(
    source: Tracker, query: Query, progress: Progress | None
) -> Generator[History, None, None]:
    """Read a tracker's histories, and skip malformed ones, as third-party trackers may have.

    Raises:
        TrackerError: the tracker raised an unexpected error.
    """
    left_out = per_run.LeftOut()
    try:
        for history in source.histories(query, progress):
            name = partial(_named, history)
            checked = left_out.attempt(name, partial(per_run.checked, history))
            if checked is not None:
                yield checked
    except (LRTrackError, GeneratorExit):
        raise
    except Exception as error:
        reason = redact(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise TrackerError(
            f"The tracker {source.name!r} failed to read its runs: {reason}"
        ) from error
    left_out.report()


def _named(history: History) -> str:
    return f"{history.run.name!r} ({history.id})"

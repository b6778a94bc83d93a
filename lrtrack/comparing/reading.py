"""Reading an experiment's runs from one or several trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lrtrack import settings
from lrtrack.comparing.branches import with_parents
from lrtrack.errors import LRTrackError, NothingFound, TrackerError, UsageError, notice, unknown
from lrtrack.filters import Filter, filters_of, select
from lrtrack.records import History
from lrtrack.records.roles import Roles
from lrtrack.settings import redact
from lrtrack.trackers import per_run, registry
from lrtrack.trackers.base import ALL, LRTRACK, Progress, Query, Tracker
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
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    runs: str | None = None,
    lr_metric: str | None = None,
    seed_field: str | None = None,
) -> list[History]:
    """Read an experiment's runs from one or several trackers, each run once.

    If several trackers have a run, it is taken from the one with most steps. The arguments are
    those of `compare()`; `metric` lets trackers fetch no more than they must.

    Raises:
        NothingFound: no tracker has the experiment.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker or kind of runs does not exist, a filter is invalid, or no run has its
            field.
    """
    if runs not in (None, LRTRACK, ALL):
        raise UsageError(unknown("kind of runs", str(runs), (LRTRACK, ALL)))
    defaults = settings.read()
    query = Query(
        experiment=experiment or defaults.experiment,
        uri=tracking_uri,
        filters=filters_of(filters),
        raw_filters=(filter_raw,) if isinstance(filter_raw, str) else tuple(filter_raw),
        directory=defaults.directory if directory is None else Path(directory).expanduser(),
        metric=metric,
        cache=cache,
        runs=runs or LRTRACK,
        roles=Roles(lr_metric, seed_field),
    )
    trackers = registry.resolve(tracker or None)
    if runs is not None:
        return _fetched(trackers, query, progress)
    histories = _fetched(trackers, query, progress)
    if histories or _have_own(trackers, query):
        return histories
    histories = _fetched(trackers, replace(query, runs=ALL), progress)
    if histories:
        count = "the run" if len(histories) == 1 else f"all {len(histories)} runs"
        notice(f"lrtrack recorded none of the runs there, so {count} that others logged are read.")
    return histories


def histories(
    experiment: str | Sequence[str] | None = None,
    *,
    tracker: str | Tracker | Sequence[str | Tracker] | None = None,
    tracking_uri: str | None = None,
    filters: Filters = (),
    filter_raw: str | Sequence[str] = (),
    runs: str | None = None,
    lr_metric: str | None = None,
    seed_field: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> list[History]:
    """Read the runs of an experiment with all their steps, newest first, range tests included.

    `lrtrack.compare(histories=…)` compares them, and `History.to_frame()` makes a data frame of
    each. The arguments are those of `compare()`.

    Args:
        experiment: the experiment's name, or several, whose runs then carry the name; None: the one
            in `pyproject.toml`, else the tracker's own default.
        tracker: a name, names joined by commas, a tracker object, or a list of these.
        tracking_uri: the tracker's address; None: its default.
        filters: conditions that runs must meet, such as `"seed < 5"`.
        filter_raw: conditions in the tracker's own language.
        runs: `lrtrack`, `all`, or None for `lrtrack` if there is one such run, else `all`.
        lr_metric: the metric of others' runs that is the learning rate.
        seed_field: the setting of others' runs that is the seed.
        directory: the journal directory; None: as in `track()`.
        cache: whether copies of finished runs on this machine may be used.
        progress: called with (done, total) while runs are fetched.

    Raises:
        NothingFound: there is no such experiment.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker or kind of runs does not exist, a filter is invalid, or no run has its
            field.
    """
    read = partial(
        fetch,
        tracker=tracker,
        tracking_uri=tracking_uri,
        filters=filters,
        filter_raw=filter_raw,
        directory=directory,
        cache=cache,
        progress=progress,
        runs=runs,
        lr_metric=lr_metric,
        seed_field=seed_field,
    )
    names = [experiment] if isinstance(experiment, str) or experiment is None else [*experiment]
    return read(names[0]) if len(names) == 1 else of_each(names, read)


def of_each(
    experiments: Sequence[str | None], read: Callable[[str | None], list[History]]
) -> list[History]:
    """The runs of several experiments, each with its experiment's name."""
    return [
        replace(history, run=replace(history.run, experiment=name))
        for name in experiments
        for history in read(name)
    ]


def _have_own(trackers: Sequence[Tracker], query: Query) -> bool:
    """Whether there are runs that lrtrack recorded, of which the query's filters select none."""
    if not query.filters and not query.raw_filters:
        return False
    query = replace(query, filters=(), raw_filters=())
    for source in trackers:
        own = query if takes_uri(source, trackers) else replace(query, uri=None)
        try:
            if next(_sound(source, own, None), None) is not None:
                return True
        except NothingFound:
            continue
    return False


def _fetched(trackers: Sequence[Tracker], query: Query, progress: Progress | None) -> list[History]:
    """The query's runs in several trackers, each run once.

    Raises:
        NothingFound: no tracker has the experiment.
    """
    runs: dict[str, History] = {}
    every: list[History] = []
    absent: list[NothingFound] = []
    for source in trackers:
        own = query if takes_uri(source, trackers) else replace(query, uri=None)
        try:
            histories = list(_sound(source, own, progress))
            every += histories
            for history in select(histories, query.filters, History.fields):
                other = runs.get(history.run.id)
                if other is None or history.steps.size > other.steps.size:
                    runs[history.run.id] = history
        except NothingFound as error:  # another tracker may have it
            absent.append(error)
    if len(absent) == len(trackers):
        raise absent[0] if len(absent) == 1 else NothingFound(" ".join(map(str, absent)))
    return with_parents(list(runs.values()), every)


def takes_uri(tracker: object, trackers: Sequence[Tracker]) -> bool:
    """Whether `tracking_uri` is meant for `tracker`, which is one of `trackers`.

    A single tracker takes it; of several, those do that say so.
    """
    return len(trackers) == 1 or isinstance(tracker, TakesSharedUri)


def _sound(source: Tracker, query: Query, progress: Progress | None) -> Iterator[History]:
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

"""Reading an experiment's runs from one or several trackers."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from lrtrack import settings
from lrtrack.comparing.branches import with_parents
from lrtrack.comparing.selection import Since, count_of, latest, moment_of, passes
from lrtrack.errors import LRTrackError, NothingFound, TrackerError, UsageError, notice, unknown
from lrtrack.filters import Filter, filters_of, select
from lrtrack.records import History
from lrtrack.records.alignment import MAX_TIME
from lrtrack.records.roles import Roles
from lrtrack.redaction import redact
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
    last: int | None = None,
    since: Since | None = None,
    kind: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    runs: str | None = None,
    lr_metric: str | None = None,
    seed_field: str | None = None,
    axis: str | None = None,
) -> list[History]:
    """Read an experiment's runs from one or several trackers, each run once.

    If several trackers have a run, it is taken from the one with most steps. The arguments are
    those of `compare()`; `metric` and `axis` let trackers fetch no more than they must, and `kind`
    is that of `Run.kind`, None for all.

    Raises:
        NothingFound: no tracker has the experiment, or none of its runs started since `since`.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker or kind of runs does not exist, a filter is invalid, no run has its
            field, or `last` or `since` has an invalid value.
    """
    if runs not in (None, LRTRACK, ALL):
        raise UsageError(unknown("kind of runs", str(runs), (LRTRACK, ALL)))
    defaults, last, moment = settings.read(), count_of(last), moment_of(since)
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
        axis=axis,
    )
    limits = _Limits(last, moment, kind)
    trackers = registry.resolve(tracker or None)
    read = partial(_fetched, trackers, progress, limits)
    histories = read(query)
    if runs is None and not histories and not _have_own(trackers, query):
        histories = read(replace(query, runs=ALL))
        if histories:
            one = len(histories) == 1
            which = "the run" if one else f"all {len(histories)} runs"
            notice(
                f"lrtrack recorded none of the runs there, so {which} that others logged "
                f"{'is' if one else 'are'} read."
            )
    if runs == LRTRACK and not (histories or query.filters or query.raw_filters):
        notice("lrtrack recorded no run there; --runs all also reads those that others logged.")
    kept = latest(histories, last, moment)
    if histories and not kept:
        where = "" if query.experiment is None else f" of experiment {query.experiment!r}"
        start = max(history.run.started for history in histories)
        known = 0 <= start < MAX_TIME
        when = datetime.fromtimestamp(start).isoformat(" ", "seconds") if known else "no known time"
        raise NothingFound(
            f"No run{where} started since {since}; the last one started at {when}. Fix: go back "
            "further with --since (in Python, since=)."
        )
    return kept


def histories(
    experiment: str | Sequence[str] | None = None,
    *,
    tracker: str | Tracker | Sequence[str | Tracker] | None = None,
    tracking_uri: str | None = None,
    filters: Filters = (),
    filter_raw: str | Sequence[str] = (),
    last: int | None = None,
    since: Since | None = None,
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
        last: only so many runs of each experiment, those that started last.
        since: only runs that started since then: a span such as `"7d"`, or a date.
        runs: `lrtrack`, `all`, or None for `lrtrack` if there is one such run, else `all`.
        lr_metric: the metric of others' runs that is the learning rate.
        seed_field: the setting of others' runs that is the seed.
        directory: the journal directory; None: as in `track()`.
        cache: whether copies of finished runs on this machine may be used.
        progress: called with (done, total) while runs are fetched.

    Raises:
        NothingFound: there is no such experiment, or none of its runs started since `since`.
        TrackerUnavailable: a tracker cannot be reached.
        UsageError: a tracker or kind of runs does not exist, a filter is invalid, no run has its
            field, or `last` or `since` has an invalid value.
    """
    return fetch_each(
        [experiment] if isinstance(experiment, str) or experiment is None else [*experiment],
        tracker=tracker,
        tracking_uri=tracking_uri,
        filters=filters,
        filter_raw=filter_raw,
        last=last,
        since=since,
        directory=directory,
        cache=cache,
        progress=progress,
        runs=runs,
        lr_metric=lr_metric,
        seed_field=seed_field,
    )


def fetch_each(experiments: Sequence[str | None], **options: Any) -> list[History]:
    """Read the runs of several experiments, newest first, each with its experiment's name.

    Args:
        experiments: at least one.
        **options: as for `fetch`, which raises the errors.
    """
    if len(experiments) == 1:
        return fetch(experiments[0], **options)
    runs = [
        replace(history, run=replace(history.run, experiment=name))
        for name in experiments
        for history in fetch(name, **options)
    ]
    return sorted(runs, key=lambda history: -history.run.started)


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


def _fetched(
    trackers: Sequence[Tracker],
    progress: Progress | None,
    limits: _Limits,
    query: Query,
) -> list[History]:
    """The query's runs in several trackers, each run once; those within the limits are complete.

    Raises:
        NothingFound: no tracker has the experiment.
    """
    runs: dict[str, History] = {}
    every: list[History] = []
    absent: list[NothingFound] = []
    for source in trackers:
        own = query if takes_uri(source, trackers) else replace(query, uri=None)
        try:
            histories = _newest(source, own, limits, progress)
            every += histories
            for history in select(histories, query.filters, History.fields):
                if limits.kind not in (None, history.run.kind):
                    continue
                other = runs.get(history.run.id)
                if other is None or history.steps.size > other.steps.size:
                    runs[history.run.id] = history
        except NothingFound as error:  # another tracker may have it
            absent.append(error)
    if len(absent) == len(trackers):
        raise absent[0] if len(absent) == 1 else NothingFound(" ".join(map(str, absent)))
    return with_parents(list(runs.values()), every)


@dataclass(frozen=True)
class _Limits:
    """Which runs are wanted.

    Attributes:
        last: how many, those that started last; None: all.
        since: when they started at the earliest, in seconds since the epoch; None: at any time.
        kind: of which kind; None: of any.
    """

    last: int | None
    since: float | None
    kind: str | None


def _newest(
    source: Tracker, query: Query, limits: _Limits, progress: Progress | None
) -> list[History]:
    """Read a tracker's histories, newest first, up to the first one that is beyond the limits."""
    last = limits.last
    histories: list[History] = []
    passed: set[str] = set()
    with closing(_sound(source, query, progress)) as newest_first:
        for history in newest_first:
            is_wanted = limits.kind in (None, history.run.kind)
            if last is not None and is_wanted:
                if len(passed) == last and history.id not in passed:
                    break
                if passes(history, query.filters):
                    passed.add(history.id)
            histories.append(history)
            if is_wanted and history.run.started < (limits.since or -math.inf):
                break
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

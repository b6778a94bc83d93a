"""What a tracker is: a place that runs are written to and read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from lrtrack.filters import Filter
from lrtrack.records import History, Run, State, StepRecord, Target
from lrtrack.records.roles import Roles

#: The experiment of a run for which neither the user nor the tracker's settings name one.
DEFAULT_EXPERIMENT = "lrtrack"

#: The name of the run that holds an experiment's published reports.
REPORT = "lrtrack report"

#: Which runs to read: those that lrtrack recorded, or all.
LRTRACK, ALL = "lrtrack", "all"

#: Called with (done, total) while histories are fetched.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Remote:
    """A run as the tracker knows it.

    Attributes:
        id: the tracker's own run id.
        url: the run's page; None where there is none.
        fresh: whether the run was created by this call, so that it cannot hold anything yet.
        first: the run's step at which this block begins; None: the step that its target names.
    """

    id: str
    url: str | None = None
    fresh: bool = False
    first: int | None = None


@dataclass(frozen=True)
class RowAdvice:
    """How many rows of a run a tracker's charts are meant for, as its makers say.

    Attributes:
        per_minute: rows a minute.
        per_run: rows in the whole run.
        note: one line for a run that goes past this, with the option that sends fewer rows.
    """

    per_minute: int
    per_run: int
    note: str


@dataclass(frozen=True)
class Query:
    """Which runs to read back.

    Attributes:
        experiment: MLflow experiment, W&B `[ENTITY/]PROJECT`; None: all experiments (local), or
            the tracker's default.
        uri: the tracker's address; None: the tracker's own default.
        filters: conditions that must all hold. A tracker may return more runs than these select:
            `lrtrack.filters.select` is applied to what it returns.
        raw_filters: expressions in the tracker's own filter language, which must all hold.
        directory: where journals live.
        metric: the metric that will be read from the histories, in case the tracker keeps it
            outside of lrtrack's own records.
        axis: another such metric, the x axis of curves.
        cache: whether copies of finished runs on this machine may be used.
        runs: `LRTRACK`: runs that lrtrack recorded; `ALL`: also those that others logged, with
            the schedules that their learning rates show, see `lrtrack.records.logged`.
        roles: which metric and which setting of others' runs are the learning rate and the seed.
    """

    experiment: str | None = None
    uri: str | None = None
    filters: Sequence[Filter] = ()
    raw_filters: Sequence[str] = ()
    directory: Path = field(default_factory=lambda: Path(".lrtrack"))
    metric: str | None = None
    cache: bool = True
    runs: str = LRTRACK
    roles: Roles = field(default_factory=Roles)
    axis: str | None = None


@dataclass(frozen=True)
class Publication:
    """A comparison's report, to be stored where its runs are.

    Attributes:
        metric: the metric that was compared.
        folder: a name made from `metric` that is safe for files; each metric has its own.
        headline: the result in one sentence.
        markdown: the report for descriptions, with the most important columns.
        page: the whole report as HTML.
        files: file name to content.
    """

    metric: str
    folder: str
    headline: str
    markdown: str
    page: str
    files: Mapping[str, bytes]


class Sink(Protocol):
    """The writing half of a tracker, for one run; called by one thread at a time.

    Every method may raise `TrackerUnavailable` (lrtrack tries again later), `SinkLost` (likewise,
    from the beginning of the run) or `TrackerError` (lrtrack gives up). If `upload` fails, the run
    is closed without the file, and the upload is retried a few times if that may help.

    Attributes:
        durable: True where everything that `write` accepted is stored for good. False where only
            `close` makes it so: then a new sink receives the whole run again and skips what is
            stored. If `open` sets it to False, earlier records are sent again, too.
    """

    @property
    def durable(self) -> bool:
        """Whether everything that `write` accepted is stored for good; see above."""
        ...

    def open(self) -> Remote:
        """Find this run in the tracker, or create it with its tags and params. Idempotent."""
        ...

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Store the records' metrics.

        Args:
            records: in order of their steps; a step may appear again, with more or other values.
            doubt: whether an earlier attempt at these records got no answer; then only what is
                not stored already may be stored.
        """
        ...

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Store the run-level metrics, and end the run if lrtrack opened it. Idempotent.

        Args:
            state: how the run ended.
            ended: when, in seconds since the epoch.
            summary: run-level metrics by name, such as `loss_final`.

        Raises:
            PartRefused, PartUnavailable: the run is ended, without a part of this.
        """
        ...

    def upload(self, history: Path) -> None:
        """Store the columnar file `history` as `lrtrack/history.parquet`. Idempotent.

        For a run that is continued from another journal, first add the steps that are stored
        already to the file, in place.
        """
        ...

    def release(self) -> None:
        """Free processes and connections; the last call to this sink."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """A place that runs are written to and read from.

    Optional methods and attributes are in `lrtrack.trackers.hooks`.

    Attributes:
        name: as in `track(tracker=…)` and the registry.
        portable: True where another process can make a `Sink` from `Run` and `Target` alone; False
            where this very object must write.
    """

    name: str
    portable: bool

    def active(self) -> bool:
        """Whether the user has a run open here, which new blocks join. Must import nothing."""
        ...

    def status(self) -> str:
        """One line for `lrtrack doctor`: where this tracker is, and whether it answers."""
        ...

    def target(self, experiment: str | None, default: str) -> Target:
        """Decide, in the training process, where a new run goes. Must not use the network.

        Args:
            experiment: the experiment that the user named; None if they named none.
            default: the experiment if the tracker's own settings name none either.
        """
        ...

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """Make the writing half for `run`; None where the journal itself is the store.

        Args:
            run: the run to write.
            target: where to, as `target` decided it in the training process.
            remote_id: the id that `Sink.open` returned before; None the first time.
        """
        ...

    def histories(self, query: Query, progress: Progress | None = None) -> Iterable[History]:
        """Read runs back, newest first.

        Args:
            query: which runs.
            progress: called with (done, total) while they are fetched.

        Raises:
            NothingFound: there is no such experiment; the message names the nearest ones.
            TrackerUnavailable: the tracker cannot be reached.
        """
        ...


def origin_of(url: str) -> str | None:
    """The server that `url` names, as `scheme://host:port`; None if it names none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname:
        return None
    scheme = parts.scheme.partition("+")[0]
    return f"{scheme}://{parts.hostname}" + (f":{port}" if port else "")

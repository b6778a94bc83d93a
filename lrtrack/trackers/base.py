"""What a tracker is: a place that runs are written to and read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from lrtrack.filters import Filter
from lrtrack.records import History, Run, State, StepRecord, Target

#: The experiment of a run for which neither the user nor the tracker's settings name one.
DEFAULT_EXPERIMENT = "lrtrack"

#: Called with (done, total) while histories are fetched.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Remote:
    """A run as the tracker knows it.

    Attributes:
        id: the tracker's own run id.
        url: where people look at it; None where there is no page.
        fresh: the run was made at this moment, so that nothing of it can be there yet.
        first: the run's step at which this block begins; None: where its target says.
    """

    id: str
    url: str | None = None
    fresh: bool = False
    first: int | None = None


@dataclass(frozen=True)
class Query:
    """What to read back.

    Attributes:
        experiment: MLflow experiment, W&B `[ENTITY/]PROJECT`; None: all there is (local only).
        uri: the tracker's address; None: the tracker's own default.
        filters: conditions that must all hold. A tracker may return more runs than these select;
            `lrtrack.filters.select` is applied to what it returns.
        raw_filters: expressions in the tracker's own filter language, all of which must hold.
        directory: where journals live.
        metric: what will be asked of the histories, in case the tracker keeps it elsewhere than
            lrtrack's own records.
        cache: whether copies of finished runs on this machine may be used.
    """

    experiment: str | None = None
    uri: str | None = None
    filters: Sequence[Filter] = ()
    raw_filters: Sequence[str] = ()
    directory: Path = field(default_factory=lambda: Path(".lrtrack"))
    metric: str | None = None
    cache: bool = True


#: The name of the run that keeps an experiment's published reports.
REPORT = "lrtrack report"


@dataclass(frozen=True)
class Publication:
    """A comparison's report, to be kept where its runs are.

    Attributes:
        metric: what was compared.
        folder: a name made of `metric` that is safe for files: each metric's report has its own.
        headline: one sentence that says what came out.
        markdown: the report for descriptions, with what matters most.
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
    """The writing half, for one run; called by one thread at a time.

    Every method may raise `TrackerUnavailable` (tried again later), `SinkLost` (likewise, from
    the beginning of the run) or `TrackerError` (given up). Where `upload` fails, the run is closed
    without the file: it is tried again a few times, if that may help.

    Attributes:
        durable: True where what `write` took is stored for good; False where only `close` says
            so. Then a new sink is given the whole run again, and leaves out what is stored. Where
            `open` makes it False, what was taken before is given again, too.
    """

    @property
    def durable(self) -> bool:
        """Whether what `write` took is stored for good; see above."""
        ...

    def open(self) -> Remote:
        """Find this run in the tracker, or create it with its tags and params. Idempotent."""
        ...

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Store the records' metrics; with `doubt`, store only what is not there already.

        Args:
            records: in order of their steps; a step may come again, with further or other values.
            doubt: an earlier attempt at these records ended without an answer.
        """
        ...

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Store the run-level metrics, and end the run where lrtrack opened it. Idempotent.

        Args:
            state: how it ended.
            ended: when, in seconds since the epoch.
            summary: run-level metrics by name, such as `loss_final`.

        Raises:
            PartRefused, PartUnavailable: the run is ended, without a part of this.
        """
        ...

    def upload(self, history: Path) -> None:
        """Store the columnar file `history` as `lrtrack/history.parquet`. Idempotent.

        Where the run is continued from another journal, the file is first completed, in place, by
        the steps that are stored already.
        """
        ...

    def release(self) -> None:
        """Let go of processes and connections; nothing is asked of this sink any more."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """A place that runs are written to and read from.

    What a tracker may have besides is in `lrtrack.trackers.hooks`.

    Attributes:
        name: as in `track(tracker=…)` and the registry.
        portable: True where a `Sink` can be made in another process from `Run` and `Target`
            alone; False where this very object must do the writing.
    """

    name: str
    portable: bool

    def active(self) -> bool:
        """Whether the user has a run open here, which new blocks join. Imports nothing."""
        ...

    def status(self) -> str:
        """One line for `lrtrack doctor`: where this tracker is, and whether it answers."""
        ...

    def target(self, experiment: str | None, default: str) -> Target:
        """Decide, in the training process, where a new run goes. No network.

        Args:
            experiment: what the user asked for in so many words.
            default: where it goes when neither he nor the tracker's own settings say.
        """
        ...

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The writing half for `run`; None where the journal itself is the store.

        Args:
            run: what is to be written.
            target: where to, as `target` decided it in the training process.
            remote_id: what `Sink.open` returned before; None at the first time.
        """
        ...

    def histories(self, query: Query, progress: Progress | None = None) -> Iterable[History]:
        """Read runs back, newest first.

        Args:
            query: which ones.
            progress: called with (done, total) while they are fetched.

        Raises:
            NothingFound: no such experiment; the message names the nearest ones.
            TrackerUnavailable: the tracker cannot be reached.
        """
        ...


def origin_of(url: str) -> str | None:
    """`scheme://host:port` of `url`, by which servers are told apart; None where it names none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname:
        return None
    scheme = parts.scheme.partition("+")[0]
    return f"{scheme}://{parts.hostname}" + (f":{port}" if port else "")

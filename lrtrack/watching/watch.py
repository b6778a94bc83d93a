"""The trainings that one `lrtrack watch` follows, from journals and trackers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lrtrack import settings
from lrtrack.comparing import fetch_each
from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import TRAIN, History, State
from lrtrack.reports.live import LiveRun
from lrtrack.trackers import registry
from lrtrack.watching.journals import Journals
from lrtrack.watching.trackers import Trackers

_LOCAL = "local"
#: Metrics that stand for themselves elsewhere on the screen, or beside another.
_NOT_CHOSEN = ("lr", "loss_count")


class Watch:
    """Follows trainings.

    Attributes:
        metric: the metric beside the learning rate.

    Args:
        names, experiments: the experiments; none: the configured one, else all.
        trackers: their names; none: the configured ones. Journals of this machine are always read.
        tracking_uri: the address of the trackers' store.
        metric: None: the loss.

    Raises:
        UsageError: a tracker does not exist.
    """

    def __init__(
        self,
        *,
        names: Sequence[str] = (),
        experiments: Sequence[str] = (),
        trackers: Sequence[str] = (),
        tracking_uri: str | None = None,
        metric: str | None = None,
    ) -> None:
        configured = settings.read()
        wanted = [*dict.fromkeys((*names, *experiments))]
        self.metric = metric or "loss"
        self._journals = Journals(configured.directory, wanted)
        chosen = [one.name for one in registry.resolve(trackers or None) if one.name != _LOCAL]
        self._trackers: Trackers | None = None
        if chosen:
            asked: list[str | None] = [*wanted] or [configured.experiment]
            read = partial(_running, asked, chosen, tracking_uri)
            self._trackers = Trackers(read)
            self._trackers.start()
        elif tracking_uri is not None:
            raise UsageError("--tracking-uri needs a tracker that has one. Fix: add --tracker.")
        self._seen: dict[str, LiveRun] = {}

    @property
    def trouble(self) -> str:
        """Why a tracker cannot be read; empty if all can."""
        return "" if self._trackers is None else self._trackers.trouble

    def begin(self) -> dict[str, LiveRun]:
        """Wait for the first answers; no run is known before.

        Raises:
            NothingFound: no training runs.
        """
        runs = self._journals.runs()
        if not runs and self._trackers is not None:
            self._trackers.asked.wait()
            runs = self._trackers.runs()
        self._require(runs)
        return {}

    def once(self) -> list[LiveRun]:
        """All trainings that are running, once the trackers have answered.

        Raises:
            NothingFound: no training runs.
        """
        if self._trackers is not None:
            self._trackers.asked.wait()
        runs = self.look()
        self._require(runs)
        return runs

    def _require(self, runs: Sequence[LiveRun]) -> None:
        if not runs:
            why = f" ({self.trouble})" if self.trouble else ""
            raise NothingFound(f"No training is running{why}.")

    def look(self) -> list[LiveRun]:
        """All trainings that are or were running; those that began last come first."""
        runs = {run.id: run for run in self._journals.runs()}
        others = [] if self._trackers is None else self._trackers.runs()
        for run in others:
            runs.setdefault(run.id, run)
        for run_id, run in self._seen.items():  # a tracker does not list those that have ended
            if run_id not in runs and run.state is State.RUNNING:
                runs[run_id] = _ended(run)
            else:
                runs.setdefault(run_id, run)
        self._seen = runs
        return list(runs.values())

    def is_over(self) -> bool:
        """Whether every training that was seen has ended."""
        return all(run.state is not State.RUNNING for run in self._seen.values())

    def next_metric(self) -> None:
        """Show the next one of the recorded metrics."""
        names = {name for run in self._seen.values() for name in run.series}
        known = sorted(name for name in names if name not in _NOT_CHOSEN)
        if known:
            later = [name for name in known if name > self.metric]
            self.metric = later[0] if later else known[0]

    def close(self) -> None:
        """Stop asking trackers."""
        if self._trackers is not None:
            self._trackers.stop()


def _ended(run: LiveRun) -> LiveRun:
    from dataclasses import replace

    return replace(run, state=State.FINISHED)


def _running(
    experiments: Sequence[str | None], trackers: Sequence[str], uri: str | None
) -> list[History]:
    return fetch_each(
        experiments, tracker=trackers, tracking_uri=uri, filters="state = RUNNING", kind=TRAIN
    )

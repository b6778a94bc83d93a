"""A tracker in this process's memory, for tests and notebooks, and as the smallest example."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrtrack.errors import NothingFound, unknown
from lrtrack.filters import no_raw_filters, select
from lrtrack.journal import history_table
from lrtrack.records import History, Rewind, Run, State, StepRecord, Target
from lrtrack.trackers.base import DEFAULT_EXPERIMENT, Progress, Query, Remote


@dataclass
class StoredRun:
    """One run as the tracker stores it.

    Attributes:
        steps: step to its record; records of the same step are merged.
        summary: the run-level metrics of its end.
        uploaded: the bytes of `lrtrack/history.parquet`.
    """

    run: Run
    experiment: str
    steps: dict[int, StepRecord] = field(default_factory=dict)
    state: State = State.RUNNING
    ended: float | None = None
    summary: dict[str, float] = field(default_factory=dict)
    uploaded: bytes | None = None


class MemoryTracker:
    """Keeps runs in this object: `track(tracker=MemoryTracker())`.

    Attributes:
        stored: run id to the stored run, oldest first.
    """

    name = "memory"
    portable = False

    def __init__(self) -> None:
        self.stored: dict[str, StoredRun] = {}
        self._lock = threading.Lock()

    def active(self) -> bool:
        """Always False: users cannot open a run here."""
        return False

    def status(self) -> str:
        """The number of runs."""
        return f"{len(self.stored)} runs in this process"

    def target(self, experiment: str | None, default: str = DEFAULT_EXPERIMENT) -> Target:
        """A run in this object, under the experiment's name."""
        return Target(self.name, experiment=experiment or default, portable=self.portable)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
        """The writing half for `run`."""
        return MemorySink(self, run, target)

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the runs of an experiment, newest first.

        Raises:
            NothingFound: there is no such experiment.
            UsageError: a filter names a field that no run has, or there is a raw filter.
        """
        no_raw_filters(self.name, query.raw_filters)
        with self._lock:
            kept = sorted(self.stored.values(), key=lambda stored: stored.run.started)[::-1]
            if query.experiment is not None:
                known = {stored.experiment for stored in kept}
                if query.experiment not in known:
                    raise NothingFound(unknown("experiment", query.experiment, known))
                kept = [stored for stored in kept if stored.experiment == query.experiment]
            histories = [_history(stored) for stored in kept]
        histories = select(histories, query.filters, History.fields)
        for done, history in enumerate(histories, start=1):
            yield history
            if progress is not None:
                progress(done, len(histories))


class MemorySink:
    """The writing half of `MemoryTracker`, for one run."""

    durable = True

    def __init__(self, tracker: MemoryTracker, run: Run, target: Target) -> None:
        self._tracker = tracker
        self._run = run
        self._target = target
        self._id = target.run_id or run.id
        self._earlier: frozenset[int] = frozenset()  # steps from before this run was continued

    def open(self) -> Remote:
        """Find the run, or create it."""
        with self._tracker._lock:
            fresh = self._id not in self._tracker.stored
            stored = self._stored()
            stored.state, stored.ended = State.RUNNING, None  # also when a run is resumed
            if self._target.continued:
                self._earlier = self._earlier or frozenset(stored.steps)
        return Remote(self._id, fresh=fresh)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Store records; `doubt` does not matter, as writing one twice changes nothing."""
        with self._tracker._lock:
            steps = self._stored().steps
            for record in records:
                if record.step in self._earlier:
                    continue
                before = steps.get(record.step, record)
                merged = {**before.metrics, **record.metrics}
                steps[record.step] = StepRecord(record.step, before.time, merged)

    def rewind(self, rewind: Rewind) -> float:
        """Delete the abandoned records."""
        with self._tracker._lock:
            stored = self._stored()
            for step, record in list(stored.steps.items()):
                if rewind.abandons(step, record.time):
                    del stored.steps[step]
            self._earlier = frozenset(step for step in self._earlier if step < rewind.step)
            stored.run = stored.run.rewound(rewind)
        return rewind.time

    def complete(self, run: Run) -> None:
        """Store the run as it is known now."""
        with self._tracker._lock:
            self._stored().run = run

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Store the run's state, end time and run-level metrics."""
        with self._tracker._lock:
            stored = self._stored()
            stored.state, stored.ended = state, ended
            stored.summary.update(summary)

    def upload(self, history: Path) -> None:
        """Store the columnar file; for a continued run, with the steps from before."""
        with self._tracker._lock:
            stored = self._stored()
            if self._target.continued:
                history_table.write_parquet(history_table.table_of(vars(_history(stored))), history)
            stored.uploaded = history.read_bytes()

    def release(self) -> None:
        """Nothing to free."""

    def _stored(self) -> StoredRun:
        experiment = self._target.experiment or self._run.experiment or DEFAULT_EXPERIMENT
        return self._tracker.stored.setdefault(self._id, StoredRun(self._run, experiment))


def _history(stored: StoredRun) -> History:
    records = [stored.steps[step] for step in sorted(stored.steps)]
    names = sorted({name for record in records for name in record.metrics})
    return History(
        run=stored.run,
        state=stored.state,
        tracker=MemoryTracker.name,
        steps=np.array([record.step for record in records], dtype=np.int64),
        times=np.array([record.time for record in records], dtype=np.float64),
        metrics={
            name: np.array([record.metrics.get(name, np.nan) for record in records], dtype=float)
            for name in names
        },
        present={
            name: np.array([name in record.metrics for record in records], dtype=bool)
            for name in names
        },
        ended=stored.ended,
    )

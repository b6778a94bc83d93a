"""What a subclass of the contract may say of its tracker, and what all tests use."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Never, TypeVar

import numpy as np

import lrtrack
from lrtrack._optional import load
from lrtrack.errors import SinkLost, TrackerUnavailable
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import History, Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.shipping.delivery import Delivery
from lrtrack.shipping.lock import held
from lrtrack.trackers.base import Query, Sink, Tracker

T = TypeVar("T")
#: Metric → step → value, written so that NaN equals NaN and 0.0 does not equal -0.0.
Table = dict[str, dict[int, str]]

_autouse: Callable[[Callable[..., Any]], Callable[..., Any]] = load("pytest").fixture(autouse=True)
_skip: Callable[[str], Never] = load("pytest").skip


class Contract:
    """What is common to all tests of the contract.

    Attributes:
        within: what stands before the experiments' names, such as a W&B `"ENTITY/"`.
        uri: the tracker's address for reading; None: where it looks by itself.
        reads: whether the tracker reads back what was written to it.
        follows: whether runs that are not over are read back, too.
        raw_filter: an expression in the tracker's own filter language that holds for the runs of
            seed 0 alone; None: it has no such language, and says so by a `UsageError`.
        resolution: seconds by which the times of steps may be off.
        keeps: of a run's identity, what is read back as it was.
        heavy: packages that may not be loaded before the tracker writes or reads.
        patience: seconds to wait at most for anything.
        experiment: the test's own experiment.
    """

    within = ""
    uri: str | None = None
    reads = True
    follows = True
    raw_filter: str | None = None
    resolution = 0.0
    keeps: tuple[str, ...] = (
        "name", "schedule", "optimizer", "seed", "group", "config", "tags", "prefix",
        "device_type", "device_name", "world_size", "version", "kind",
    )  # fmt: skip
    heavy: tuple[str, ...] = ("torch", "mlflow", "wandb")
    patience = 60.0
    experiment: str

    def points(self, tracker: Tracker, remote_id: str) -> Mapping[str, Sequence[float]] | None:
        """How many values the store really has: metric → steps, one for each value it holds.

        Histories show each step once, whatever is stored: only the store itself can tell that
        something is there twice. None: it cannot be asked.

        Args:
            tracker: the fixture's.
            remote_id: what `Sink.open` returned.
        """
        return None

    @_autouse
    def contract_place(self, tracker: Tracker, tmp_path: Path, monkeypatch: Any) -> Iterator[None]:
        """A journal directory and an experiment of the test's own; no shipper is left at work.

        After the tracker, so that what writes to it is gone before the tracker is.
        """
        self.experiment = f"{self.within}contract-{uuid.uuid4().hex[:12]}"
        self.layout = Layout(tmp_path / "journals")
        self.layout.create()
        self._sinks: list[Sink] = []
        self._deliveries: list[Delivery] = []
        monkeypatch.setenv("LRTRACK_DIR", str(self.layout.root))
        monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "0.3")
        yield
        for sink in self._sinks:
            sink.release()
        for delivery in self._deliveries:
            delivery.release()
        self.wait(lambda: not any(map(held, self.layout.shipper_locks())), "the shipper to leave")

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until `holds()`; the error says that it was `what` that was waited for."""
        deadline = time.monotonic() + self.patience
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {self.patience:g} s in vain for {what}")
            time.sleep(0.02)

    def patiently(self, ask: Callable[..., T], *arguments: Any) -> T:
        """Call `ask` with `arguments` as the shipper does: again, while it is told “later”."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return ask(*arguments)
            except TrackerUnavailable as error:
                whole = isinstance(getattr(ask, "__self__", None), Delivery)
                if isinstance(error, SinkLost) and not whole:
                    raise  # asking this sink again is of no use: a delivery begins anew
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def run(self, tracker: Tracker, **fields: Any) -> Run:
        """A run towards the `tracker`, as `track()` would describe one, but for `fields`."""
        target = replace(tracker.target(self.experiment, "lrtrack"), portable=tracker.portable)
        given: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "name": "a run",
            "schedule": Schedule("StepLR", {"step_size": 30, "gamma": 0.1}),
            "optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.9},
            "experiment": target.experiment,
            "seed": 0,
            "config": {"width": 64},
            "tags": {"who": "me"},
            "device_type": "cpu",
            "device_name": "a processor",
            "version": lrtrack.__version__,
            "started": time.time(),
            "host": host(),
            "pid": os.getpid(),
            "cwd": str(Path.cwd()),
            "source": "contract.py",
            "targets": (target,),
        }
        return Run(**{**given, **fields})

    def sink(self, tracker: Tracker, run: Run, remote_id: str | None = None) -> Sink:
        """The writing half for `run`; the test is skipped where there is none.

        Args:
            tracker: the fixture's.
            run: what is to be written.
            remote_id: what `Sink.open` returned before.
        """
        sink = tracker.sink(run, run.targets[0], remote_id)
        if sink is None:
            _skip("the journal itself is this tracker's store")
        self._sinks.append(sink)
        return sink

    def journal(
        self,
        run: Run,
        records: Sequence[StepRecord],
        state: State | None = State.FINISHED,
        **ending: Any,
    ) -> None:
        """Write a run's journal.

        Args:
            run: whose.
            records: its steps.
            state: how it ended; None: its process was killed.
            **ending: what only its end knows: `suggestions`, `diagnoses`.
        """
        writer = JournalWriter(self.layout.journal(run.id), run)
        for record in records:
            writer.append(record.step, record.time, dict(record.metrics))
        if state is None:
            writer.flush()
            writer.release()
        else:
            writer.close(state, **ending)

    def delivery(self, tracker: Tracker, run: Run) -> Delivery:
        """What the shipper makes of a `run` towards the `tracker` that it takes up."""
        found = Delivery(self.layout, run.id, run.targets[0], tracker)
        self._deliveries.append(found)
        return found

    def ship(self, tracker: Tracker, run: Run) -> str:
        """Deliver the journal of `run` to its end; the id that the `tracker` gave it."""
        delivery = self.delivery(tracker, run)
        while delivery.needed and self.patiently(delivery.advance):
            pass
        return delivery.cursor.remote_id or run.id

    def written(self, tracker: Tracker, records: Sequence[StepRecord], **fields: Any) -> Run:
        """A finished run with these `records` and `fields`, delivered to the `tracker`."""
        run = self.run(tracker, **fields)
        self.journal(run, records)
        self.ship(tracker, run)
        return run

    def query(self, **changes: Any) -> Query:
        """What reads the test's experiment, never from a copy; with `changes`."""
        given = {"experiment": self.experiment, "uri": self.uri, "directory": self.layout.root}
        return Query(**{**given, "cache": False, **changes})

    def read(self, tracker: Tracker, **changes: Any) -> list[History]:
        """What the `tracker` has in the test's experiment, or under a query with `changes`.

        The test is skipped where it cannot read.
        """
        self.needs(self.reads, "this tracker reads nothing back")
        return self.patiently(lambda: list(tracker.histories(self.query(**changes))))

    def only(self, tracker: Tracker) -> History:
        """The single run that the `tracker` has in the test's experiment."""
        found = self.read(tracker)
        same(1, len(found), "runs in the experiment")
        return found[0]

    def stored_once(self, tracker: Tracker, remote_id: str, records: Sequence[StepRecord]) -> None:
        """Fail unless the run `remote_id` of the `tracker` has these `records`, each value once."""
        if self.reads:
            same(table_of(records), table_of_history(self.only(tracker)), "the steps")
        points = self.points(tracker, remote_id)
        if points is not None:
            expected = {name: sorted(steps) for name, steps in table_of(records).items()}
            found = {name: sorted(points.get(name, ())) for name in expected}
            same(expected, found, "the steps of all values in the store")

    def needs(self, able: bool, why_not: str) -> None:
        """Skip the test unless the tracker is `able` to do something; else say `why_not`."""
        if not able:
            _skip(why_not)


def records_of(count: int = 8, first: int = 0, **more: float) -> list[StepRecord]:
    """Records from step `first` on, a third of a second apart, of values that no rounding keeps."""
    began = time.time() - count
    return [
        StepRecord(step, began + step / 3, {"lr": 0.1 / (1 + step), "loss": 1 / (3 + step), **more})
        for step in range(first, first + count)
    ]


def table_of(records: Sequence[StepRecord]) -> Table:
    """Records as a table, later values of a step in the place of earlier ones."""
    found: Table = {}
    for record in records:
        for name, value in record.metrics.items():
            found.setdefault(name, {})[record.step] = repr(float(value))
    return found


def table_of_history(history: History) -> Table:
    """A history as such a table; what no step has is left out."""
    found: Table = {}
    for name, values in history.metrics.items():
        mask = np.asarray(history.present[name])
        pairs = zip(history.steps[mask].tolist(), values[mask].tolist(), strict=True)
        found[name] = {step: repr(float(value)) for step, value in pairs}
    return {name: column for name, column in found.items() if column}


def same(expected: Any, actual: Any, what: str) -> None:
    """Fail with what differs, whether or not pytest rewrites this file's assertions."""
    if expected == actual:
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in (*expected, *actual):
            if key not in actual or key not in expected or expected[key] != actual[key]:
                same(expected.get(key, "(none)"), actual.get(key, "(none)"), f"{what}: {key!r}")
    raise AssertionError(f"{what}: expected {_short(expected)}, found {_short(actual)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:500]}…"

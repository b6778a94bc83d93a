"""The base class of the contract: attributes that a subclass may set, and helpers of all tests."""

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
from lrtrack.trackers.hooks import KeepsProcesses

T = TypeVar("T")
#: Metric → step → value, written so that NaN equals NaN and 0.0 does not equal -0.0.
Table = dict[str, dict[int, str]]

_autouse: Callable[[Callable[..., Any]], Callable[..., Any]] = load("pytest").fixture(autouse=True)
_skip: Callable[[str], Never] = load("pytest").skip


class Contract:
    """The attributes that a subclass may set, and what all tests use.

    Attributes:
        within: a prefix of all experiment names, such as a W&B `"ENTITY/"`.
        uri: the tracker's address for reading; None: its own default.
        reads: whether the tracker can read runs back.
        follows: whether it reads runs back that have not ended.
        raw_filter: an expression in the tracker's own filter language that holds for the runs of
            seed 0 alone; None: it has no such language, and says so by a `UsageError`.
        resolution: the largest error of the times of steps, in seconds.
        keeps: the attributes of a run that are read back unchanged.
        heavy: packages that must not be imported before the tracker writes or reads.
        patience: the longest wait for anything, in seconds.
        experiment: the experiment of the current test.
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
        "total_steps",
    )  # fmt: skip
    heavy: tuple[str, ...] = ("torch", "mlflow", "wandb")
    patience = 60.0
    experiment: str

    def points(self, tracker: Tracker, remote_id: str) -> Mapping[str, Sequence[float]] | None:
        """The values that the store itself holds: metric to steps, one step per stored value.

        Histories show each step once, so that duplicates are visible only in the store. Return
        None if the store cannot be queried.

        Args:
            tracker: the tracker of the fixture.
            remote_id: the id that `Sink.open` returned.
        """
        return None

    @_autouse
    def contract_place(self, tracker: Tracker, tmp_path: Path, monkeypatch: Any) -> Iterator[None]:
        """A new journal directory and experiment for each test; waits until no shipper runs.

        It depends on the tracker, so that everything that writes to it is torn down first.
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
        if isinstance(tracker, KeepsProcesses):
            tracker.end_processes()
        self.wait(lambda: not any(map(held, self.layout.shipper_locks())), "the shipper to exit")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition()` holds; fails with a message that names `what`."""
        deadline = time.monotonic() + self.patience
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {self.patience:g} s for {what}")
            time.sleep(0.02)

    def patiently(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call `call` with `arguments` as the shipper does, until the tracker is available."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return call(*arguments)
            except TrackerUnavailable as error:
                whole = isinstance(getattr(call, "__self__", None), Delivery)
                if isinstance(error, SinkLost) and not whole:
                    raise  # retrying this sink does not help: a delivery makes a new one
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def run(self, tracker: Tracker, **fields: Any) -> Run:
        """A run for the `tracker`, as `track()` would describe it, with some `fields` replaced."""
        target = replace(tracker.target(self.experiment, "lrtrack"), portable=tracker.portable)
        defaults: dict[str, Any] = {
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
        return Run(**{**defaults, **fields})

    def sink(self, tracker: Tracker, run: Run, remote_id: str | None = None) -> Sink:
        """The writing half for `run`; skips the test if the tracker has none.

        Args:
            tracker: the tracker of the fixture.
            run: the run to write.
            remote_id: the id that `Sink.open` returned before.
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
            run: the run.
            records: its steps.
            state: how it ended; None: its process was killed.
            **ending: `suggestions` or `diagnoses`, which are recorded at the end.
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
        """The delivery of `run` to the `tracker`, as the shipper makes it."""
        delivery = Delivery(self.layout, run.id, run.targets[0], tracker)
        self._deliveries.append(delivery)
        return delivery

    def ship(self, tracker: Tracker, run: Run) -> str:
        """Deliver the whole journal of `run` to the `tracker`; returns its id there."""
        delivery = self.delivery(tracker, run)
        while delivery.needed and self.patiently(delivery.advance):
            pass
        return delivery.cursor.remote_id or run.id

    def written(self, tracker: Tracker, records: Sequence[StepRecord], **fields: Any) -> Run:
        """Write a finished run with `records` and `fields`, and deliver it to the `tracker`."""
        run = self.run(tracker, **fields)
        self.journal(run, records)
        self.ship(tracker, run)
        return run

    def query(self, **changes: Any) -> Query:
        """The query of the test's experiment, which uses no cached copies; with `changes`."""
        defaults = {"experiment": self.experiment, "uri": self.uri, "directory": self.layout.root}
        return Query(**{**defaults, "cache": False, **changes})

    def read(self, tracker: Tracker, **changes: Any) -> list[History]:
        """Read the test's experiment back from the `tracker`, or a query with `changes`.

        Skips the test if the tracker cannot read.
        """
        self.needs(self.reads, "this tracker cannot read runs back")
        return self.patiently(lambda: list(tracker.histories(self.query(**changes))))

    def only(self, tracker: Tracker) -> History:
        """Read the only run of the test's experiment back from the `tracker`."""
        histories = self.read(tracker)
        same(1, len(histories), "runs in the experiment")
        return histories[0]

    def stored_once(self, tracker: Tracker, remote_id: str, records: Sequence[StepRecord]) -> None:
        """Fail unless the run `remote_id` of the `tracker` holds `records`, each value once."""
        if self.reads:
            same(table_of(records), table_of_history(self.only(tracker)), "the steps")
        points = self.points(tracker, remote_id)
        if points is not None:
            expected = {name: sorted(steps) for name, steps in table_of(records).items()}
            actual = {name: sorted(points.get(name, ())) for name in expected}
            same(expected, actual, "the steps of all values in the store")

    def needs(self, able: bool, reason: str) -> None:
        """Skip the test for `reason` unless the tracker is `able` to do what it tests."""
        if not able:
            _skip(reason)


def records_of(count: int = 8, first: int = 0, **more: float) -> list[StepRecord]:
    """Records a third of a second apart, with values that no rounding preserves.

    Args:
        count: the number of records.
        first: the step of the first one.
        **more: further metrics, by name.
    """
    began = time.time() - count
    return [
        StepRecord(step, began + step / 3, {"lr": 0.1 / (1 + step), "loss": 1 / (3 + step), **more})
        for step in range(first, first + count)
    ]


def table_of(records: Sequence[StepRecord]) -> Table:
    """The `records` as a table, in which a step's later values replace its earlier ones."""
    table: Table = {}
    for record in records:
        for name, value in record.metrics.items():
            table.setdefault(name, {})[record.step] = repr(float(value))
    return table


def table_of_history(history: History) -> Table:
    """A `history` as a table, without metrics that no step has."""
    table: Table = {}
    for name, values in history.metrics.items():
        mask = np.asarray(history.present[name])
        pairs = zip(history.steps[mask].tolist(), values[mask].tolist(), strict=True)
        table[name] = {step: repr(float(value)) for step, value in pairs}
    return {name: column for name, column in table.items() if column}


def same(expected: Any, actual: Any, what: str) -> None:
    """Fail unless two values are equal, whether or not pytest rewrites assertions here.

    Args:
        expected, actual: the values.
        what: what they are, for the message.
    """
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

"""The writing half of a tracker: each method of `lrtrack.trackers.Sink`."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa

from lrtrack.errors import SinkLost
from lrtrack.journal import history_table
from lrtrack.records import Run, State, StepRecord
from lrtrack.testing.contract import Contract, records_of, same, table_of, table_of_history
from lrtrack.trackers.base import Sink, Tracker
from lrtrack.trackers.hooks import CompletesRuns


class Writing(Contract):
    """The methods of a sink, called in each order in which the shipper may call them."""

    def test_open_finds_the_run_it_created(self, tracker: Tracker) -> None:
        """A run is created once, whichever sink opens it, and even if its id was lost."""
        run = self.run(tracker)
        sink = self.sink(tracker, run)
        first = self.patiently(sink.open)
        same(first.id, self.patiently(sink.open).id, "the id, opened twice")
        sink.release()
        for remote_id in (first.id, None):
            later = self.sink(tracker, run, remote_id)
            remote = self.patiently(later.open)
            same(first.id, remote.id, f"the id, opened by another sink that knew {remote_id}")
            same(False, remote.fresh, "a run that existed before is fresh")
            later.release()

    def test_ids_and_urls(self, tracker: Tracker) -> None:
        """An id is text, and a URL is absolute."""
        remote = self.patiently(self.sink(tracker, self.run(tracker)).open)
        same(True, isinstance(remote.id, str) and remote.id != "", f"the id {remote.id!r} is text")
        same(True, remote.url is None or "://" in remote.url, f"the URL {remote.url!r}")

    def test_records_in_doubt_are_stored_once(self, tracker: Tracker, tmp_path: Path) -> None:
        """Records in doubt are skipped if they are stored already, and stored if not."""
        run, records = self.run(tracker), records_of(12)
        sink = self.sink(tracker, run)
        remote = self.patiently(sink.open)
        self.patiently(sink.write, records[:8], False)
        self.patiently(sink.write, records[4:10], True)
        self.patiently(sink.write, records, True)
        self.patiently(sink.write, records, True)
        self._finish(sink, records, tmp_path)
        self.stored_once(tracker, remote.id, records)

    def test_a_run_may_be_ended_twice(self, tracker: Tracker, tmp_path: Path) -> None:
        """Calling the methods that end a run a second time changes nothing."""
        run, records = self.run(tracker), records_of()
        sink = self.sink(tracker, run)
        remote = self.patiently(sink.open)
        self.patiently(sink.write, records, False)
        self._finish(sink, records, tmp_path, run)
        try:
            self._finish(sink, records, tmp_path, run)
        except SinkLost:  # then a new sink receives the whole run again
            sink.release()
            sink = self.sink(tracker, run, remote.id)
            self.patiently(sink.open)
            self.patiently(sink.write, records, True)
            self._finish(sink, records, tmp_path, run)
        sink.release()
        sink.release()
        self.stored_once(tracker, remote.id, records)

    def test_a_sink_may_be_released_unopened(self, tracker: Tracker) -> None:
        """A sink can be released before it was opened, as when the shipper exits early."""
        self.sink(tracker, self.run(tracker)).release()

    def test_a_step_is_amended(self, tracker: Tracker, tmp_path: Path) -> None:
        """A later record of a step adds metrics, and replaces values that it has already."""
        run, records = self.run(tracker), records_of(6)
        late = StepRecord(5, records[5].time, {"loss": 7.5, "val_loss": 0.25})
        sink = self.sink(tracker, run)
        self.patiently(sink.open)
        self.patiently(sink.write, records, False)
        self.patiently(sink.write, [late], False)
        self.patiently(sink.write, [late], True)
        self._finish(sink, [*records, late], tmp_path)
        if self.reads:
            history = self.only(tracker)
            same(7.5, float(history.series("loss")[1][-1]), "the loss of the last step")
            same([5], history.series("val_loss")[0].tolist(), "the steps with a val_loss")

    def test_a_running_run_is_read(self, tracker: Tracker) -> None:
        """The steps of a running run can be read at any time."""
        self.needs(self.reads and self.follows, "this tracker reads only runs that have ended")
        run, records = self.run(tracker), records_of(10)
        sink = self.sink(tracker, run)
        self.patiently(sink.open)
        for count in (6, 10):
            self.patiently(sink.write, records[count - 6 : count], count > 6)
            history = self.only(tracker)
            same((State.RUNNING, None), (history.state, history.ended), "state and end")
            same(table_of(records[:count]), table_of_history(history), "the steps so far")

    def test_two_runs_at_once(self, tracker: Tracker, tmp_path: Path) -> None:
        """Records that are written to two runs in turn stay apart."""
        pairs = []
        for seed in range(2):
            run = self.run(tracker, seed=seed)
            sink = self.sink(tracker, run)
            pairs.append((sink, records_of(first=seed), self.patiently(sink.open)))
        for at in range(0, 8, 4):
            for sink, records, _ in pairs:
                self.patiently(sink.write, records[at : at + 4], False)
        for sink, records, _ in pairs:
            self._finish(sink, records, tmp_path)
        if self.reads:
            steps = {history.run.seed: history.steps.tolist() for history in self.read(tracker)}
            same({0: list(range(8)), 1: list(range(1, 9))}, steps, "the steps, by seed")

    def _finish(
        self, sink: Sink, records: list[StepRecord], folder: Path, run: Run | None = None
    ) -> None:
        """End a run as the shipper does."""
        path = folder / history_table.NAME
        history_table.write_parquet(_columns(records), path)
        self.patiently(sink.upload, path)
        if run is not None and isinstance(sink, CompletesRuns):
            self.patiently(sink.complete, run)
        summary = {"loss_final": 0.5, "loss_best": 0.25}
        self.patiently(sink.close, State.FINISHED, time.time(), summary)


def _columns(records: list[StepRecord]) -> pa.Table:
    steps: dict[int, tuple[float, dict[str, float]]] = {}
    for record in records:
        steps.setdefault(record.step, (record.time, {}))[1].update(record.metrics)
    names = sorted({name for _, metrics in steps.values() for name in metrics})
    return pa.table(
        {
            "step": pa.array(list(steps), pa.int64()),
            "time": pa.array([time for time, _ in steps.values()], pa.float64()),
            **{
                name: pa.array([metrics.get(name) for _, metrics in steps.values()], pa.float64())
                for name in names
            },
        }
    )

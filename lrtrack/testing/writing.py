"""The writing half by itself: what `lrtrack.trackers.base.Sink` promises."""

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
    """Each method of a sink, called as the shipper may call it."""

    def test_open_finds_what_it_made(self, tracker: Tracker) -> None:
        """A run is made once, by whichever sink, and whether or not its id was kept."""
        run = self.run(tracker)
        sink = self.sink(tracker, run)
        first = self.patiently(sink.open)
        same(first.id, self.patiently(sink.open).id, "the id, opened twice")
        sink.release()
        for known in (first.id, None):
            later = self.sink(tracker, run, known)
            found = self.patiently(later.open)
            same(first.id, found.id, f"the id, opened by another sink that knew {known}")
            same(False, found.fresh, "a run that was there before is fresh")
            later.release()

    def test_an_address_is_one(self, tracker: Tracker) -> None:
        """Ids are text, and an address is one that browsers open."""
        remote = self.patiently(self.sink(tracker, self.run(tracker)).open)
        same(True, isinstance(remote.id, str) and remote.id != "", f"the id {remote.id!r} is text")
        same(True, remote.url is None or "://" in remote.url, f"the address {remote.url!r}")

    def test_what_is_written_in_doubt_is_stored_once(
        self, tracker: Tracker, tmp_path: Path
    ) -> None:
        """Records that may be there are left out if they are, and stored if they are not."""
        run, records = self.run(tracker), records_of(12)
        sink = self.sink(tracker, run)
        remote = self.patiently(sink.open)
        self.patiently(sink.write, records[:8], False)
        self.patiently(sink.write, records[4:10], True)
        self.patiently(sink.write, records, True)
        self.patiently(sink.write, records, True)
        self._finish(sink, records, tmp_path)
        self.stored_once(tracker, remote.id, records)

    def test_the_end_may_be_told_twice(self, tracker: Tracker, tmp_path: Path) -> None:
        """Each method that ends a run changes nothing when it is called once more."""
        run, records = self.run(tracker), records_of()
        sink = self.sink(tracker, run)
        remote = self.patiently(sink.open)
        self.patiently(sink.write, records, False)
        self._finish(sink, records, tmp_path, run)
        try:
            self._finish(sink, records, tmp_path, run)
        except SinkLost:  # whoever says so is given the whole run again
            sink.release()
            sink = self.sink(tracker, run, remote.id)
            self.patiently(sink.open)
            self.patiently(sink.write, records, True)
            self._finish(sink, records, tmp_path, run)
        sink.release()
        sink.release()
        self.stored_once(tracker, remote.id, records)

    def test_a_sink_that_was_never_opened_is_let_go(self, tracker: Tracker) -> None:
        """The shipper may leave before it gets to a run."""
        self.sink(tracker, self.run(tracker)).release()

    def test_a_step_is_amended(self, tracker: Tracker, tmp_path: Path) -> None:
        """A later record of a step adds metrics to it, and replaces those that it had."""
        run, records = self.run(tracker), records_of(6)
        late = StepRecord(5, records[5].time, {"loss": 7.5, "val_loss": 0.25})
        sink = self.sink(tracker, run)
        self.patiently(sink.open)
        self.patiently(sink.write, records, False)
        self.patiently(sink.write, [late], False)
        self.patiently(sink.write, [late], True)
        self._finish(sink, [*records, late], tmp_path)
        if self.reads:
            found = self.only(tracker)
            same(7.5, float(found.series("loss")[1][-1]), "the loss of the last step")
            same([5], found.series("val_loss")[0].tolist(), "the steps with a val_loss")

    def test_a_run_that_goes_on_is_seen(self, tracker: Tracker) -> None:
        """What was written can be read at once, and again when there is more of it."""
        self.needs(self.reads and self.follows, "runs that are not over are not read back")
        run, records = self.run(tracker), records_of(10)
        sink = self.sink(tracker, run)
        self.patiently(sink.open)
        for count in (6, 10):
            self.patiently(sink.write, records[count - 6 : count], count > 6)
            found = self.only(tracker)
            same((State.RUNNING, None), (found.state, found.ended), "how the run stands")
            same(table_of(records[:count]), table_of_history(found), "the steps so far")

    def test_two_runs_at_once(self, tracker: Tracker, tmp_path: Path) -> None:
        """What is written to two runs by turns goes to each its own."""
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
            found = {history.run.seed: history.steps.tolist() for history in self.read(tracker)}
            same({0: list(range(8)), 1: list(range(1, 9))}, found, "the steps, by seed")

    def _finish(
        self, sink: Sink, records: list[StepRecord], folder: Path, run: Run | None = None
    ) -> None:
        """What the shipper does at the end of a run."""
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

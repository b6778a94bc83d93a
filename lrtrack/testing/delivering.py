"""The writing half under the shipper, which may be interrupted at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrtrack.errors import TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.shipping import batch
from lrtrack.shipping.credentials import key_of
from lrtrack.shipping.cursor import Cursor
from lrtrack.testing.contract import Contract, records_of, same, table_of, table_of_history
from lrtrack.trackers.base import Sink, Tracker
from lrtrack.trackers.hooks import CompletesRuns

#: Steps per batch in these tests, so that short runs take several batches.
BATCH = 10

# A shipper that is killed when its second batch is stored, but before the cursor is.
_KILLED = """
import os, signal, sys
from pathlib import Path
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping import batch, delivery
from lrtrack.trackers import registry

class Dying(delivery.Delivery):
    batches = 0
    def _save(self, **changes):
        self.batches += "skip" in changes and not changes.get("closed")
        if self.batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._save(**changes)

batch.BATCH = int(sys.argv[3])
layout = Layout(Path(sys.argv[1]))
target = JournalReader(layout.journal(sys.argv[2])).run.targets[0]
dying = Dying(layout, sys.argv[2], target, registry.get(target.tracker))
while dying.advance():
    pass
"""


class Delivering(Contract):
    """Steps are stored exactly once, in order, whatever fails between journal and store."""

    def test_a_whole_run_arrives(self, tracker: Tracker, monkeypatch: Any) -> None:
        """A run of several batches is stored with all steps, each once."""
        monkeypatch.setattr(batch, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.journal(run, records)
        self.stored_once(tracker, self.ship(tracker, run), records)

    def test_every_answer_is_lost_once(self, tracker: Tracker, monkeypatch: Any) -> None:
        """A request whose answer is lost is retried without storing anything twice."""
        monkeypatch.setattr(batch, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        remote_id = self.ship(_Unanswered(tracker, whole=True), run)
        self.stored_once(tracker, remote_id, records)

    def test_half_a_batch_is_stored(self, tracker: Tracker, monkeypatch: Any) -> None:
        """If half of a batch was stored, a retry stores the other half only."""
        monkeypatch.setattr(batch, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        remote_id = self.ship(_Unanswered(tracker, whole=False), run)
        self.stored_once(tracker, remote_id, records)

    def test_a_new_sink_continues(self, tracker: Tracker, monkeypatch: Any) -> None:
        """A new sink continues where another one was released, also several times."""
        monkeypatch.setattr(batch, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        for _ in range(3):
            delivery = self.delivery(tracker, run)
            self.patiently(delivery.advance)
            delivery.release()
        self.stored_once(tracker, self.ship(tracker, run), records)

    def test_the_state_of_a_delivery_is_lost(self, tracker: Tracker, monkeypatch: Any) -> None:
        """Without its cursor a delivery starts again, and stores only what the tracker lacks."""
        monkeypatch.setattr(batch, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        first = self.ship(tracker, run)
        self.layout.cursor(run.id, tracker.name).unlink()
        same(first, self.ship(tracker, run), "the run's id")
        self.stored_once(tracker, first, records)

    def test_its_process_is_killed(self, tracker: Tracker) -> None:
        """Another process completes the delivery of a process that was killed."""
        self.needs(tracker.portable, "only this object can write")
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        killed = self._python("-c", _KILLED, str(self.layout.root), run.id, str(BATCH))
        same(-signal.SIGKILL, killed.returncode, killed.stderr)
        self.layout.marker(run.id).touch()
        key = key_of(run.credentials)
        shipped = self._python("-m", "lrtrack.shipping", str(self.layout.root), "0.5", key)
        cursor = Cursor.load(self.layout.cursor(run.id, tracker.name))
        same((0, None, True), (shipped.returncode, cursor.error, cursor.closed), shipped.stderr)
        self.stored_once(tracker, cursor.remote_id or "", records)

    def test_a_killed_training_has_failed(self, tracker: Tracker) -> None:
        """The steps of a killed training are delivered, and its run is FAILED."""
        run, records = self.run(tracker), records_of()
        self.journal(run, records, state=None)
        self.ship(tracker, run)
        history = self.only(tracker)
        same(State.FAILED, history.state, "the state")
        same(table_of(records), table_of_history(history), "the steps")

    def test_a_run_is_continued_on_another_machine(self, tracker: Tracker, tmp_path: Path) -> None:
        """A journal of another machine appends to the run without changing earlier steps."""
        first, earlier = self.run(tracker), records_of(10)
        self.sink(tracker, first)
        self.journal(first, earlier)
        remote_id = self.ship(tracker, first)
        target = replace(first.targets[0], run_id=remote_id)
        again = replace(first, id=uuid.uuid4().hex, targets=(target,))
        later = records_of(10, first=5, loss=9.5)
        self.journal(again, later)
        same(remote_id, self.ship(tracker, again), "the run's id")
        self.stored_once(tracker, remote_id, [*earlier, *later[5:]])
        self._completes_the_file(tracker, again, tmp_path / history_table.NAME)

    def _completes_the_file(self, tracker: Tracker, run: Run, path: Path) -> None:
        table, _ = JournalReader(self.layout.journal(run.id)).table()
        history_table.write_parquet(table, path)
        sink = self.sink(tracker, run, run.targets[0].run_id)
        self.patiently(sink.open)
        self.patiently(sink.upload, path)
        steps = history_table.read_parquet(path, own=True)["step"].to_pylist()
        same(list(range(15)), steps, "the steps in the file, which `upload` completes in place")

    def test_diagnoses_and_suggestions_are_kept(self, tracker: Tracker) -> None:
        """Diagnoses and suggestions, which are known only at the end of a run, are read back."""
        diagnosis = {"code": "LR004", "message": "too “small”\n", "hint": "end earlier"}
        run, find = self.run(tracker), self.run(tracker, kind="find")
        self.journal(run, records_of(), diagnoses=[diagnosis])
        self.journal(find, records_of(), suggestions={"minimum": 1 / 3})
        for block in (run, find):
            self.ship(tracker, block)
        runs = {history.run.kind: history.run for history in self.read(tracker)}
        same((diagnosis,), runs["train"].diagnoses, "the diagnoses")
        same({"minimum": 1 / 3}, runs["find"].suggestions, "the suggestions")

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=self.patience)  # noqa: S603


class _Unanswered:
    """A tracker whose requests each fail once after they were carried out, wholly or by half."""

    portable = False

    def __init__(self, tracker: Tracker, whole: bool) -> None:
        self._tracker = tracker
        self._whole = whole
        self.name = tracker.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Any:
        """A sink whose answers are lost."""
        sink = self._tracker.sink(run, target, remote_id)
        if sink is None:
            return None
        completes = isinstance(sink, CompletesRuns)
        return (_BreakingCompletion if completes else _Breaking)(sink, self._whole)


class _Breaking:
    """The writing half of `_Unanswered`."""

    def __init__(self, sink: Sink, whole: bool) -> None:
        self._sink = sink
        self._whole = whole
        self._broken: set[Any] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._sink, name)
        if name not in ("open", "upload", "complete", "close"):
            return method

        def carry_out(*arguments: Any) -> Any:
            answer = method(*arguments)
            self._once(name)
            return answer

        return carry_out

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Store the records, or the first half of them, and fail the first time."""
        first = records[0].step
        if not self._whole and first not in self._broken:
            self._sink.write(records[: len(records) // 2], doubt)
        else:
            self._sink.write(records, doubt)
        self._once(first)

    def _once(self, what: Any) -> None:
        if what not in self._broken:
            self._broken.add(what)
            raise TrackerUnavailable("the answer was lost")


class _BreakingCompletion(_Breaking):
    """The same for a sink that completes runs: protocols do not see what `__getattr__` gives."""

    def complete(self, run: Run) -> None:
        """Complete the run, and fail the first time."""
        self.__getattr__("complete")(run)

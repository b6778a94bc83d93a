"""The writing half as the shipper uses it: journals in, and anything may break on the way."""

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
from lrtrack.shipping import delivery as shipping
from lrtrack.shipping.credentials import key_of
from lrtrack.shipping.cursor import Cursor
from lrtrack.testing.contract import Contract, records_of, same, table_of, table_of_history
from lrtrack.trackers.base import Sink, Tracker
from lrtrack.trackers.hooks import CompletesRuns

#: Steps a batch in these tests, so that short runs take several.
BATCH = 10

# A shipper that is killed when its second batch is stored and nobody has heard of it.
_KILLED = """
import os, signal, sys
from pathlib import Path
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.shipping import delivery
from lrtrack.trackers import registry

class Dying(delivery.Delivery):
    batches = 0
    def _save(self, **changes):
        self.batches += "skip" in changes and not changes.get("closed")
        if self.batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._save(**changes)

delivery.BATCH = int(sys.argv[3])
layout = Layout(Path(sys.argv[1]))
target = JournalReader(layout.journal(sys.argv[2])).run.targets[0]
dying = Dying(layout, sys.argv[2], target, registry.get(target.tracker))
while dying.advance():
    pass
"""


class Delivering(Contract):
    """Exactly once, in order, whatever breaks between the journal and the store."""

    def test_a_whole_run_arrives(self, tracker: Tracker, monkeypatch: Any) -> None:
        """Several batches and the end of a run: all steps, each once."""
        monkeypatch.setattr(shipping, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.journal(run, records)
        self.stored_once(tracker, self.ship(tracker, run), records)

    def test_every_answer_is_lost_once(self, tracker: Tracker, monkeypatch: Any) -> None:
        """A request that was carried out, of which nobody heard, is not carried out twice."""
        monkeypatch.setattr(shipping, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        remote_id = self.ship(_Unanswered(tracker, whole=True), run)
        self.stored_once(tracker, remote_id, records)

    def test_half_a_batch_is_stored(self, tracker: Tracker, monkeypatch: Any) -> None:
        """Of a batch that broke off in the middle, the rest is stored and no more."""
        monkeypatch.setattr(shipping, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        remote_id = self.ship(_Unanswered(tracker, whole=False), run)
        self.stored_once(tracker, remote_id, records)

    def test_a_new_sink_goes_on(self, tracker: Tracker, monkeypatch: Any) -> None:
        """A run may be put away in the middle, and taken up by another sink; more than once."""
        monkeypatch.setattr(shipping, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        for _ in range(3):
            delivery = self.delivery(tracker, run)
            self.patiently(delivery.advance)
            delivery.release()
        self.stored_once(tracker, self.ship(tracker, run), records)

    def test_the_state_of_a_delivery_is_lost(self, tracker: Tracker, monkeypatch: Any) -> None:
        """Without its cursor a run begins anew, and the tracker is asked what it has of it."""
        monkeypatch.setattr(shipping, "BATCH", BATCH)
        run, records = self.run(tracker), records_of(35)
        self.sink(tracker, run)
        self.journal(run, records)
        first = self.ship(tracker, run)
        self.layout.cursor(run.id, tracker.name).unlink()
        same(first, self.ship(tracker, run), "the run's id")
        self.stored_once(tracker, first, records)

    def test_its_process_is_killed(self, tracker: Tracker) -> None:
        """Another process brings to its end what a killed one began."""
        self.needs(tracker.portable, "only this very object writes")
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
        """What its journal has is delivered; nobody was left to say how it ended."""
        run, records = self.run(tracker), records_of()
        self.journal(run, records, state=None)
        self.ship(tracker, run)
        found = self.only(tracker)
        same(State.FAILED, found.state, "the state")
        same(table_of(records), table_of_history(found), "the steps")

    def test_it_is_gone_on_with_elsewhere(self, tracker: Tracker, tmp_path: Path) -> None:
        """A journal of another machine adds to the run; steps that are there stay as they are."""
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

    def test_what_the_end_tells_is_kept(self, tracker: Tracker) -> None:
        """Diagnoses of a training and suggestions of a range test are known at the end only."""
        told = {"code": "LR004", "message": "too “small”\n", "hint": "end earlier"}
        run, find = self.run(tracker), self.run(tracker, kind="find")
        self.journal(run, records_of(), diagnoses=[told])
        self.journal(find, records_of(), suggestions={"minimum": 1 / 3})
        for each in (run, find):
            self.ship(tracker, each)
        found = {history.run.kind: history.run for history in self.read(tracker)}
        same((told,), found["train"].diagnoses, "the diagnoses")
        same({"minimum": 1 / 3}, found["find"].suggestions, "the suggestions")

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=self.patience)  # noqa: S603


class _Unanswered:
    """A tracker whose requests are carried out, wholly or by half, and then break off once each."""

    portable = False

    def __init__(self, tracker: Tracker, whole: bool) -> None:
        self._tracker = tracker
        self._whole = whole
        self.name = tracker.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Any:
        """A sink that breaks off."""
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
        """Store the records, or the first half of them, and break off the first time."""
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
        """Complete the run, and break off the first time."""
        self.__getattr__("complete")(run)

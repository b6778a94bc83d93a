"""One run to one tracker: batches in journal order, the cursor moved after success."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, replace
from typing import Any

from lrtrack.errors import DiskTrouble, JournalError, SinkLost, TrackerError
from lrtrack.journal import overflow
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, StepRecord, Target
from lrtrack.shipping import temporary
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.run_end import RunEnd
from lrtrack.shipping.step_numbering import counts_from_zero, shifted
from lrtrack.trackers.base import Sink, Tracker
from lrtrack.trackers.hooks import KeepsTemporaryFiles
from lrtrack.trackers.shared_runs import before

#: Steps handed to a tracker at once: enough to fill its requests, few enough to see progress.
BATCH = 1000

#: What a cursor says of trouble when there is none.
WELL: dict[str, Any] = {
    "error": None, "refused": None, "given_up": False, "failures": 0, "missing": None,
}  # fmt: skip

#: What a disk says that is full, read-only or away for a while, and a process with too many files.
PASSING = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.ESTALE, errno.EMFILE, errno.ENFILE,
}  # fmt: skip

Position = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """Records that may go out now, and where the cursor stands after them."""

    records: list[StepRecord]
    after: Position
    more: bool


class Delivery:
    """Brings one run to one tracker, one `advance` at a time.

    Args:
        layout: the journal directory.
        run_id: lrtrack's id of the run.
        target: where the run goes.
        tracker: the tracker named in `target`.
    """

    def __init__(self, layout: Layout, run_id: str, target: Target, tracker: Tracker) -> None:
        self.run_id = run_id
        self.target = target
        self._layout = layout
        self._reader = JournalReader(layout.journal(run_id))
        self._path = layout.cursor(run_id, target.tracker)
        self._gate = layout.gate(run_id, target.tracker)
        self._shift: int | None = None
        self.cursor = Cursor.load(self._path)
        sink = tracker.sink(self._reader.run, target, self.cursor.remote_id)
        self._ending = RunEnd(self._reader, layout)
        if sink is not None and isinstance(sink, KeepsTemporaryFiles):
            sink.temporary = temporary.path_of(layout)
        self._sink = sink
        self._opened = False
        told = self.cursor
        if not told.closed and not self._reader.stands(told.offset, told.skip):
            self._rewind()
        told.doubtful = min(told.doubtful, self._reader.size())
        if self._sink is not None and not self._sink.durable and not self.cursor.closed:
            self._rewind()

    @property
    def run(self) -> Run:
        """The run, as its journal describes it."""
        return self._reader.run

    @property
    def needed(self) -> bool:
        """Whether this tracker takes deliveries at all: the local one reads the journal."""
        return self._sink is not None

    @property
    def complete(self) -> bool:
        """Whether the run is over, and all of it delivered."""
        return self.cursor.closed and self._reader.size() <= self.cursor.offset

    @property
    def damage(self) -> str | None:
        """What of the journal could not be read so far; None where all could."""
        return str(self._reader.damage) if self._reader.damage else None

    def alive(self) -> bool:
        """Whether the run still writes its journal."""
        return self._reader.alive()

    def kept_back(self) -> bool:
        """Whether the training process does not want anything delivered now, or the turn of an
        earlier block of the same run comes first.
        """
        earlier = before(self.target)
        if earlier is not None and self._is_undelivered(earlier):
            return True
        try:
            os.kill(int(self._gate.read_text()), 0)
        except (OSError, ValueError):  # no gate, or nobody who would open it
            return False
        return True

    def _is_undelivered(self, run_id: str) -> bool:
        """Whether the block `run_id` is queued, and its delivery to the same tracker can go on."""
        cursor = Cursor.load(self._layout.cursor(run_id, self.target.tracker))
        if cursor.closed or cursor.given_up or not self._layout.marker(run_id).exists():
            return False
        try:
            return JournalReader(self._layout.journal(run_id)).run.id == run_id
        except (JournalError, OSError):
            return False

    def extent(self) -> tuple[int, bool]:
        """Bytes in the journal, and whether more may come."""
        alive = self._reader.alive()  # asked first, as the last bytes come before the end
        return self._reader.size(), alive

    def advance(self) -> bool:
        """Deliver one batch, or what the end of the run needs.

        Returns:
            Whether there is more to do right now.

        Raises:
            TrackerUnavailable: later; TrackerError: never.
        """
        try:
            return self._advance()
        except SinkLost:
            self._opened = False
            self._rewind()
            raise
        except OSError as error:
            if error.errno in PASSING:
                raise DiskTrouble(f"cannot deliver at present: {error}") from error
            raise

    def release(self) -> None:
        """Let go of what the tracker holds open for this run."""
        if self._sink is not None:
            self._sink.release()

    def _advance(self) -> bool:
        # Asked first: if the writer is gone, what is read from here on is all there will be.
        alive = self._reader.alive()
        if not alive:
            overflow.merge(self._reader.path)
        if self.complete:
            return False
        sink = self._open()
        batch = take(self._reader, self.cursor, alive)
        if batch.records:
            # A run of another journal that is continued here may have these steps already.
            doubt = self.cursor.doubt or self.target.continued
            doubt = doubt or self.cursor.offset < self.cursor.doubtful
            self._save(doubt=True)
            sink.write(shifted(batch.records, self._first()), doubt)
        if (self.cursor.offset, self.cursor.skip) != batch.after or self.cursor.error:
            offset, skip = batch.after
            self._save(offset=offset, skip=skip, doubt=offset < self.cursor.doubtful, **WELL)
        if not batch.more and not alive:
            self._finish(sink)
            return False
        return batch.more

    def note(self, error: TrackerError, final: bool) -> None:
        """Leave word for those who wait why nothing moves."""
        with contextlib.suppress(DiskTrouble):
            failures = self.cursor.failures + 1
            refused = error.fix or None
            self._save(error=error.reason, refused=refused, given_up=final, failures=failures)

    def _open(self) -> Sink:
        sink = self._sink
        if sink is None:
            raise TrackerError(f"tracker {self.target.tracker!r} takes no deliveries")
        if not self._opened or self.cursor.closed:  # closed, yet the journal goes on: resumed
            durable = sink.durable
            remote = sink.open()
            if durable and not sink.durable:  # who had kept what was delivered is gone
                self._rewind()
            known = self.cursor.remote_id is not None or remote.fresh
            # A run of which nobody knew that it is there: its cursor is lost, deleted perhaps.
            doubtful = self.cursor.doubtful if known else self._reader.size()
            first = self.target.first if remote.first is None else remote.first
            self._save(remote_id=remote.id, url=remote.url, closed=False, doubtful=doubtful,
                       first=first, **WELL)  # fmt: skip
            self._opened, self._shift = True, None
        return sink

    def _first(self) -> int:
        """How many steps later the block's own steps are in the tracker's run."""
        first = self.cursor.first or 0
        if self._shift is None:
            self._shift = first if first and counts_from_zero(self._reader) else 0
        return self._shift

    def _finish(self, sink: Sink) -> None:
        missing = self._ending.store(sink, self._first())
        size = self._reader.size()
        self._save(
            closed=True, offset=size, skip=0, damage=self.damage, **{**WELL, "missing": missing}
        )

    def _rewind(self) -> None:
        """Begin anew; whatever was journalled until now may be in the tracker."""
        cursor = self.cursor
        if cursor.doubt or cursor.offset > 0:
            cursor.doubt, cursor.doubtful = True, self._reader.size()
        cursor.offset = cursor.skip = 0

    def _save(self, **changes: Any) -> None:
        """Change the cursor on the disk, and only then here: what is not kept has not happened."""
        changed = replace(self.cursor, **changes)
        try:
            changed.save(self._path)
        except OSError as error:
            raise DiskTrouble(f"cannot write to {self._path.parent}: {error}") from error
        self.cursor = changed


def take(reader: JournalReader, cursor: Cursor, alive: bool) -> Batch:
    """Up to `BATCH` steps beyond the cursor, parts of one step joined.

    The last step of a living run is held back, as `run.log` may still change it, unless the run
    asked to have everything delivered (`flush`).
    """
    records: list[StepRecord] = []
    positions: list[Position] = []
    after, sealed = (cursor.offset, cursor.skip), 0
    for entry in reader.entries(cursor.offset):
        if entry.event is not None:
            after, sealed = (entry.end, 0), len(records)
            if positions:
                positions[-1] = after
            continue
        rows = entry.records()
        done = cursor.skip if entry.start == cursor.offset else 0
        records += rows[done:]
        positions += [(entry.start, at + 1) for at in range(done, len(rows) - 1)]
        positions += [(entry.end, 0)] if done < len(rows) else []
        if len(records) > BATCH:
            break
    else:
        if alive:
            keep = len(records)
            while keep > sealed and records[keep - 1].step == records[-1].step:
                keep -= 1
            records, positions = records[:keep], positions[:keep]
    more = len(records) > BATCH
    records, positions = records[:BATCH], positions[:BATCH]
    return Batch(_joined(records), positions[-1] if positions else after, more)


def _joined(records: list[StepRecord]) -> list[StepRecord]:
    found: list[StepRecord] = []
    for record in records:
        if found and found[-1].step == record.step:
            found[-1] = StepRecord(
                record.step, found[-1].time, {**found[-1].metrics, **record.metrics}
            )
        else:
            found.append(record)
    return found

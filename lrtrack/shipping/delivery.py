"""Delivers one run to one tracker: batches in journal order; the cursor moves after success."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import replace
from typing import Any

from lrtrack.errors import DiskTrouble, JournalError, PartRefused, SinkLost, TrackerError
from lrtrack.journal import gate, overflow
from lrtrack.journal.ending import with_news
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, Target
from lrtrack.shipping import temporary
from lrtrack.shipping.batch import take
from lrtrack.shipping.chart_rows import ChartRows
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.delivered_segments import DeliveredSegments
from lrtrack.shipping.run_end import RunEnd
from lrtrack.shipping.step_numbering import (
    counts_from_zero,
    run_so_far,
    shifted,
    shifted_rewind,
)
from lrtrack.trackers.base import Sink, Tracker
from lrtrack.trackers.hooks import AbandonsSteps, CompletesRuns, KeepsTemporaryFiles
from lrtrack.trackers.shared_runs import before

#: The fields of a cursor without trouble.
WELL: dict[str, Any] = {
    "error": None, "refused": None, "given_up": False, "failures": 0, "missing": None,
}  # fmt: skip

#: Errors of a disk that is full, read-only or gone for a while, and of too many open files.
PASSING = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.ESTALE, errno.EMFILE, errno.ENFILE,
}  # fmt: skip


class Delivery:
    """Delivers one run to one tracker, one `advance` at a time.

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
        self._rows = ChartRows(tracker, target, self.cursor)
        sink = tracker.sink(run_so_far(self._reader, self.cursor), target, self.cursor.remote_id)
        self._ending = RunEnd(self._reader, layout)
        self._segments = DeliveredSegments(layout, self._reader.run)
        if sink is not None and isinstance(sink, KeepsTemporaryFiles):
            sink.temporary = temporary.path_of(layout)
        self._sink = sink
        self._opened = False
        cursor = self.cursor
        if not cursor.closed and not self._reader.stands(cursor.offset, cursor.skip):
            self._start_over()
        cursor.doubtful = min(cursor.doubtful, self._reader.size())
        if self._sink is not None and not self._sink.durable and not self.cursor.closed:
            self._start_over()

    @property
    def run(self) -> Run:
        """The run as its journal describes it."""
        return self._reader.run

    @property
    def needed(self) -> bool:
        """Whether this tracker takes deliveries at all: the local one reads the journal."""
        return self._sink is not None

    @property
    def complete(self) -> bool:
        """Whether the run is over and completely delivered."""
        return self.cursor.closed and self._reader.size() <= self.cursor.offset

    @property
    def damage(self) -> str | None:
        """Which part of the journal could not be read so far; None if all could."""
        return str(self._reader.damage) if self._reader.damage else None

    def alive(self) -> bool:
        """Whether the run's process still writes its journal."""
        return self._reader.alive()

    def kept_back(self) -> bool:
        """Whether the training process holds deliveries back, or an earlier block of the same run
        must be
        delivered first.
        """
        earlier = before(self.target)
        if earlier is not None and self._is_undelivered(earlier):
            return True
        return gate.is_closed(self._gate)

    def _is_undelivered(self, run_id: str) -> bool:
        """Returns whether the block `run_id` is queued and its delivery to the same tracker can
        continue.
        """
        cursor = Cursor.load(self._layout.cursor(run_id, self.target.tracker))
        if cursor.closed or cursor.given_up or not self._layout.marker(run_id).exists():
            return False
        try:
            return JournalReader(self._layout.journal(run_id)).run.id == run_id
        except (JournalError, OSError):
            return False

    def extent(self) -> tuple[int, bool]:
        """Returns the bytes in the journal, and whether more may come."""
        alive = self._reader.alive()  # checked first, because the last bytes come before the end
        return self._reader.size(), alive

    def advance(self) -> bool:
        """Delivers one batch, or what the end of the run needs.

        Returns:
            Whether there is more to do right now.

        Raises:
            TrackerUnavailable: try again later.
            TrackerError: never try again.
        """
        try:
            return self._advance()
        except SinkLost:
            self._opened = False
            self._start_over()
            raise
        except Exception as error:
            self._rows.restore(self.cursor)
            if isinstance(error, OSError) and error.errno in PASSING:
                raise DiskTrouble(f"cannot deliver at present: {error}") from error
            raise

    def release(self) -> None:
        """Releases what the tracker holds open for this run."""
        if self._sink is not None:
            self._sink.release()

    def _advance(self) -> bool:
        # In this order: if the writer is gone, all of these bytes are there to be read. What comes
        # later is of a process that resumes the run, perhaps while its end is delivered.
        size = self._reader.size()
        alive = self._reader.alive()
        if not alive:
            overflow.merge(self._reader.path)
        if self.complete:
            return False
        sink = self._open()
        batch = take(self._reader, self._rows.unread(self.cursor), alive)
        rows = self._rows.take(batch, is_last=not batch.more and not alive)
        if rows:
            # A run continued from another journal may have these steps already.
            doubt = self.cursor.doubt or self.target.continued
            doubt = doubt or self.cursor.offset < self.cursor.doubtful
            self._save(doubt=True)
            sink.write(shifted(rows, self._first(), self.cursor.floor), doubt)
        floor = self.cursor.floor
        if batch.rewind is not None:
            floor = batch.rewind.time
            if isinstance(sink, AbandonsSteps):
                floor = sink.rewind(shifted_rewind(batch.rewind, self._first()))
        if batch.news and isinstance(sink, CompletesRuns):
            events = (entry.event for entry in self._reader.entries())
            run = with_news(run_so_far(self._reader, self.cursor), events)
            with contextlib.suppress(PartRefused):  # it is stored again at the end
                sink.complete(run)
        if (self.cursor.offset, self.cursor.skip) != self._rows.settled or self.cursor.error:
            self._move(floor)
            self._segments.pack(self.cursor.offset)
        if not batch.more and not alive:
            self._finish(sink, size)
            return False
        return batch.more

    def _move(self, floor: float) -> None:
        """Moves the cursor behind everything that the tracker has by now."""
        offset, skip = self._rows.settled
        doubt, note = offset < self.cursor.doubtful, self._rows.note() or self.cursor.note
        counted = self._rows.state
        self._save(offset=offset, skip=skip, doubt=doubt, floor=floor, counted=counted, note=note,
                   **WELL)  # fmt: skip

    def note(self, error: TrackerError, final: bool) -> None:
        """Stores why the delivery is stuck, for the processes that wait for it."""
        with contextlib.suppress(DiskTrouble):
            failures = self.cursor.failures + 1
            refused = error.fix or None
            self._save(error=error.reason, refused=refused, given_up=final, failures=failures)

    def _open(self) -> Sink:
        sink = self._sink
        if sink is None:
            raise TrackerError(f"tracker {self.target.tracker!r} takes no deliveries")
        if (
            not self._opened or self.cursor.closed
        ):  # it was closed, and the journal has grown: the run was resumed
            durable = sink.durable
            remote = sink.open()
            if durable and not sink.durable:  # the process that held what was delivered is gone
                self._start_over()
            exists = self.cursor.remote_id is not None or remote.fresh
            # The run exists unexpectedly: its cursor was lost, or deleted.
            doubtful = self.cursor.doubtful if exists else self._reader.size()
            first = self.target.first if remote.first is None else remote.first
            self._save(remote_id=remote.id, url=remote.url, closed=False, doubtful=doubtful,
                       first=first, **WELL)  # fmt: skip
            self._opened, self._shift = True, None
        return sink

    def _first(self) -> int:
        """Returns how many steps later the block's own steps are in the tracker's run."""
        first = self.cursor.first or 0
        if self._shift is None:
            self._shift = first if first and counts_from_zero(self._reader) else 0
        return self._shift

    def _finish(self, sink: Sink, size: int) -> None:
        """Ends the run in the tracker.

        Args:
            sink: where it is.
            size: the bytes that the journal had before its writer was found to be gone; behind the
                last record there may be a part of another one.
        """
        missing = self._ending.store(sink, self._first())
        end = max(size, self.cursor.offset)
        self._save(
            closed=True, offset=end, skip=0, damage=self.damage, **{**WELL, "missing": missing}
        )
        self._rows.restore(self.cursor)

    def _start_over(self) -> None:
        """Starts again from the beginning; what was journalled so far may be in the tracker."""
        cursor = self.cursor
        if cursor.doubt or cursor.offset > 0:
            cursor.doubt, cursor.doubtful = True, self._reader.size()
        cursor.offset = cursor.skip = 0
        cursor.floor, cursor.counted = 0.0, None
        self._rows.restore(cursor)

    def _save(self, **changes: Any) -> None:
        """Changes the cursor on disk, and only then in memory: what is not saved has not
        happened.
        """
        changed = replace(self.cursor, **changes)
        try:
            changed.save(self._path)
        except OSError as error:
            raise DiskTrouble(f"cannot write to {self._path.parent}: {error}") from error
        self.cursor = changed

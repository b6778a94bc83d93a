"""The rows that a tracker's charts get: every step, or those that show each metric's course.

Rows of a stretch of steps are known when the stretch is over. Until then the cursor stays where it
begins, so that a delivery that is killed reads it again and chooses the same rows. How many rows
were sent before is in the cursor.
"""

from __future__ import annotations

from dataclasses import replace

from lrtrack.records import StepRecord, Target
from lrtrack.shipping.batch import Batch, Position
from lrtrack.shipping.cursor import Cursor
from lrtrack.stats.row_budget import RowBudget
from lrtrack.stats.thinning import Thinner
from lrtrack.trackers.base import RowAdvice, Tracker
from lrtrack.trackers.hooks import AdvisesRows


class ChartRows:
    """The rows of one delivery.

    Args:
        tracker: where they go.
        target: says whether all of them are sent.
        cursor: where the delivery stands.

    Attributes:
        settled: the position in the journal before which it is known which rows are sent.
        state: what has been counted up to there, for the cursor; None if nothing is counted.
    """

    def __init__(self, tracker: Tracker, target: Target, cursor: Cursor) -> None:
        self._advice = tracker.row_advice if isinstance(tracker, AdvisesRows) else None
        self._is_thin = target.thin
        self.restore(cursor)

    def restore(self, cursor: Cursor) -> None:
        """Go back to what is saved; rows that were returned but not sent are returned again."""
        self.settled = self._read = (cursor.offset, cursor.skip)
        self.state = cursor.counted
        self._budget = None if self._advice is None else _budget(self._advice, cursor)
        self._thinner: Thinner | None = None
        if self._is_thin and self._budget is not None:
            self._thinner = Thinner(self._budget)

    def unread(self, cursor: Cursor) -> Cursor:
        """Return the cursor with the position up to which the journal is read."""
        if self._thinner is None:
            return cursor
        return replace(cursor, offset=self._read[0], skip=self._read[1])

    def take(self, batch: Batch, is_last: bool) -> list[StepRecord]:
        """Take a batch.

        Args:
            batch: what follows in the journal.
            is_last: whether the run is over and nothing follows.

        Returns:
            The rows to send now.
        """
        self._read = batch.after
        if self._thinner is None:
            self.settled = batch.after
            if self._budget is not None:
                self._budget.spend_each(record.time for record in batch.records)
                self.state = self._budget.state
            return batch.records
        rows = self._thinned(self._thinner, batch)
        if is_last or batch.rewind is not None:
            rows += self._end(self._thinner, batch.after)
        abandoned = batch.abandoned if batch.rewind is None else batch.rewind.step
        return rows if abandoned is None else [row for row in rows if row.step < abandoned]

    def note(self) -> str | None:
        """Return a line for a run with more rows than the tracker's charts are meant for."""
        if self._thinner is not None or self._budget is None or self._advice is None:
            return None
        return self._advice.note if self._budget.is_exceeded else None

    def _thinned(self, thinner: Thinner, batch: Batch) -> list[StepRecord]:
        rows: list[StepRecord] = []
        begin = batch.before
        for index, (part, after) in enumerate(zip(batch.parts, batch.positions, strict=True)):
            if index in batch.breaks:
                rows += self._end(thinner, begin)
            is_new = thinner.begins(part)
            rows += thinner.add(part)
            if is_new and thinner.is_between:
                self.settled, self.state = begin, thinner.budget.state
            begin = after
        if len(batch.parts) in batch.breaks:
            rows += self._end(thinner, batch.after)
        if thinner.is_empty:
            self.settled = batch.after
        return rows

    def _end(self, thinner: Thinner, at: Position) -> list[StepRecord]:
        rows = thinner.end()
        self.settled, self.state = at, thinner.budget.state
        return rows


def _budget(advice: RowAdvice, cursor: Cursor) -> RowBudget:
    budget = RowBudget(advice.per_minute, advice.per_run)
    if cursor.counted is not None:
        budget.restore(cursor.counted)
    return budget

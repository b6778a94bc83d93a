"""A run's surviving records in parts, for a journal that is too long to be in memory at once.

The same rows as `JournalReader.course` has, in the same order, with the same columns. The journal
is read twice: first for its events, the names of its metrics, and the few rows that amend a step
after later ones; then for the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lrtrack.journal.arrow_arrays import arrow_of, mask_of, numbers_of
from lrtrack.journal.course import Course, CourseEvents, SurvivingRows, before, merge
from lrtrack.journal.parquet_encoding import options_for
from lrtrack.journal.reader import JournalReader

#: About the most values in one part.
VALUES = 2**18


class HistoryParts:
    """The surviving rows of a complete journal.

    Attributes:
        course: everything that the journal says but its rows, of which the table has none.
        names: the metrics of the surviving rows, in order of appearance.

    Args:
        reader: the journal.
        most: the most metrics that are read, those that appear first; None: all.

    Raises:
        OSError, JournalError: it cannot be read.
    """

    def __init__(self, reader: JournalReader, most: int | None = None) -> None:
        self._reader = reader
        late_rows = SurvivingRows()
        self._rewinds: list[tuple[int, int]] = []
        lowest: dict[str, int] = {}  # name → the lowest step that has it
        events, order = CourseEvents(), _Order()
        for entry in reader.entries():
            events.add(entry)
            if entry.rows is not None:
                late = order.late(numbers_of(entry.rows["step"]))
                if late.any():
                    late_rows.add(entry.rows.filter(mask_of(late)))
                for name, step in _lowest(entry.rows):
                    lowest[name] = min(step, lowest.get(name, step))
            elif events.rewind is not None:
                step = events.rewind.step
                order.go_back(step)
                self._rewinds.append((entry.start, step))
                late_rows.rewind(step)
                lowest = {name: low for name, low in lowest.items() if low < step}
        self._late = late_rows.batches()
        self.names = list(lowest)[:most]
        self.course: Course = events.course(merge([]))

    def __iter__(self) -> Iterator[pa.Table]:
        """Yields tables of the same columns: `step` int64, `time` float64, then nullable metrics.

        One row per step, ascending over all tables.
        """
        waiting: list[pa.RecordBatch] = []
        count, done = 0, -1
        for batch in self._in_order():
            waiting.append(batch)
            count += len(batch)
            if count * (len(self.names) + 2) < VALUES:
                continue
            last = int(batch["step"][-1].as_py())  # which the next rows may amend
            if len(part := self._part(list(before(waiting, last)), done, last)):
                yield part
            rest = numbers_of(batch["step"]) == last
            waiting = [*_at(waiting[:-1], last), batch.filter(mask_of(rest))]
            count, done = sum(map(len, waiting)), last
        if waiting or self._late:
            yield self._part(waiting, done, None)

    def _in_order(self) -> Iterator[pa.RecordBatch]:
        """Yields the surviving rows, none of which is of an earlier step than those before it."""
        order, coming = _Order(), list(reversed(self._rewinds))
        # The lowest step of each return and those after it, as the first one may abandon less.
        lowest = list(accumulate((step for _, step in coming), min))
        for entry in self._reader.entries():
            if entry.rows is None:
                if coming and entry.start == coming[-1][0]:
                    order.go_back(coming.pop()[1])
                continue
            steps = numbers_of(entry.rows["step"])
            kept = ~order.late(steps)
            if coming:
                kept &= steps < lowest[len(coming) - 1]
            if kept.all():
                yield entry.rows
            elif kept.any():
                yield entry.rows.filter(mask_of(kept))

    def _part(self, batches: list[pa.RecordBatch], begin: int, end: int | None) -> pa.Table:
        """Joins rows of the steps from `begin` up to `end` with those that came late."""
        late = self._late if end is None else before(self._late, end)
        amended = (
            batch.filter(mask_of(numbers_of(batch["step"]) >= begin)) if begin > 0 else batch
            for batch in late
        )
        table = merge([*batches, *(batch for batch in amended if len(batch))])
        missing = pa.nulls(len(table), pa.float64())
        has = set(table.column_names)
        columns = [table[name] if name in has else missing for name in self.names]
        return pa.table(
            [table["step"], table["time"], *columns], names=["step", "time", *self.names]
        )


class _Order:
    """Which rows come late: after a row of a later step, or after a late row of their own step.

    Rows that are abandoned by then do not count. After the rows of a step that are in order, its
    late ones are thus in the journal's order.
    """

    def __init__(self) -> None:
        self._top = -1
        self._latest_late = -1

    def late(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Adds rows, of shape (n,); returns which of them are late, shape (n,)."""
        tops = np.maximum.accumulate(np.concatenate([[self._top], steps]))
        behind = steps < tops[:-1]
        lates = np.concatenate([[self._latest_late], np.where(behind, steps, -1)])
        lates = np.maximum.accumulate(lates)
        self._top, self._latest_late = int(tops[-1]), int(lates[-1])
        return np.asarray(behind | (steps <= lates[:-1]))

    def go_back(self, step: int) -> None:
        """Notes that the records from `step` on are abandoned."""
        self._top = min(self._top, step - 1)
        self._latest_late = min(self._latest_late, step - 1)


def _lowest(rows: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    """Yields the lowest step at which each metric has a value."""
    steps = numbers_of(rows["step"])
    least = int(steps.min())
    for name, column in zip(rows.schema.names[2:], rows.columns[2:], strict=True):
        if not column.null_count:
            yield name, least
        elif column.null_count < len(column):
            yield name, int(numbers_of(rows["step"].filter(column.is_valid())).min())


def _at(batches: list[pa.RecordBatch], step: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        there = numbers_of(batch["step"]) == step
        if there.any():
            yield batch.filter(mask_of(there))


def write_parquet(parts: HistoryParts, path: Path, shift: int = 0) -> int:
    """Writes a run's columnar file, part by part; returns its number of rows.

    Args:
        parts: the run's rows.
        path: the file.
        shift: is added to each step.

    Raises:
        OSError: there is no room, for example.
    """
    names = ["step", "time", *parts.names]
    schema = pa.schema((name, pa.float64() if at else pa.int64()) for at, name in enumerate(names))
    rows = 0
    with pq.ParquetWriter(path, schema, **options_for(schema)) as writer:
        for part in parts:
            rows += len(part)
            steps = arrow_of(numbers_of(part["step"]) + shift)
            columns = [steps, *part.columns[1:]]
            writer.write_table(pa.table(columns, schema=schema))
    return rows

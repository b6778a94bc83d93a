"""Converts a block's own records and steps to those of a tracker's run, with earlier blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Rewind, Run, StepRecord
from lrtrack.shipping.cursor import Cursor


def counts_from_zero(reader: JournalReader) -> bool:
    """Returns whether a block counts its own steps.

    A block whose first record is a later step got its place in the run by `load_state_dict`.
    """
    for entry in reader.entries():
        if entry.rows is not None and len(entry.rows):
            return bool(entry.rows["step"][0].as_py() == 0)
    return True


def shifted(records: Sequence[StepRecord], by: int, floor: float = 0.0) -> list[StepRecord]:
    """Returns the records, `by` steps later and no earlier than `floor`."""
    if not by and not floor:
        return list(records)
    return [replace(r, step=r.step + by, time=max(r.time, floor)) for r in records]


def shifted_rewind(rewind: Rewind, by: int) -> Rewind:
    """Returns a rewind of steps, `by` steps later."""
    return replace(rewind, step=rewind.step + by, last=rewind.last + by)


def run_so_far(reader: JournalReader, cursor: Cursor) -> Run:
    """Returns the run, with the rewinds that the tracker has received."""
    if not cursor.floor:
        return reader.run
    course = reader.course()
    shift = (cursor.first or 0) if counts_from_zero(reader) else 0
    known = [shifted_rewind(r, shift) for r in course.rewinds if r.time <= cursor.floor]
    if known:  # the tracker may have needed a later time
        known[-1] = replace(known[-1], time=cursor.floor)
    first = course.completed(reader.run).branched_at
    return replace(reader.run, rewinds=tuple(known), branched_at=first)


def shifted_table(table: pa.Table, by: int) -> pa.Table:
    """Returns a table of steps, `by` steps later."""
    if not by or not table.num_rows:
        return table
    at = table.column_names.index("step")
    steps = load("pyarrow.compute").add(table["step"], pa.scalar(by, pa.int64()))
    return table.set_column(at, "step", steps)


def joined(records: Sequence[StepRecord]) -> list[StepRecord]:
    """Returns the records with neighbouring parts of one step joined."""
    whole: list[StepRecord] = []
    for record in records:
        if whole and whole[-1].step == record.step:
            whole[-1] = StepRecord(
                record.step, whole[-1].time, {**whole[-1].metrics, **record.metrics}
            )
        else:
            whole.append(record)
    return whole

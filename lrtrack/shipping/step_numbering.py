"""Converts a block's own step numbers, from 0, to those of a run with earlier blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from lrtrack.journal.reader import JournalReader
from lrtrack.records import StepRecord


def counts_from_zero(reader: JournalReader) -> bool:
    """Returns whether a block counts its own steps.

    A block whose first record is a later step got its place in the run by `load_state_dict`.
    """
    for entry in reader.entries():
        if entry.rows is not None and len(entry.rows):
            return bool(entry.rows["step"][0].as_py() == 0)
    return True


def shifted(records: Sequence[StepRecord], by: int) -> list[StepRecord]:
    """Returns the records, `by` steps later."""
    return [replace(record, step=record.step + by) for record in records] if by else list(records)


def shifted_table(table: pa.Table, by: int) -> pa.Table:
    """Returns a table of steps, `by` steps later."""
    if not by or not table.num_rows:
        return table
    at = table.column_names.index("step")
    return table.set_column(at, "step", pc.add(table["step"], pa.scalar(by, pa.int64())))

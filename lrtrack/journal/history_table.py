"""Step histories as columns: Arrow tables, `history.parquet`, and the arrays of a `History`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lrtrack.journal import parquet_guard
from lrtrack.journal.arrow_arrays import arrow_of, mask_of, numbers_of, present_in
from lrtrack.journal.parquet_encoding import options_for
from lrtrack.records.alignment import MAX_STEP, MAX_TIME

#: Where a tracker keeps the file, below a run's artifacts.
FOLDER = "lrtrack"
NAME = "history.parquet"
#: The cells of a run's arrays: that many (2 GiB), and that many more for each value in them.
CELLS, SPARSE = 2**28, 32


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a journal's table: `step` int64, `time` float64, one float64 column per metric."""
    pq.write_table(table, path, **options_for(table.schema))


def read_parquet(
    path: Path, *, own: bool = False, keeps: Callable[[str], bool] = lambda name: True
) -> pa.Table:
    """Reads such a file without trusting its contents.

    Args:
        own: this machine has just written it, so it may have any size.
        keeps: returns whether a metric is read.

    Raises:
        ValueError: it is not a Parquet file with these columns, or takes more memory than a step
            history may.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _expect(file.schema_arrow)
            if not own:
                parquet_guard.check(path, file.metadata)
            stored = file.schema_arrow.names
            table = file.read([*stored[:2], *filter(keeps, stored[2:])])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a readable Parquet file: {error}") from error
    _expect(table.schema)
    if table["step"].null_count or table["time"].null_count:
        raise ValueError("not a step history: steps without a number or a time")
    steps = numbers_of(table["step"])
    if not np.all(np.diff(steps) > 0) or (len(steps) and steps[0] < 0):
        raise ValueError("not a step history: steps do not ascend from 0")
    if not np.isfinite(numbers_of(table["time"])).all():
        raise ValueError("not a step history: steps at no time")
    if not own and sound_rows(table)[1]:
        raise ValueError("not a step history: steps or times that no training has")
    return table


def extent_of(path: Path) -> tuple[int, int]:
    """Returns the number of rows of such a file, and its last step; it must have rows.

    Only the last steps are read, because a long run's file does not fit into memory.
    """
    with pq.ParquetFile(path) as file:
        at = file.metadata.num_row_groups - 1
        steps = file.read_row_group(at, columns=["step"])["step"]
        return int(file.metadata.num_rows), int(steps[-1].as_py())


def sound_rows(table: pa.Table) -> tuple[pa.Table, int]:
    """Returns the rows with plausible steps and times, and the number of other rows."""
    steps, times = numbers_of(table["step"]), numbers_of(table["time"])
    sound = (steps >= 0) & (steps < MAX_STEP) & (times >= 0) & (times < MAX_TIME)
    if sound.all():
        return table, 0
    return table.filter(mask_of(sound)), int((~sound).sum())


def _expect(schema: pa.Schema) -> None:
    names = schema.names
    types = [pa.int64(), *[pa.float64()] * (len(names) - 1)]
    if names[:2] != ["step", "time"] or schema.types != types:
        raise ValueError("not a step history: expected int64 'step', then float64 columns")
    if len(set(names)) != len(names):
        raise ValueError("not a step history: repeated columns")


def affordable(table: pa.Table) -> pa.Table:
    """Returns the table with as many metrics, those that appear first, as `arrays` may hold.

    A journal has only the values that are there. Where each step has other metrics, the arrays of
    all of them take memory in proportion to the square of the journal's size.

    Args:
        table: `step`, `time`, then nullable float64 columns.
    """
    rows = table.num_rows
    if rows * table.num_columns <= CELLS:
        return table
    values = sum(rows - column.null_count for column in table.columns)
    most = (CELLS + SPARSE * values) // rows
    return table.select(range(min(most, table.num_columns)))


def arrays(table: pa.Table) -> dict[str, Any]:
    """Returns the arrays of a `History`, by its field names.

    Args:
        table: `step`, `time`, then nullable float64 columns.
    """
    columns = {name: table[name] for name in table.column_names[2:]}
    return {
        "steps": numbers_of(table["step"]),
        "times": numbers_of(table["time"]),
        "metrics": {
            name: numbers_of(column.cast(pa.float64())) for name, column in columns.items()
        },
        "present": {name: present_in(column) for name, column in columns.items()},
    }


def table_of(arrays: Mapping[str, Any]) -> pa.Table:
    """Returns a table of such arrays; the inverse of `arrays`."""
    present = arrays["present"]
    return pa.table(
        {
            "step": arrow_of(arrays["steps"].astype(np.int64, copy=False)),
            "time": arrow_of(arrays["times"].astype(np.float64, copy=False)),
            **{
                name: arrow_of(
                    values.astype(np.float64, copy=False),
                    None if present[name].all() else present[name],
                )
                for name, values in arrays["metrics"].items()
            },
        }
    )

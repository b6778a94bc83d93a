"""Step histories as columns: Arrow tables, `history.parquet`, and the arrays of a `History`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lrtrack.journal import parquet_guard
from lrtrack.records.alignment import MAX_STEP, MAX_TIME

#: Where a tracker keeps the file, below a run's artifacts.
FOLDER = "lrtrack"
NAME = "history.parquet"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a journal's table: `step` int64, `time` float64, one float64 column per metric."""
    # Neither Parquet nor its compression would notice a flipped bit otherwise.
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


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
    steps = table["step"].to_numpy()
    if not np.all(np.diff(steps) > 0) or (len(steps) and steps[0] < 0):
        raise ValueError("not a step history: steps do not ascend from 0")
    if not np.isfinite(table["time"].to_numpy()).all():
        raise ValueError("not a step history: steps at no time")
    return table


def sound_rows(table: pa.Table) -> tuple[pa.Table, int]:
    """Returns the rows with plausible steps and times, and the number of other rows."""
    steps, times = table["step"].to_numpy(), table["time"].to_numpy()
    sound = (steps >= 0) & (steps < MAX_STEP) & (times >= 0) & (times < MAX_TIME)
    if sound.all():
        return table, 0
    return table.filter(pa.array(sound)), int((~sound).sum())


def _expect(schema: pa.Schema) -> None:
    names = schema.names
    types = [pa.int64(), *[pa.float64()] * (len(names) - 1)]
    if names[:2] != ["step", "time"] or schema.types != types:
        raise ValueError("not a step history: expected int64 'step', then float64 columns")
    if len(set(names)) != len(names):
        raise ValueError("not a step history: repeated columns")


def arrays(table: pa.Table) -> dict[str, Any]:
    """Returns the arrays of a `History`, by its field names.

    Args:
        table: `step`, `time`, then nullable float64 columns.
    """
    columns = {name: table[name] for name in table.column_names[2:]}
    return {
        "steps": table["step"].to_numpy(),
        "times": table["time"].to_numpy(),
        "metrics": {
            name: column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            for name, column in columns.items()
        },
        "present": {name: _present(column) for name, column in columns.items()},
    }


def table_of(arrays: Mapping[str, Any]) -> pa.Table:
    """Returns a table of such arrays; the inverse of `arrays`."""
    present = arrays["present"]
    return pa.table(
        {
            "step": pa.array(arrays["steps"], pa.int64()),
            "time": pa.array(arrays["times"], pa.float64()),
            **{
                name: pa.array(values, pa.float64(), mask=~present[name])
                for name, values in arrays["metrics"].items()
            },
        }
    )


def _present(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    if not column.null_count:
        return np.broadcast_to(np.True_, len(column))  # one byte, whatever the length
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)

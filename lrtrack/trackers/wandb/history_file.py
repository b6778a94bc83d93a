"""The columnar file of a W&B run to which several blocks contribute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def earlier_blocks(
    inside: Path, certain: bool, rows_on_server: Callable[[], pa.Table] | None
) -> pa.Table | None:
    """What other blocks have put into the columnar file of the same run; None: nothing.

    Args:
        inside: where the file is in the run's directory.
        certain: whether there are such blocks for certain, whose rows are on the server at least.
        rows_on_server: fetches those rows; None: there is no server.
    """
    from lrtrack.journal import history_table

    if inside.exists():
        try:
            return history_table.read_parquet(inside, own=True)
        except ValueError:  # half written by somebody who was killed
            certain = True
    return rows_on_server() if certain and rows_on_server is not None else None


def join(file: Path, parts: list[Path | pa.Table | None]) -> None:
    """Write tables, or files of such, to `file` in one; of one step later parts win."""
    # Imported here: few runs need them, and each has a process of its own.
    from lrtrack.journal import history_table
    from lrtrack.journal.reader import merge

    tables = [history_table.read_parquet(p, own=True) if isinstance(p, Path) else p for p in parts]
    batches = [batch for table in tables if table is not None for batch in table.to_batches()]
    history_table.write_parquet(merge(batches), file)

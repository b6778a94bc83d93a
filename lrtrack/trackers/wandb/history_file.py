"""The columnar file of a W&B run to which several blocks contribute."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrack.records import Rewind, rewinds_from
from lrtrack.trackers.wandb import metadata

if TYPE_CHECKING:
    import pyarrow as pa


def earlier_blocks(
    file: Path, expected: bool, fetch_rows: Callable[[], pa.Table] | None
) -> pa.Table | None:
    """The steps of other blocks in the columnar file of the same run; None: there are none.

    Args:
        file: the file in the run's directory.
        expected: whether there are such blocks for certain; at least the server has their rows.
        fetch_rows: fetches these rows from the server; None: there is no server.
    """
    from lrtrack.journal import history_table

    if file.exists():
        try:
            return history_table.read_parquet(file, own=True)
        except ValueError:  # a process was killed while it wrote the file
            expected = True
    return fetch_rows() if expected and fetch_rows is not None else None


def downloaded(wandb_run: Any) -> pa.Table | None:
    """The columnar file that a run has on the server; None if it has none that can be read."""
    from lrtrack.journal import history_table

    name = f"{history_table.FOLDER}/{history_table.NAME}"
    file = next(iter(wandb_run.files([name])), None)
    if file is None or not file.size:  # W&B reports a missing file in either way
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            with file.download(folder, replace=True):
                pass
            return history_table.read_parquet(Path(folder) / name)
        except (ValueError, OSError):
            return None


def stored_steps(wandb_run: Any, rewinds: Mapping[str, Sequence[Rewind]] | None = None) -> pa.Table:
    """The surviving steps that the server has: those of the columnar file, and those of the rows.

    The rows alone are not enough where they were thinned, nor the file while a block records.

    Args:
        wandb_run: the run on the server.
        rewinds: those of some blocks by prefix, in addition to what the run's config lists.
    """
    from lrtrack.journal.course import merge_tables, without
    from lrtrack.trackers.wandb import history_rows

    rows = history_rows.fetch_steps(wandb_run, rewinds=rewinds)
    table = downloaded(wandb_run)
    if table is None:
        return rows
    known = {**history_rows.rewinds_of(wandb_run), **(rewinds or {})}
    for prefix, own in known.items():
        table = without(table, own, prefix, known)
    return merge_tables(table, rows)


def surviving(table: pa.Table | None, command: Mapping[str, Any], config: Any) -> pa.Table | None:
    """Leave out what a block has abandoned since it last stored the file.

    Args:
        table: the stored steps of all blocks.
        command: the block's `prefix` and `rewinds`.
        config: the run's config, which names the other blocks.
    """
    rewinds = rewinds_from(command["rewinds"])
    if table is None or not rewinds:
        return table
    from lrtrack.journal.course import without

    blocks = metadata.blocks_of(dict(config).get(metadata.CONFIG))
    return without(table, rewinds, command["prefix"], blocks)


def join(file: Path, parts: list[Path | pa.Table | None]) -> None:
    """Merge tables, or files with tables, into `file`; for the same step, later parts win."""
    # Imported here because few runs need it, and each run has its own process.
    from lrtrack.journal import history_table
    from lrtrack.journal.course import merge_tables

    tables = [history_table.read_parquet(p, own=True) if isinstance(p, Path) else p for p in parts]
    whole = merge_tables(*(table for table in tables if table is not None))
    history_table.write_parquet(whole, file)

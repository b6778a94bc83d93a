"""Copies of finished runs on this machine, so that a second report fetches nothing again.

A copy is an Arrow file without compression, mapped into memory: its arrays take no memory but what
is being looked at, and reports of more runs than fit into memory are possible at all. The files
are this user's own, made from what was checked when it was fetched; all may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.journal import history_table

#: Bytes of all copies together; the ones that were not asked for for the longest time go first.
LIMIT = 10 * 2**30
#: What precedes a metric's name where a column says at which steps the metric has a value.
_MASK = "present:"
_METRIC = "metric:"


def place_of(tracker: str, *about: Any) -> Path:
    """Where a finished run is kept: under a name made of digits, never of a run's own words.

    Args:
        about: everything that changes when the run does.
    """
    digest = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()
    return _folder() / tracker / f"{digest}.arrow"


def keep(table: pa.Table, path: Path) -> None:
    """Keep a copy of a history's table; a place that cannot be written is none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            with pa.OSFile(str(fresh), "wb") as file:
                kept = _filled(table)
                with pa.ipc.new_file(file, kept.schema) as writer:
                    writer.write_table(kept)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def kept(path: Path) -> dict[str, Any] | None:
    """The arrays of a `History`, as views of the file; None where there is no sound copy."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        os.utime(path)  # asked for just now
        table = pa.ipc.open_file(pa.py_buffer(mapped)).read_all()
        arrays = {name: _array(table[name]) for name in table.column_names}
        metrics = {n.removeprefix(_METRIC): a for n, a in arrays.items() if n.startswith(_METRIC)}
        whole = np.broadcast_to(np.True_, table.num_rows)
        present = {n: arrays[_MASK + n].view(np.bool_) if _MASK + n in arrays else whole
                   for n in metrics}  # fmt: skip
        steps, times = arrays["step"], arrays["time"]
        if steps.dtype != np.int64 or times.dtype != np.float64:
            return None
    except Exception:  # whatever a file that is not whole makes of Arrow: then there is no copy
        return None
    return {"steps": steps, "times": times, "metrics": metrics, "present": present,
            "mapped": mapped}  # fmt: skip


def prune(limit: int = LIMIT) -> None:
    """Delete the copies that were not asked for for the longest time, while there are too many."""
    files = []
    for path in _folder().glob("*/*"):
        with suppress(OSError):
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    size = sum(bytes_ for _, bytes_, _ in files)
    for _, bytes_, path in sorted(files):
        if size <= limit:
            return
        with suppress(OSError):
            path.unlink()
        size -= bytes_


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lrtrack"


def _filled(table: pa.Table) -> pa.Table:
    """The table in one piece, NaN instead of null, and a column of 0 and 1 where that was."""
    arrays = history_table.arrays(table)
    found: dict[str, Any] = {"step": arrays["steps"], "time": arrays["times"]}
    for name, values in arrays["metrics"].items():
        found[_METRIC + name] = values
        if table[name].null_count:
            found[_MASK + name] = arrays["present"][name].view(np.uint8)
    return pa.table(found)


def _array(column: pa.ChunkedArray) -> Any:
    if column.num_chunks != 1:
        raise ValueError("a copy is in one piece")
    return column.chunk(0).to_numpy(zero_copy_only=True)

"""Copies of finished runs on this machine, so that a second report fetches nothing again.

A copy is an uncompressed Arrow file that is mapped into memory: only the pages in use take memory,
so reports on more runs than fit into memory are possible. The files belong to this user and hold
data that was checked when it was fetched; they may be deleted at any time.

In front of the Arrow file is a header of `_HEADER` bytes: the format's version, then the length and
the CRC-32 of the rest. Arrow checks neither, and a disk that flips a bit would change figures. A
copy whose header does not fit counts as none, so that the run is fetched again.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import uuid
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from lrtrack.journal import history_table
from lrtrack.journal.arrow_arrays import arrow_of, numbers_of

#: The most bytes of all copies together; the least recently used ones are deleted first.
LIMIT = 10 * 2**30
#: Prefixes of columns: a metric's values, and a mask of the steps at which it has one.
_METRIC, _MASK = "metric:", "present:"
#: The version of the format, which is part of each copy's first line.
FORMAT = 2
#: Bytes of the header, a multiple of the alignment of Arrow's buffers; bytes read at once.
_HEADER, _PART = 64, 2**22


def place_of(tracker: str, *identity: Any) -> Path:
    """The path of a finished run's copy; its name is a hash, and never text from the run.

    Args:
        tracker: the tracker's name.
        identity: everything that changes when the run changes.
    """
    digest = hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()
    return _folder() / tracker / f"{digest}.arrow"


def keep(table: pa.Table, path: Path) -> dict[str, Any] | None:
    """Write a copy of a history's table.

    Returns:
        The arrays of a `History` as views of the copy; None if the path cannot be written.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{uuid.uuid4().hex}")
        arrays = None
        try:
            with fresh.open("x+b", buffering=0) as file:
                content = _Checked(file)
                file.seek(_HEADER)
                filled = _filled(table)
                with pa.ipc.new_file(pa.PythonFile(content, "w"), filled.schema) as writer:
                    writer.write_table(filled)
                file.seek(0)
                file.write(content.header())
                with suppress(Exception):  # as where it is read later
                    arrays = _mapped(file)
            fresh.replace(path)
            return arrays
        finally:
            fresh.unlink(missing_ok=True)
    return None


class _Checked(io.RawIOBase):
    """Writes to a file from its position on, and sums up what it writes, so as not to reread it."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._length = self._checksum = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        self._checksum = zlib.crc32(view, self._checksum)
        self._length += view.nbytes
        rest = view
        while rest.nbytes:  # a system call may write less than asked
            rest = rest[self._file.write(rest) :]
        return view.nbytes

    def header(self) -> bytes:
        return _header(self._length, self._checksum)


def kept(path: Path) -> dict[str, Any] | None:
    """Read the arrays of a `History` as views of a copy; None if there is no intact copy."""
    try:
        with path.open("rb") as file:
            # Not through the mapping, whose pages would count as this process's memory.
            if file.read(_HEADER) != _header_of(file):
                return None
            arrays = _mapped(file)
        os.utime(path)  # for `prune`, which deletes the least recently used
    except Exception:  # Arrow may raise anything on a damaged file, which counts as no copy
        return None
    return arrays


def _mapped(file: Any) -> dict[str, Any] | None:
    """The arrays of a `History` as views of an open copy; None if it has other columns.

    Raises:
        Exception: it is damaged.
    """
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    table = pa.ipc.open_file(pa.py_buffer(mapped).slice(_HEADER)).read_all()
    arrays = {name: _array(table[name]) for name in table.column_names}
    metrics = {n.removeprefix(_METRIC): a for n, a in arrays.items() if n.startswith(_METRIC)}
    everywhere = np.broadcast_to(np.True_, table.num_rows)
    present = {n: arrays[_MASK + n].view(np.bool_) if _MASK + n in arrays else everywhere
               for n in metrics}  # fmt: skip
    steps, times = arrays["step"], arrays["time"]
    floats = (times, *metrics.values())
    if steps.dtype != np.int64 or any(array.dtype != np.float64 for array in floats):
        return None
    return {"steps": steps, "times": times, "metrics": metrics, "present": present,
            "mapped": mapped}  # fmt: skip


def _header_of(file: BinaryIO) -> bytes:
    """The header that fits what follows it in an open file."""
    file.seek(_HEADER)
    checksum = length = 0
    while part := file.read(_PART):
        checksum, length = zlib.crc32(part, checksum), length + len(part)
    return _header(length, checksum)


def _header(length: int, checksum: int) -> bytes:
    return f"lrtrack copy {FORMAT} {length} {checksum:08x}\n".encode().ljust(_HEADER, b"\0")


def prune(limit: int = LIMIT) -> None:
    """Delete the least recently used copies until all together have at most `limit` bytes."""
    files = []
    for path in _folder().glob("*/*"):
        with suppress(OSError):
            stat = path.stat()
            files.append((stat.st_mtime, stat.st_size, path))
    size = sum(bytes_ for _, bytes_, _ in files)
    for _, bytes_, path in sorted(files):
        if size <= limit:
            return
        with suppress(OSError):
            path.unlink()
        size -= bytes_


def _folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():  # the XDG specification says to ignore relative paths
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # a user without a home directory has no copies
            base = Path(os.devnull)
    return base / "lrtrack"


def _filled(table: pa.Table) -> pa.Table:
    """The table with NaN for null, and a mask column of 0 and 1 for each metric that had nulls."""
    arrays = history_table.arrays(table)
    columns = {"step": arrow_of(arrays["steps"]), "time": arrow_of(arrays["times"])}
    for name, values in arrays["metrics"].items():
        columns[_METRIC + name] = arrow_of(values)
        if table[name].null_count:
            columns[_MASK + name] = arrow_of(arrays["present"][name].view(np.uint8))
    return pa.table(columns)


def _array(column: pa.ChunkedArray) -> Any:
    if column.num_chunks != 1:
        raise ValueError("a column of a copy is in several chunks")
    return numbers_of(column.chunk(0))

"""Packs the segments of a journal that are full and delivered: see `packed.py`.

A segment stays as it is where a packed one would not say the same or take more room: if it is
damaged, so that the damage is reported as long as it is there, and if its rows have few metrics in
common.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lrtrack.journal import raw_segment
from lrtrack.journal.corruption import Damage
from lrtrack.journal.course import concatenated
from lrtrack.journal.packed import FORMAT, KEY
from lrtrack.journal.parquet_encoding import options_for
from lrtrack.journal.segments import Segment, folder_of, packed_path

#: About the most values in one row group, all of which are in memory at once.
_GROUP = 2**18
#: A packed segment has at most this many cells for each value, and this many columns.
_SPARSE, _WIDEST = 4, 20_000


def pack(segment: Segment, journal: Path) -> bool:
    """Replaces a full segment of a journal by a packed one; returns whether it did.

    A process that is killed on the way leaves the segment, a packed one beside it, or both.

    Raises:
        OSError: there is no room, for example.
    """
    target = packed_path(journal, segment.start, segment.end)
    if not target.exists() and not _write(segment, journal, target):
        return False
    with contextlib.suppress(FileNotFoundError):
        segment.path.unlink()
    return True


def _write(segment: Segment, journal: Path, target: Path) -> bool:
    """Writes the packed segment, which appears at its path once it is complete on the disk."""
    damage, frames, names = Damage(), [], {}
    values = rows = 0
    for entry in raw_segment.entries(segment, journal.stem, segment.start, damage, grows=False):
        if entry.rows is None:
            frames.append([entry.start, entry.end, json.dumps(entry.event)])
            continue
        frames.append([entry.start, entry.end, len(entry.rows)])
        names.update(dict.fromkeys(entry.rows.schema.names))
        rows += len(entry.rows)
        values += len(entry.rows) * entry.rows.num_columns
    if damage or len(names) > _WIDEST or rows * len(names) > _SPARSE * values:
        return False
    names = names or dict.fromkeys(("step", "time"))
    kinds = [pa.int64(), *[pa.float64()] * (len(names) - 1)]
    described = _described(segment, journal, frames)
    # As the schema's: pyarrow 16 has no other way.
    schema = pa.schema(zip(names, kinds, strict=True), metadata={KEY: described})
    for left in target.parent.glob(f".{segment.start:020d}-*"):  # by attempts that were killed
        left.unlink(missing_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _fill(file, segment, journal, schema)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    _settle(folder_of(journal))
    return True


def _described(segment: Segment, journal: Path, frames: list[list[Any]]) -> str:
    text = json.dumps([FORMAT, journal.stem, segment.start, segment.end, frames])
    return f"{zlib.crc32(text.encode())} {text}"


def _fill(file: Any, segment: Segment, journal: Path, schema: pa.Schema) -> None:
    names = schema.names
    with pq.ParquetWriter(file, schema, write_statistics=False, **options_for(schema)) as writer:
        waiting: list[pa.RecordBatch] = []
        count = 0

        def write() -> None:
            table = concatenated(waiting)
            missing = pa.nulls(len(table), pa.float64())
            has = set(table.column_names)
            columns = [table[name] if name in has else missing for name in names]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=max(len(table), 1))

        for entry in raw_segment.entries(
            segment, journal.stem, segment.start, Damage(), grows=False
        ):
            if entry.rows is None:
                continue
            if waiting and (count + len(entry.rows)) * len(names) > _GROUP:
                write()
                waiting, count = [], 0
            waiting.append(entry.rows)
            count += len(entry.rows)
        if waiting:
            write()


def _settle(folder: Path) -> None:
    """Makes the names in a directory survive a failure of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some networks' file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

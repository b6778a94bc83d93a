"""A delivered segment of a journal as a Parquet file, which takes less room and loses nothing.

Its columns are those of all rows in the segment. Its metadata say which rows were one frame, where
that frame was in the journal, and what the events between them were. So it is read like the
original: the same entries at the same offsets, for a cursor, a report or a second delivery.
`packing.py` writes it.
"""

from __future__ import annotations

import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lrtrack.journal import parquet_guard
from lrtrack.journal.arrow_arrays import numbers_of
from lrtrack.journal.corruption import Damage
from lrtrack.journal.events import Entry, event_of
from lrtrack.journal.layout import open_regular
from lrtrack.journal.segments import Segment, first_of

#: The name of the metadata, and the version of what they say.
KEY, FORMAT = b"lrtrack.frames", 1
#: What a file raises that is not what it should be.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, RecursionError)


@dataclass(frozen=True)
class _Index:
    """What the metadata of a packed segment say.

    Attributes:
        starts, ends: byte offsets in the journal of each frame, ascending.
        firsts: the number of rows before each frame.
        contents: the number of rows of each frame, or the JSON of an event.
        groups: the first row of each row group, and behind them the number of all rows.
    """

    starts: list[int]
    ends: list[int]
    firsts: list[int]
    contents: list[int | str]
    groups: list[int]


def entries(segment: Segment, offset: int, damage: Damage) -> Iterator[Entry]:
    """Yields the entries of a packed segment from byte `offset` of the journal on.

    Args:
        segment: the file.
        offset: where to begin.
        damage: gets what cannot be read.

    Raises:
        OSError: there is no such file.
    """
    with open_regular(segment.path) as file:
        try:
            index = _index(segment, *_version(file.fileno()))
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
        except _UNREADABLE:
            damage.add(max(offset, segment.start), segment.end)
            return
        group, rows, here = 0, None, -1
        for at in range(bisect_left(index.starts, offset), len(index.starts)):
            start, end, content = index.starts[at], index.ends[at], index.contents[at]
            entry = None
            if isinstance(content, str):
                event = _event(content)
                entry = None if event is None else Entry(start, end, event=event)
            else:
                while index.groups[group + 1] <= index.firsts[at]:
                    group += 1
                if here != group:
                    rows, here = _rows(parquet, group), group
                if rows is not None:
                    first = index.firsts[at] - index.groups[group]
                    entry = Entry(start, end, rows=_narrow(rows.slice(first, content)))
            if entry is None:
                damage.add(start, end)
            else:
                yield entry


def begins_at(segment: Segment, offset: int) -> bool:
    """Returns whether an entry of a packed segment begins or ends at byte `offset` of the journal.

    Raises:
        OSError: there is no such file.
    """
    with open_regular(segment.path) as file:
        try:
            index = _index(segment, *_version(file.fileno()))
        except _UNREADABLE:
            return False
    return any(
        at < len(offsets) and offsets[at] == offset
        for offsets in (index.starts, index.ends)
        for at in (bisect_left(offsets, offset),)
    )


def _version(descriptor: int) -> tuple[int, int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=2)
def _index(segment: Segment, *version: int) -> _Index:
    """Reads the metadata of a packed segment, without trust.

    Args:
        segment: the file.
        version: identifies its contents.

    Raises:
        ValueError: they are not those of this segment.
    """
    with pq.ParquetFile(segment.path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        kinds = [pa.int64(), *[pa.float64()] * (len(schema.names) - 1)]
        if schema.names[:2] != ["step", "time"] or schema.types != kinds:
            raise ValueError("not a segment's columns")
        if len(set(schema.names)) < len(schema.names):
            raise ValueError("repeated columns")
        parquet_guard.check(segment.path, metadata)
        text = (metadata.metadata or {}).get(KEY, b"")
        counts = [metadata.row_group(each).num_rows for each in range(metadata.num_row_groups)]
    crc, _, body = text.partition(b" ")
    if crc != str(zlib.crc32(body)).encode():
        raise ValueError("a wrong checksum")
    data = json.loads(body)
    run_id = first_of(segment.path).stem
    if not isinstance(data, list) or data[:4] != [FORMAT, run_id, segment.start, segment.end]:
        raise ValueError("another segment")
    return _checked(segment, data[4], counts)


def _checked(segment: Segment, frames: Any, counts: list[int]) -> _Index:
    index = _Index([], [], [], [], [0, *np.cumsum(counts, dtype=np.int64).tolist()])
    at, rows, borders = segment.start, 0, {0}
    for start, end, content in frames:
        in_order = type(start) is int and type(end) is int and at <= start < end <= segment.end
        has_rows = type(content) is int and content > 0
        if not in_order or not (has_rows or isinstance(content, str)):
            raise ValueError("frames that contradict each other")
        index.starts.append(start)
        index.ends.append(end)
        index.firsts.append(rows)
        index.contents.append(content)
        at = end
        if has_rows:
            rows += content
            borders.add(rows)
    if rows != index.groups[-1] or not borders.issuperset(index.groups):
        raise ValueError("rows of no frame")
    return index


def _event(text: str) -> dict[str, Any] | None:
    try:
        return event_of(text.encode())
    except (ValueError, RecursionError):
        return None


def _rows(parquet: Any, group: int) -> pa.RecordBatch | None:
    """Returns the rows of a row group; None if they are damaged, or none that lrtrack wrote."""
    try:
        table = parquet.read_row_group(group).replace_schema_metadata().combine_chunks()
    except (pa.ArrowException, OSError):
        return None
    steps, times = table["step"], table["time"]
    if steps.null_count or times.null_count:
        return None
    if not ((numbers_of(steps) >= 0).all() and np.isfinite(numbers_of(times)).all()):
        return None
    return table.to_batches()[0]


def _narrow(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Returns rows without the columns that none of them has a value in."""
    names = rows.schema.names
    kept = [
        at for at, column in enumerate(rows.columns) if at < 2 or column.null_count < len(column)
    ]
    return rows if len(kept) == len(names) else rows.select([names[at] for at in kept])

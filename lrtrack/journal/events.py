"""The contents of frames, without trust: a checksum detects accidents, not intent."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.fields import shallow
from lrtrack.journal.framing import Frame, Kind, encode
from lrtrack.records import StepRecord

#: No real event is larger. JSON takes many times its size in memory.
MAX_EVENT = 32 * 2**20
#: Positions of fields in the tables of Arrow's messages (`Message.fbs`).
_HEADER, _LENGTH, _COMPRESSION = 2, 0, 3
_VALUE = 8
#: Before each message: a marker, and the length of its metadata.
_HEAD = struct.Struct("<Ii")


@dataclass(frozen=True)
class Entry:
    """A decoded frame: an event's mapping or a table of rows.

    Attributes:
        start, end: byte offsets in the file.
    """

    start: int
    end: int
    event: dict[str, Any] | None = None
    rows: pa.RecordBatch | None = None

    def records(self, start: int = 0, stop: int | None = None) -> list[StepRecord]:
        """Returns the rows from `start` up to `stop` as records, without the values they lack."""
        if self.rows is None:
            return []
        rows = self.rows.slice(start, None if stop is None else max(stop - start, 0))
        names = rows.schema.names[2:]
        steps, times, *columns = (column.to_pylist() for column in rows.columns)
        return [
            StepRecord(
                step, when, {n: v for n, v in zip(names, values, strict=True) if v is not None}
            )
            for step, when, *values in zip(steps, times, *columns, strict=True)
        ]


def event_frame(name: str, data: Mapping[str, Any], when: float | None = None) -> bytes:
    """Encodes an event of the time `when` (None: now) as a frame; `data` must fit into JSON."""
    when = time.time() if when is None else when
    payload = json.dumps({"event": name, "time": when, **data}).encode()
    return encode(Kind.EVENT, payload)


def understood(frame: Frame) -> Entry | None:
    """Decodes a frame; None if a valid frame has contents that lrtrack did not write."""
    try:
        if frame.kind is Kind.EVENT:
            event = event_of(frame.payload)
            return None if event is None else Entry(frame.start, frame.end, event=event)
        rows = _rows(frame.payload)
        return None if rows is None else Entry(frame.start, frame.end, rows=rows)
    except (ValueError, RecursionError, StopIteration, pa.ArrowException, OSError, struct.error):
        return None


def event_of(payload: bytes) -> dict[str, Any] | None:
    """Decodes the JSON of an event; None if it is none that lrtrack wrote.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    if len(payload) > MAX_EVENT:
        return None
    event = json.loads(payload)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event if shallow(event) else None


def _rows(payload: bytes) -> pa.RecordBatch | None:
    """Decodes the rows of a complete Arrow stream, which is checked before Arrow expands
    anything.
    """
    end = _HEAD.size + _HEAD.unpack_from(payload)[1]
    schema = _schema(payload[:end])
    body = pa.ipc.read_message(pa.py_buffer(payload)[end:])
    if schema is None or body.type != "record batch":
        return None
    if not _holds(body, len(schema)):
        return None
    batch = pa.ipc.read_record_batch(body, schema)
    batch.validate(full=True)
    steps, times = batch["step"], batch["time"]
    if not len(steps) or steps.null_count or times.null_count:
        return None
    # From buffers: `to_numpy` asks for pandas each time, which takes longer than all of this.
    numbers, seconds = (
        np.frombuffer(column.buffers()[1], kind, len(column))
        for column, kind in ((steps, np.int64), (times, np.float64))
    )
    return batch if (numbers >= 0).all() and np.isfinite(seconds).all() else None


@lru_cache(maxsize=4)
def _schema(message: bytes) -> pa.Schema | None:
    """Returns the schema of rows, None for anything else. Most frames of a run have the same
    one.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(message))
    names = schema.names
    numeric = [pa.int64()] + [pa.float64()] * (len(names) - 1)
    if names[:2] != ["step", "time"] or schema.types != numeric or len(set(names)) < len(names):
        return None
    return schema


def _holds(message: pa.Message, columns: int) -> bool:
    """Returns whether a record batch holds all values that it declares, uncompressed and separate.

    A compressed batch may expand to any size, and so may one whose columns share their bytes.
    """
    table = message.metadata.to_pybytes()
    batch = _inner(table, _field(table, _inner(table, 0), _HEADER))
    if _field(table, batch, _COMPRESSION):
        return False
    at = _field(table, batch, _LENGTH)
    rows = _read("<q", table, at) if at else 0
    return 0 <= rows * columns * _VALUE <= int(message.body.size)


def _field(table: bytes, at: int, index: int) -> int:
    """Returns the position of field `index` of the flatbuffers table at `at`, 0 if it is
    missing.
    """
    directory = at - _read("<i", table, at)
    place = 4 + 2 * index
    if place >= _read("<H", table, directory):
        return 0
    offset = _read("<H", table, directory + place)
    return at + offset if offset else 0


def _inner(table: bytes, at: int) -> int:
    """Returns the table to which the offset at `at` points."""
    return at + _read("<I", table, at)


def _read(form: str, table: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("an offset that points out of the message")
    return int(struct.unpack_from(form, table, at)[0])

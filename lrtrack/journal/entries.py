"""What frames hold, trusting nothing in them: a checksum tells of accidents, not of intent."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.journal.frames import Frame, Kind
from lrtrack.records import StepRecord
from lrtrack.schedules import shallow

#: No honest event is larger. JSON takes many times its room in memory.
MAX_EVENT = 32 * 2**20
#: Places of fields in the tables of Arrow's messages (`Message.fbs`).
_HEADER, _LENGTH, _COMPRESSION = 2, 0, 3
_VALUE = 8


@dataclass(frozen=True)
class Entry:
    """A frame, understood: an event's mapping or a table of rows.

    Attributes:
        start, end: byte offsets in the file.
    """

    start: int
    end: int
    event: dict[str, Any] | None = None
    rows: pa.RecordBatch | None = None

    def records(self) -> list[StepRecord]:
        """The rows as records, values absent from a row left out."""
        if self.rows is None:
            return []
        names = self.rows.schema.names[2:]
        steps, times, *columns = (column.to_pylist() for column in self.rows.columns)
        return [
            StepRecord(
                step, when, {n: v for n, v in zip(names, values, strict=True) if v is not None}
            )
            for step, when, *values in zip(steps, times, *columns, strict=True)
        ]


def understood(frame: Frame) -> Entry | None:
    """A frame's content; None where a sound frame holds nonsense (not written by lrtrack)."""
    try:
        if frame.kind is Kind.EVENT:
            event = _event(frame.payload)
            return None if event is None else Entry(frame.start, frame.end, event=event)
        rows = _rows(frame.payload)
        return None if rows is None else Entry(frame.start, frame.end, rows=rows)
    except (ValueError, RecursionError, StopIteration, pa.ArrowException, OSError, struct.error):
        return None


def _event(payload: bytes) -> dict[str, Any] | None:
    if len(payload) > MAX_EVENT:
        return None
    event = json.loads(payload)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event if shallow(event) else None


def _rows(payload: bytes) -> pa.RecordBatch | None:
    """The rows of a complete Arrow stream, which is judged before Arrow unfolds anything."""
    messages = pa.ipc.MessageReader.open_stream(payload)
    head, body = messages.read_next_message(), messages.read_next_message()
    if (head.type, body.type) != ("schema", "record batch"):
        return None
    schema = pa.ipc.read_schema(head)
    names = schema.names
    numeric = [pa.int64()] + [pa.float64()] * (len(names) - 1)
    if names[:2] != ["step", "time"] or schema.types != numeric or len(set(names)) < len(names):
        return None
    if not _holds(body, len(names)):
        return None
    batch = pa.ipc.read_record_batch(body, schema)
    batch.validate(full=True)
    steps, times = batch["step"], batch["time"]
    if steps.null_count or times.null_count:
        return None
    sound = (steps.to_numpy() >= 0).all() and np.isfinite(times.to_numpy()).all()
    return batch if sound else None


def _holds(message: pa.Message, columns: int) -> bool:
    """Whether a record batch brings all values that it promises, uncompressed and side by side.

    A compressed one may unfold to any size, and one whose columns share their bytes, too.
    """
    table = message.metadata.to_pybytes()
    batch = _inner(table, _field(table, _inner(table, 0), _HEADER))
    if _field(table, batch, _COMPRESSION):
        return False
    at = _field(table, batch, _LENGTH)
    rows = _read("<q", table, at) if at else 0
    return 0 <= rows * columns * _VALUE <= int(message.body.size)


def _field(table: bytes, at: int, index: int) -> int:
    """Where field `index` of the flatbuffers table at `at` is; 0 where the table lacks it."""
    directory = at - _read("<i", table, at)
    place = 4 + 2 * index
    if place >= _read("<H", table, directory):
        return 0
    offset = _read("<H", table, directory + place)
    return at + offset if offset else 0


def _inner(table: bytes, at: int) -> int:
    """The table to which the offset at `at` points."""
    return at + _read("<I", table, at)


def _read(form: str, table: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("an offset that points out of the message")
    return int(struct.unpack_from(form, table, at)[0])

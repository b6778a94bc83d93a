"""Reading journals: from any offset, while they grow, whatever tore their tail."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.errors import JournalError
from lrtrack.journal.frames import FORMAT, MAX_PAYLOAD, PREAMBLE, Frame, Kind, decode
from lrtrack.records import Run, State, StepRecord, diagnoses_from, suggestions_from

#: Bytes read at once: bounds memory on long journals. Nearly every frame is far smaller; for one
#: that is not, more is read, up to what a frame may be.
CHUNK = 16 * 2**20
LARGEST = 2 * MAX_PAYLOAD


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


@dataclass(frozen=True)
class Ending:
    """How a run ended, by its own word, and what only its end knows: see `Run`."""

    state: State
    time: float
    suggestions: Mapping[str, float] = field(default_factory=dict)
    diagnoses: tuple[Mapping[str, str], ...] | None = None

    @property
    def tells(self) -> bool:
        """Whether the end knows more of the run than its begin."""
        return bool(self.suggestions) or self.diagnoses is not None

    def completed(self, run: Run) -> Run:
        """The run, with what only its end knows."""
        return replace(run, suggestions=self.suggestions or run.suggestions,
                       diagnoses=self.diagnoses)  # fmt: skip


class JournalReader:
    """One journal file.

    Raises:
        JournalError: the file is missing, is no journal, or is of a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                head = file.read(len(PREAMBLE))
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error}") from error
        if head != PREAMBLE:
            said = re.match(rb"lrtrack journal (\d+)", head)
            later = said is not None and int(said[1]) > FORMAT
            hint = "it was written by a later lrtrack: upgrade" if later else "it is not a journal"
            raise JournalError(f"cannot read {path}: {hint}")

    @cached_property
    def run(self) -> Run:
        """The run's identity, from its first event (of a resumed run if the first was lost)."""
        for entry in self.entries():
            if entry.event is not None and entry.event["event"] in ("run", "resume"):
                try:
                    return Run.from_dict(entry.event["run"])
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise JournalError(f"cannot read {self.path}: {error!r}") from error
        raise JournalError(f"{self.path} says nothing about its run")

    def entries(self, offset: int = 0) -> Iterator[Entry]:
        """Whole entries from byte `offset` to the present end."""
        with self.path.open("rb") as file:
            at, size = offset, CHUNK
            while True:
                file.seek(at)
                data = file.read(size)
                end = at
                for frame in decode(data, at):
                    end = frame.end
                    entry = _understood(frame)
                    if entry is not None:
                        yield entry
                if len(data) < size:
                    return
                if end > at:
                    at, size = end, CHUNK
                elif size < LARGEST:
                    size *= 2
                else:  # nothing but rubbish: step over half of it
                    at, size = at + size // 2, CHUNK

    def alive(self) -> bool:
        """Whether some process still holds this journal open for writing."""
        with self.path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def size(self) -> int:
        """Bytes in the file now."""
        return self.path.stat().st_size

    def table(self) -> tuple[pa.Table, Ending | None]:
        """All rows, merged to one a step in ascending order, and the ending if there is one.

        Returns:
            A table with columns `step` int64, `time` float64, then one nullable float64 column a
            metric in order of appearance; and how the run ended, None without a word of it.
        """
        batches: list[pa.RecordBatch] = []
        ending = None
        for entry in self.entries():
            if entry.rows is not None:
                batches.append(entry.rows)
            elif entry.event is not None:
                resumed = entry.event["event"] == "resume"
                ending = ending_of(entry.event) or (None if resumed else ending)
        return merge(batches), ending


def merge(batches: list[pa.RecordBatch]) -> pa.Table:
    """Join row batches into one table with one row a step; later values win."""
    if not batches:
        return pa.table({"step": pa.array([], pa.int64()), "time": pa.array([], pa.float64())})
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    steps = table["step"].to_numpy()
    if np.all(np.diff(steps) > 0):
        return table
    unique, first, group = np.unique(steps, return_index=True, return_inverse=True)
    columns = {"step": pa.array(unique), "time": pa.array(table["time"].to_numpy()[first])}
    for name in table.column_names[2:]:
        present = np.flatnonzero(table[name].is_valid().to_numpy())
        source = np.full(len(unique), -1)
        source[group[present]] = present  # of repeated indices numpy keeps the last one
        taken = pa.array(source, pa.int64(), mask=source < 0)
        columns[name] = table[name].combine_chunks().take(taken)
    return pa.table(columns)


def _understood(frame: Frame) -> Entry | None:
    """A frame's content; None where a sound frame holds nonsense (not written by lrtrack)."""
    try:
        if frame.kind is Kind.EVENT:
            event = json.loads(frame.payload)
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                return None
            return Entry(frame.start, frame.end, event=event)
        with pa.ipc.open_stream(frame.payload) as stream:
            batch = stream.read_next_batch()
    except (ValueError, pa.ArrowException, StopIteration, OSError):
        return None
    numeric = [pa.int64()] + [pa.float64()] * (batch.num_columns - 1)
    names = batch.schema.names
    if names[:2] != ["step", "time"] or len(set(names)) < len(names):
        return None
    if batch.schema.types != numeric or batch["step"].null_count or batch["time"].null_count:
        return None
    return Entry(frame.start, frame.end, rows=batch)


def ending_of(event: dict[str, Any]) -> Ending | None:
    """What an `end` event says; None for other events."""
    if event.get("event") != "end":
        return None
    try:
        suggestions = suggestions_from(event.get("suggestions"))
        diagnoses = diagnoses_from(event.get("diagnoses"))
        return Ending(State(event["state"]), float(event["time"]), suggestions, diagnoses)
    except (KeyError, TypeError, ValueError):
        return Ending(State.FAILED, 0.0)

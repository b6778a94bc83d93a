"""The surviving course of a run: what its journal holds after every return to an earlier step."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack._optional import load
from lrtrack.journal.arrow_arrays import arrow_of, mask_of, numbers_of, present_in
from lrtrack.journal.ending import Ending, diagnoses_in, ending_of, schedule_of
from lrtrack.journal.events import Entry
from lrtrack.records import Rewind, Run, count_from, rewind_of, with_rewind
from lrtrack.schedules import Schedule

#: The columns of every row.
_ROW = ("step", "time")
#: Tables with more cells are kept in pieces: most of them are empty where names differ by step.
_CELLS = 2**24
#: Rows that may wait until returns to earlier steps are applied to them.
_PENDING = 2**16


@dataclass(frozen=True)
class Course:
    """Everything that a journal says about the steps of its run.

    Attributes:
        table: `step` int64, `time` float64, then one nullable float64 column per metric in order of
            appearance; one row per step, ascending, without abandoned records.
        ending: how the run ended; None if the journal does not say.
        rewinds: the returns to earlier steps.
        breaks: the first recorded step after each resume and each return, ascending.
        pace: the data of the latest `pace` event; None without one.
        schedule: the latest schedule that the rates showed while the training ran, and the run's
            name then.
        diagnoses: those that were reported while the training ran; None if there were none.
        total_steps: how many steps the training will make, as the latest resume says; None if none
            does.
    """

    table: pa.Table
    ending: Ending | None
    rewinds: tuple[Rewind, ...] = ()
    breaks: tuple[int, ...] = ()
    pace: Mapping[str, Any] | None = None
    schedule: tuple[Schedule, str | None] | None = None
    diagnoses: tuple[Mapping[str, str], ...] | None = None
    total_steps: int | None = None

    @property
    def last(self) -> int:
        """The last recorded step; -1 without one."""
        return int(self.table["step"][-1].as_py()) if self.table.num_rows else -1

    def completed(self, run: Run) -> Run:
        """Return the run with everything that the journal's events add to its description."""
        if self.schedule is not None:
            schedule, name = self.schedule
            run = replace(run, schedule=schedule, name=name or run.name)
        if self.diagnoses is not None:
            run = replace(run, diagnoses=self.diagnoses)
        run = run if self.ending is None else self.ending.completed(run)
        first = run.branched_at
        if first is not None:  # it may have been found out only when its checkpoint was loaded
            first = min([first, *(rewind.step for rewind in self.rewinds)])
        return replace(
            run,
            rewinds=self.rewinds,
            branched_at=first,
            total_steps=self.total_steps or run.total_steps,
        )


class CourseEvents:
    """What the entries of a journal say besides the values of their rows.

    Attributes:
        rewind: the return to an earlier step that the latest entry is; None if it is something
            else.
    """

    def __init__(self) -> None:
        self.rewind: Rewind | None = None
        self._ending: Ending | None = None
        self._rewinds: tuple[Rewind, ...] = ()
        self._breaks: list[int] = []
        self._pace: Mapping[str, Any] | None = None
        self._schedule: tuple[Schedule, str | None] | None = None
        self._diagnoses: tuple[Mapping[str, str], ...] | None = None
        self._total_steps: int | None = None
        self._begins, self._top = False, -1

    def add(self, entry: Entry) -> None:
        """Adds the next entry of the journal."""
        self.rewind = None
        if entry.rows is not None:
            self._add_steps(numbers_of(entry.rows["step"]))
            return
        event = entry.event or {}
        resumed = event.get("event") == "resume"
        self._ending = ending_of(event) or (None if resumed else self._ending)
        self._begins = self._begins or resumed
        self._total_steps = (_total_steps(event) if resumed else None) or self._total_steps
        self._pace = event if event.get("event") == "pace" else self._pace
        self._schedule = schedule_of(event) or self._schedule
        self._diagnoses = diagnoses_in(event) or (None if resumed else self._diagnoses)
        if (rewind := event_rewind(event)) is not None:
            self.rewind = rewind
            self._rewinds = with_rewind(self._rewinds, rewind)
            del self._breaks[bisect_left(self._breaks, rewind.step) :]  # ascending
            self._begins, self._top = True, rewind.step - 1

    def _add_steps(self, steps: np.ndarray) -> None:
        new = steps > self._top  # others amend the step before
        if self._begins and new.any():
            self._breaks.append(int(steps[new][0]))
            self._begins = False
        self._top = max(self._top, int(steps.max()))

    def course(self, table: pa.Table) -> Course:
        """The course so far, with the table of its surviving rows."""
        return Course(
            table, self._ending, self._rewinds, tuple(self._breaks), self._pace, self._schedule,
            self._diagnoses, self._total_steps,
        )  # fmt: skip


def course_of(entries: Iterable[Entry], most: int | None = None) -> Course:
    """Read the course of a run from the entries of its whole journal.

    Args:
        entries: those of the journal.
        most: the most metrics that are kept, those that appear first; None: all.
    """
    names: dict[str, None] = {}
    rows = SurvivingRows()
    events = CourseEvents()
    for entry in entries:
        events.add(entry)
        if entry.rows is not None:
            rows.add(entry.rows if most is None else _first_of(entry.rows, names, most))
        elif events.rewind is not None:
            rows.rewind(events.rewind.step)
    return events.course(merge(rows.batches()))


class SurvivingRows:
    """Collects rows, and leaves out those that later returns to earlier steps abandon.

    The returns are applied together. One at a time, a journal of as many returns as rows would
    take a time quadratic in its size. So would the memory of a training that returns often if they
    were applied only at the end: therefore they are also applied when the rows have doubled.
    """

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rewinds: list[tuple[int, int]] = []  # the batches before it, its step
        self._rows, self._due = 0, _PENDING

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds the next rows of the journal."""
        self._batches.append(batch)
        self._rows += len(batch)

    def rewind(self, step: int) -> None:
        """Notes that the rows so far are abandoned from `step` on."""
        self._rewinds.append((len(self._batches), step))
        if self._rows > self._due:
            self._rows = sum(map(len, self.batches()))
            self._due = 2 * self._rows + _PENDING

    def batches(self) -> list[pa.RecordBatch]:
        """Returns the rows that survive all returns so far."""
        kept: list[pa.RecordBatch] = []
        end = len(self._batches)
        lowest = None
        for count, step in [*reversed(self._rewinds), (0, 0)]:
            part = self._batches[count:end]
            kept += reversed(part if lowest is None else list(before(part, lowest)))
            end = min(end, count)
            lowest = step if lowest is None else min(step, lowest)
        self._batches, self._rewinds = kept[::-1], []
        return self._batches


def _first_of(rows: pa.RecordBatch, names: dict[str, None], most: int) -> pa.RecordBatch:
    """Return a copy of the columns in `names`, to which new ones are added up to `most`."""
    for name in rows.schema.names[2:]:
        if len(names) < most:
            names.setdefault(name)
    kept = rows.select([name for name in rows.schema.names if name in names or name in _ROW])
    return kept.take(arrow_of(np.arange(len(rows))))  # without the buffers of the others


def _total_steps(resume: Mapping[str, Any]) -> int | None:
    run = resume.get("run")
    return count_from(run.get("total_steps")) if isinstance(run, Mapping) else None


def event_rewind(event: Mapping[str, Any] | None) -> Rewind | None:
    """The rewind that an event describes; None for other events."""
    return rewind_of(event) if event is not None and event.get("event") == "rewind" else None


def before(batches: Iterable[pa.RecordBatch], step: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of steps before `step`."""
    for batch in batches:
        kept = numbers_of(batch["step"]) < step  # `pa.scalar` would import pandas
        if kept.all():
            yield batch
        elif kept.any():
            yield batch.filter(mask_of(kept))


def without(
    table: pa.Table, rewinds: Iterable[Rewind], prefix: str, others: Iterable[str]
) -> pa.Table:
    """Return a table that a tracker kept, without the records that a block has abandoned.

    Args:
        table: `step`, `time`, then nullable columns, perhaps of several blocks.
        rewinds: those of one block.
        prefix: of the block's metrics.
        others: the prefixes of other blocks, whose metrics stay.
    """
    steps, times = numbers_of(table["step"]), numbers_of(table["time"])
    gone = np.zeros(len(steps), dtype=bool)
    for rewind in rewinds:
        gone |= (steps >= rewind.step) & (times < rewind.time)
    if not gone.any():
        return table
    foreign = tuple(other for other in others if other and not prefix.startswith(other))
    if_else, mask = load("pyarrow.compute").if_else, mask_of(gone)
    kept = np.zeros(len(steps), dtype=bool)
    for at, name in enumerate(table.column_names[2:], 2):
        if name.startswith(prefix) and not (foreign and name.startswith(foreign)):
            values = if_else(mask, pa.scalar(None, pa.float64()), table[name])
            table = table.set_column(at, name, values)
        kept |= present_in(table[name])
    return table.filter(mask_of(kept | ~gone))


def merge(batches: list[pa.RecordBatch]) -> pa.Table:
    """Joins row batches into one table with one row per step; later values win."""
    if not batches:
        return pa.table({"step": arrow_of(np.empty(0, np.int64)), "time": arrow_of(np.empty(0))})
    table = concatenated(batches)
    if table.num_rows * table.num_columns <= _CELLS:
        table = table.combine_chunks()
    steps = numbers_of(table["step"])
    if np.all(np.diff(steps) > 0):
        return table
    unique, first, group = np.unique(steps, return_index=True, return_inverse=True)
    columns = {"step": arrow_of(unique), "time": arrow_of(numbers_of(table["time"])[first])}
    for name in table.column_names[2:]:
        present = np.flatnonzero(present_in(table[name]))
        source = np.full(len(unique), -1)
        source[group[present]] = present  # of repeated indices numpy keeps the last one
        indices = arrow_of(source, source >= 0)
        columns[name] = table[name].combine_chunks().take(indices)
    return pa.table(columns)


def merge_tables(*tables: pa.Table) -> pa.Table:
    """Joins tables of one run into one with one row per step; later values win."""
    return merge([batch for table in tables for batch in table.to_batches()])


def concatenated(batches: list[pa.RecordBatch]) -> pa.Table:
    """Joins row batches one after another; missing columns share one array of nulls."""
    total = sum(map(len, batches))
    missing = pa.nulls(total, pa.float64())
    columns: dict[str, list[pa.Array]] = {name: [] for name in _ROW}
    filled: dict[str, int] = {}
    begin = 0
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            chunks = columns.setdefault(name, [])
            if (gap := begin - filled.get(name, 0)) > 0:
                chunks.append(missing.slice(0, gap))
            chunks.append(column)
            filled[name] = begin + len(batch)
        begin += len(batch)
    for name, chunks in columns.items():
        if (gap := total - filled[name]) > 0:
            chunks.append(missing.slice(0, gap))
    return pa.table({name: pa.chunked_array(chunks) for name, chunks in columns.items()})

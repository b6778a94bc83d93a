"""What a run has recorded, as its end needs it: in memory, or in parts where it is long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lrtrack.journal import history_table, segments
from lrtrack.journal.arrow_arrays import arrow_of, numbers_of
from lrtrack.journal.course import Course
from lrtrack.journal.history_parts import HistoryParts, write_parquet
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.unended import completed
from lrtrack.records import Run, State
from lrtrack.shipping.step_numbering import shifted_table
from lrtrack.stats.accumulation import COUNT, LOSS, mean_losses, several_losses
from lrtrack.stats.diagnose import Diagnosis, shown_in
from lrtrack.stats.summary import final_count, loss_metrics, mean_of_last

#: The most records of one part of which a killed training's schedule is found.
_RATES = 500


class RunRecords(Protocol):
    """The surviving records of a run whose journal is complete."""

    @property
    def course(self) -> Course:
        """What the journal says besides its rows."""
        ...

    def completed(self, run: Run) -> Run:
        """The run with everything that its journal says, or else its records show."""
        ...

    def last_time(self) -> float | None:
        """The time of the last step, in seconds since the epoch; None without one."""
        ...

    def shown(self, run: Run) -> tuple[Diagnosis, ...] | None:
        """The diagnoses that the records of a killed training show; None if there are none."""
        ...

    def write(self, path: Path, first: int) -> bool:
        """Writes the columnar file, with steps from `first` on; False if there are no rows."""
        ...

    def losses(self, path: Path | None, first: int, prefix: str) -> dict[str, float]:
        """`loss_final` and `loss_best`, of the columnar file at `path`, or without one."""
        ...


def records_of(reader: JournalReader, most: int | None = None) -> RunRecords:
    """Reads the records of a complete journal.

    Args:
        reader: the journal.
        most: the most metrics that are read, those that appear first; None: all.
    """
    if reader.size() > segments.LIMIT:
        return _InParts(reader, most)
    return _Whole(reader, most)


class _Whole:
    """All rows in memory."""

    def __init__(self, reader: JournalReader, most: int | None) -> None:
        self.course = reader.course(most)

    def completed(self, run: Run) -> Run:
        return completed(run, self.course)

    def last_time(self) -> float | None:
        times = self.course.table["time"]
        return float(times[-1].as_py()) if len(times) else None

    def shown(self, run: Run) -> tuple[Diagnosis, ...] | None:
        return _shown(run, iter([self.course.table]))

    def write(self, path: Path, first: int) -> bool:
        if not self.course.table.num_rows:
            return False
        history_table.write_parquet(shifted_table(self.course.table, first), path)
        return True

    def losses(self, path: Path | None, first: int, prefix: str) -> dict[str, float]:
        table = shifted_table(self.course.table, first)
        if path is not None:
            own = (f"{prefix}{LOSS}", f"{prefix}lr/")
            table = history_table.read_parquet(
                path, own=True, keeps=lambda name: name.startswith(own)
            )
        return run_metrics(table, prefix)


class _InParts:
    """A journal of several segments, whose rows are never all in memory."""

    def __init__(self, reader: JournalReader, most: int | None) -> None:
        self._parts = HistoryParts(reader, most)
        self.course = self._parts.course

    def completed(self, run: Run) -> Run:
        if self.course.ending is not None:
            return completed(run, self.course)
        found = (_some_rates(table, run.prefix) for table in self._parts)
        rates = [table for table in found if table is not None]
        course = replace(self.course, table=pa.concat_tables(rates)) if rates else self.course
        return completed(run, course)

    def last_time(self) -> float | None:
        last = None
        for part in self._parts:
            last = float(part["time"][-1].as_py()) if len(part) else last
        return last

    def shown(self, run: Run) -> tuple[Diagnosis, ...] | None:
        return _shown(run, iter(self._parts))

    def write(self, path: Path, first: int) -> bool:
        return write_parquet(self._parts, path, first) > 0

    def losses(self, path: Path | None, first: int, prefix: str) -> dict[str, float]:
        def columns() -> Iterator[pa.Table]:
            wanted = [name for name in (prefix + LOSS, prefix + COUNT) if name in names]
            if path is None:
                yield from (part.select(wanted) for part in self._parts)
                return
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                # `iter_batches` would keep what it has read of all row groups.
                for group in range(file.metadata.num_row_groups):
                    yield file.read_row_group(group, columns=wanted, use_threads=False)

        names = self._parts.names if path is None else pq.read_schema(path).names
        if prefix + LOSS not in names:
            return {}
        counted = prefix + COUNT in names and not several_losses(names, prefix)
        return _losses(columns, prefix, counted=counted)


def _losses(columns: Any, prefix: str, *, counted: bool) -> dict[str, float]:
    """The same as `run_metrics`, of tables that come one after another, each time anew.

    Args:
        columns: yields tables of the losses and their counts.
        prefix: precedes both names.
        counted: whether the counts tell of batches.
    """
    name, count = prefix + LOSS, prefix + COUNT
    number, best = 0, math.inf
    kinds: set[float] = set()
    for table in columns():
        values = numbers_of(table[name].drop_null())
        number += len(values)
        best = float(values[np.isfinite(values)].min(initial=best))
        if counted:
            kinds |= set(np.unique(_counts(table, name, count)).tolist())
    if len({kind for kind in kinds if math.isfinite(kind) and kind > 0}) > 1:
        tables = [table.select([name, count]) for table in columns()]
        return run_metrics(pa.concat_tables(tables), prefix)
    if not number:
        return {}
    last: list[NDArray[np.float64]] = []
    passed, begin = 0, number - final_count(number)
    for table in columns():
        values = numbers_of(table[name].drop_null())
        last.append(np.array(values[max(begin - passed, 0) :]))
        passed += len(values)
    final = mean_of_last(np.concatenate(last), final_count(number))
    smallest = best if math.isfinite(best) else math.nan
    return {f"{prefix}loss_final": final, f"{prefix}loss_best": smallest}


def _counts(table: pa.Table, name: str, count: str) -> NDArray[np.float64]:
    return numbers_of(table[count].filter(table[name].is_valid()))


def run_metrics(table: pa.Table, prefix: str) -> dict[str, float]:
    """Returns `loss_final` and `loss_best` of a run; empty if it has no loss."""
    name = prefix + LOSS
    if name not in table.column_names:
        return {}
    values = numbers_of(table[name].drop_null())
    if not len(values):
        return {}
    count, names = prefix + COUNT, table.column_names
    if count in names and not several_losses(names, prefix):
        values = mean_losses(values, numbers_of(table[count].filter(table[name].is_valid())))
    return loss_metrics(values, prefix)


def _shown(run: Run, tables: Iterator[pa.Table]) -> tuple[Diagnosis, ...] | None:
    def records() -> Iterator[tuple[Any, Any, Any]]:
        for table in tables:
            arrays = history_table.arrays(table)
            metrics, present = arrays["metrics"], arrays["present"]
            columns = {name: (metrics[name], present[name]) for name in metrics}
            yield arrays["steps"], columns, arrays["times"]

    try:
        return shown_in(run, State.FAILED, records()) or None
    except Exception:  # a journal may hold any numbers
        return None


def _some_rates(table: pa.Table, prefix: str) -> pa.Table | None:
    """Some records of the learning rates, the smallest and the largest among them."""
    names = [
        name
        for name in table.column_names[2:]
        if name == f"{prefix}lr" or name.startswith(f"{prefix}lr/")
    ]
    if not names or not len(table):
        return None
    at = [np.linspace(0, len(table) - 1, min(_RATES, len(table))).astype(np.int64)]
    for name in names:
        rates = numbers_of(table[name])
        usable = np.flatnonzero(np.isfinite(rates))
        if usable.size:
            at.append(usable[[rates[usable].argmin(), rates[usable].argmax()]])
    rows = np.unique(np.concatenate(at))
    return table.select(["step", "time", *names]).take(arrow_of(rows))

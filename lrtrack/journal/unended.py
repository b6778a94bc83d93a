"""The schedule of a run whose journal has no end, because it was killed or is still going.

A training process that ends says in its journal which schedule the rates show, if no scheduler
object did. For others, their readers find it out.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from lrtrack.journal.course import Course
from lrtrack.journal.rate_column import column_of, is_still, rates_of
from lrtrack.records import TRAIN, Run, default_name
from lrtrack.schedules import CONSTANT, Schedule, infer_schedule, parts_of, side_by_side

#: The most rates that a schedule is inferred from, so that reading many runs stays quick.
_MOST = 10_000


def completed(run: Run, course: Course) -> Run:
    """Return the run with everything that its journal says, or else its records show.

    Args:
        run: the run as its block began.
        course: the rest of the journal.
    """
    known = course.completed(run)
    if course.ending is not None or run.kind != TRAIN:
        return known
    try:
        schedule = _shown(run, course.table)
    except Exception:  # a journal may hold any numbers
        return known
    if schedule is None:
        return known
    is_default = run.name == default_name(run.prefix, run.schedule.name, run.seed)
    name = default_name(run.prefix, schedule.name, run.seed) if is_default else run.name
    return replace(known, schedule=schedule, name=name)


def _shown(run: Run, table: pa.Table) -> Schedule | None:
    """The schedule with what the rates show where the description says that they stay."""
    constant = Schedule(CONSTANT)
    parts = parts_of(run.schedule)
    if not parts:
        if run.schedule != constant:
            return None
        names = [key.removesuffix(".name") for key in run.optimizer if key.endswith(".name")]
        parts = dict.fromkeys(names or [""], constant)
    inferred = {
        name: _of_column(table, column_of(run.prefix, name))
        for name, schedule in parts.items()
        if schedule == constant
    }
    found = {name: schedule for name, schedule in inferred.items() if schedule is not None}
    if not found:
        return None
    return found[""] if "" in found else side_by_side({**parts, **found})


def _of_column(table: pa.Table, column: str) -> Schedule | None:
    steps, rates = rates_of(table, column)
    if is_still(rates):
        return None
    stride = -(-rates.size // _MOST)
    return infer_schedule(rates[::stride], steps[::stride]).schedule

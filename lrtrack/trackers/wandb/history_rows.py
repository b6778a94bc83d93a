"""W&B's history rows as the columns of a `History`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.journal.history_table import MAX_TIME
from lrtrack.journal.reader import merge
from lrtrack.trackers.per_run import number_of, step_of
from lrtrack.trackers.wandb import metadata

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


#: Called with how many rows were left out, and why the first of them was.
OnOdd = Callable[[int, str], None]


def scanned(found: Any, on_odd: OnOdd = lambda count, reason: None) -> pa.Table:
    """Every row that lrtrack logged; rows whose step or time makes no sense are left out."""
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    odd: list[str] = []
    for row in found.scan_history(use_cache=False):
        if row.get(metadata.STEP) is None:
            continue  # the user's own
        step, when = step_of(row[metadata.STEP]), _time_of(row)
        if step is None or when is None:
            name = metadata.STEP if step is None else "_timestamp"
            odd.append(f"{name} is {json.dumps(row[name], default=str)[:80]}")
            continue
        into = points.setdefault(step, {})
        times.setdefault(step, when)
        for name, value in row.items():
            number = _number(value)
            if number is not None and name != metadata.STEP and not name.startswith("_"):
                into[name] = number
    if odd:
        on_odd(len(odd), odd[0])
    return _table_of(points, times)


def users_rows(
    found: Any, metric: str, on_odd: OnOdd = lambda count, reason: None
) -> list[tuple[float, float]]:
    """(seconds since the epoch, value) of a metric that the user logged himself."""
    rows = found.scan_history(keys=[metric, "_timestamp"], use_cache=False)
    values = [(_time_of(row), _number(row.get(metric))) for row in rows]
    odd = sum(when is None for when, _ in values)
    if odd:
        on_odd(odd, "_timestamp is no time")
    return [(when, value) for when, value in values if when is not None and value is not None]


def _time_of(row: Mapping[str, Any]) -> float | None:
    """When a row was logged, 0 where it does not say; None for what is no time."""
    value = row.get("_timestamp")
    if value is None:
        return 0.0
    when = number_of(value)
    return when if when is not None and 0 <= when < MAX_TIME else None


def with_users_own(table: pa.Table, rows: list[tuple[float, float]], metric: str) -> pa.Table:
    """The table, with the user's values at the step made last before each of them."""
    steps, times = table["step"].to_numpy(), table["time"].to_numpy()
    if not rows or not len(times):
        return table
    at = np.searchsorted(times, [when for when, _ in rows], side="right") - 1
    places = np.maximum(at, 0)
    points = {int(steps[i]): {metric: value} for i, (_, value) in zip(places, rows, strict=True)}
    extra = _table_of(points, {int(steps[i]): float(times[i]) for i in places})
    return merge([batch for part in (table, extra) for batch in part.to_batches()])


def _number(value: Any) -> float | None:
    """A value of W&B's history as a number; None where it is something else."""
    return number_of(_NUMBERS.get(value, value) if isinstance(value, str) else value)


def _table_of(points: dict[int, dict[str, float]], times: dict[int, float]) -> pa.Table:
    steps = sorted(points)
    names = dict.fromkeys(name for step in steps for name in points[step])
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "time": pa.array([times[step] for step in steps], pa.float64()),
            **{n: pa.array([points[s].get(n) for s in steps], pa.float64()) for n in names},
        }
    )

"""W&B's history rows as the columns of a `History`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.journal.reader import merge
from lrtrack.trackers.wandb import words

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def scanned(found: Any) -> pa.Table:
    """Every row that lrtrack logged."""
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for row in found.scan_history(use_cache=False):
        step = row.get(words.STEP)
        if not isinstance(step, int | float):
            continue
        into = points.setdefault(int(step), {})
        times.setdefault(int(step), float(row.get("_timestamp") or 0.0))
        for name, value in row.items():
            number = _number(value)
            if number is not None and name != words.STEP and not name.startswith("_"):
                into[name] = number
    return _table_of(points, times)


def users_rows(found: Any, metric: str) -> list[tuple[float, float]]:
    """(seconds since the epoch, value) of a metric that the user logged himself."""
    rows = found.scan_history(keys=[metric, "_timestamp"], use_cache=False)
    values = [(float(row["_timestamp"]), _number(row.get(metric))) for row in rows]
    return [(when, value) for when, value in values if value is not None]


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
    value = _NUMBERS.get(value, value) if isinstance(value, str) else value
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else None


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

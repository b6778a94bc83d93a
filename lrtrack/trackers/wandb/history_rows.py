"""W&B's history rows as the columns of a `History`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lrtrack.journal.arrow_arrays import numbers_of
from lrtrack.journal.course import merge_tables
from lrtrack.records import Rewind
from lrtrack.records.alignment import MAX_TIME
from lrtrack.trackers.per_run import number_of, step_of
from lrtrack.trackers.wandb import metadata

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

#: Called with the number of rows that were left out, and the reason for the first.
OnOdd = Callable[[int, str], None]


def fetch_steps(
    wandb_run: Any,
    on_odd: OnOdd = lambda count, reason: None,
    rewinds: Mapping[str, Sequence[Rewind]] | None = None,
) -> pa.Table:
    """Fetch every row that lrtrack logged, except abandoned rows and invalid steps or times.

    Args:
        wandb_run: the run on the server.
        on_odd: called if there are invalid rows.
        rewinds: those of some blocks by prefix, in addition to what the run's config lists.
    """
    points: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    odd: list[str] = []
    rewinds = {**rewinds_of(wandb_run), **(rewinds or {})}
    for row in wandb_run.scan_history(use_cache=False):
        if row.get(metadata.STEP) is None:
            continue  # logged by the user
        step, when = step_of(row[metadata.STEP]), time_of(row)
        if step is None or when is None:
            name = metadata.STEP if step is None else "_timestamp"
            odd.append(f"{name} is {json.dumps(row[name], default=str)[:80]}")
            continue
        gone = {p for p, own in rewinds.items() if any(r.abandons(step, when) for r in own)}
        for name, value in row.items():
            number = number_in(value)
            if number is None or name == metadata.STEP or name.startswith("_"):
                continue
            if gone and max((p for p in rewinds if name.startswith(p)), key=len) in gone:
                continue
            points.setdefault(step, {})[name] = number
            times.setdefault(step, when)
    if odd:
        on_odd(len(odd), odd[0])
    return _table_of(points, times)


def rewinds_of(wandb_run: Any) -> dict[str, tuple[Rewind, ...]]:
    """The rewinds of each block that a run's config lists, by the block's prefix."""
    config = wandb_run.config if isinstance(wandb_run.config, Mapping) else {}
    return metadata.rewinds_by_prefix(config.get(metadata.CONFIG))


def fetch_user_metric(
    wandb_run: Any, metric: str, on_odd: OnOdd = lambda count, reason: None
) -> list[tuple[float, float]]:
    """Fetch (seconds since the epoch, value) pairs of a metric that the user logged."""
    rows = wandb_run.scan_history(keys=[metric, "_timestamp"], use_cache=False)
    values = [(time_of(row), number_in(row.get(metric))) for row in rows]
    odd = sum(when is None for when, _ in values)
    if odd:
        on_odd(odd, "_timestamp is not a time")
    return [(when, value) for when, value in values if when is not None and value is not None]


def time_of(row: Mapping[str, Any]) -> float | None:
    """The time of a row in seconds, 0 if it has none; None if it is invalid."""
    value = row.get("_timestamp")
    if value is None:
        return 0.0
    when = number_of(value)
    return when if when is not None and 0 <= when < MAX_TIME else None


def add_user_metric(table: pa.Table, rows: list[tuple[float, float]], metric: str) -> pa.Table:
    """Add the user's values to the table, each at the last step before it."""
    steps, times = numbers_of(table["step"]), numbers_of(table["time"])
    if not rows or not len(times):
        return table
    indices = np.searchsorted(times, [when for when, _ in rows], side="right") - 1
    indices = np.maximum(indices, 0)
    points = {int(steps[i]): {metric: value} for i, (_, value) in zip(indices, rows, strict=True)}
    extra = _table_of(points, {int(steps[i]): float(times[i]) for i in indices})
    return merge_tables(table, extra)


def number_in(value: Any) -> float | None:
    """A value of W&B's history as a number; None if it is not one."""
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

"""Metrics that were logged each at its own steps, as columns over common steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lrtrack.number_text import amount

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The largest step that a float64 holds exactly.
MAX_STEP = 2**53
#: Seconds since the epoch beyond which a value is no time (year 5138).
MAX_TIME = 1e11


#: The most cells of all columns together; more would not fit into a usual memory.
_MOST_CELLS = 300_000_000


class OddRun(ValueError):
    """A run is malformed; the message says in what way."""


@dataclass(frozen=True)
class Series:
    """The points of one metric, in any order.

    Attributes:
        steps: shape (n,), int64.
        values: shape (n,), float64; NaN and infinities are values.
        times: shape (n,), float64, seconds since the epoch.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The arrays of a `History`, by its field names."""

    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]
    present: dict[str, NDArray[np.bool_]]


def sound(metrics: Mapping[str, Series]) -> tuple[dict[str, Series], int]:
    """The metrics without points whose step or time makes no sense, and the number of these."""
    kept: dict[str, Series] = {}
    odd = 0
    for name, series in metrics.items():
        steps, times = series.steps, series.times
        good = (steps >= 0) & (steps < MAX_STEP) & (times >= 0) & (times < MAX_TIME)
        count = int(good.sum())
        odd += good.size - count
        if count == good.size:
            kept[name] = series
        elif count:
            kept[name] = Series(steps[good], series.values[good], times[good])
    return kept, odd


def columns_of(metrics: Mapping[str, Series], leading: str | None) -> Columns:
    """Join metrics into columns over all steps at which any of them was logged.

    A metric that was logged without steps, which trackers keep as step 0, is placed by time: at
    the last step of the leading metric before each of its points. Of several points at one step
    the last in time counts.

    Args:
        metrics: at least 0 metrics with at least 1 point each.
        leading: the metric whose steps and times count most: the learning rate.

    Raises:
        OddRun: the columns would take gigabytes.
    """
    names = sorted(metrics, key=lambda name: name != leading)  # a stable sort
    ordered = _with_steps({name: _in_time(metrics[name]) for name in names})
    parts = {name: _last_of_each_step(series) for name, series in ordered.items()}
    empty = np.empty(0, np.int64)
    steps = np.unique(np.concatenate([empty, *(part.steps for part in parts.values())]))
    if steps.size * len(parts) > _MOST_CELLS:
        raise OddRun(
            f"it has {amount(len(parts))} metrics at {amount(steps.size)} steps, which is too much"
        )
    columns = Columns(steps, np.full(steps.size, np.nan), {}, {})
    for name in metrics:
        columns.metrics[name] = np.full(steps.size, np.nan)
        columns.present[name] = np.zeros(steps.size, dtype=bool)
    for name, part in parts.items():  # the leading metric first: its times count
        at = np.searchsorted(steps, part.steps)
        columns.metrics[name][at] = part.values
        columns.present[name][at] = True
        columns.times[at] = np.where(np.isnan(columns.times[at]), part.times, columns.times[at])
    return columns


def _in_time(series: Series) -> Series:
    """The points in the order of their times; those of one time in their own order."""
    times = series.times
    if times.size < 2 or (times[1:] >= times[:-1]).all():
        return series
    order = np.argsort(times, kind="stable")
    return Series(series.steps[order], series.values[order], times[order])


def _last_of_each_step(series: Series) -> Series:
    """Of points in the order of their times, the last one of each step, with steps ascending."""
    if (np.diff(series.steps) > 0).all():
        return series
    steps, last = np.unique(series.steps[::-1], return_index=True)
    at = series.steps.size - 1 - last
    return Series(steps, series.values[at], series.times[at])


def _with_steps(metrics: dict[str, Series]) -> dict[str, Series]:
    """Give steps to metrics that were logged without them."""
    stepless = [name for name, series in metrics.items() if _is_stepless(series)]
    if not stepless:
        return metrics
    clock = _clock(metrics, stepless)
    return metrics | {name: _placed(metrics[name], clock) for name in stepless}


def _is_stepless(series: Series) -> bool:
    return series.steps.size > 1 and not series.steps.any()


def _clock(metrics: dict[str, Series], stepless: list[str]) -> Series:
    """The metric that tells which step it was at a time."""
    counted = [series for name, series in metrics.items() if name not in stepless]
    first = next(iter(metrics))
    if first not in stepless and metrics[first].steps.any():
        return metrics[first]
    longest = max(counted, key=lambda series: series.steps.size, default=None)
    if longest is not None and longest.steps.any():
        return longest
    lead = metrics[first if first in stepless else stepless[0]]
    return replace(lead, steps=np.arange(lead.steps.size, dtype=np.int64))


def _placed(series: Series, clock: Series) -> Series:
    """Points at the last step of `clock` before them."""
    if series.times is clock.times:
        return clock
    at = np.searchsorted(clock.times, series.times, side="right") - 1
    return replace(series, steps=clock.steps[np.maximum(at, 0)])

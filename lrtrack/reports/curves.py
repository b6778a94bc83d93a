"""The curves of a comparison as plain numbers: each schedule's mean with its interval, and single
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lrtrack.errors import NothingFound
from lrtrack.records import History, one_by_one
from lrtrack.reports.axes import rulers_of
from lrtrack.reports.downsampling import extremes
from lrtrack.reports.intervals import mean_and_half_width
from lrtrack.stats import ComparisonResult
from lrtrack.stats.accumulation import series
from lrtrack.stats.branched import whole_series
from lrtrack.stats.rulers import Ruler, placement_of

Steps = NDArray[np.int64]
Values = NDArray[np.float64]

#: Metrics with a panel below the compared metric, if any run recorded them.
ALSO = ("loss", "lr", "grad_norm", "update_ratio")
#: Larger values fit no chart's scale, and their sums overflow; float32 ends at 1e38.
_LARGEST = 1e100
#: If a metric has more points than this, curves are drawn from each run's extremes alone, because
#: all points do not fit into memory; each run keeps at least `_FEWEST`.
_POINTS, _FEWEST = 4_000_000, 1_000
#: The most positions at which a schedule's mean over a metric is computed.
_POSITIONS = 5_000
#: How many times the median the largest value must be for a log scale.
_WIDE = 8.0
#: The same for the peaks of learning rates.
_FAR_ABOVE = 30.0
_TITLES = {
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "update_ratio": "update / weights",
    "update_norm": "norm of the update",
    "weight_norm": "norm of the weights",
}


def drawable(value: float | None) -> bool:
    """Whether a chart can show `value`."""
    return value is not None and abs(value) < _LARGEST


@dataclass(frozen=True)
class Line:
    """One run's values of one metric.

    Attributes:
        run: index in `ComparisonResult.histories`.
        steps: the recorded steps, shape (n,), ascending; over a metric, their positions.
        values: shape (n,); NaN if the recorded value is not finite or too large for a chart.
    """

    run: int
    steps: Steps | Values
    values: Values


@dataclass(frozen=True)
class Bundle:
    """One schedule in one panel.

    Mean and interval are over the runs that did not diverge, at each step at which more than half
    of them have a value. For the learning rate, which divergence does not change, they are over
    all runs that have one. Values between a run's records are interpolated linearly.

    `low` and `high` are the ends of the 95 % confidence interval of the mean by Student's t, over
    the runs that have a value at that step: see `lrtrack.reports.intervals`. It is pointwise: it
    holds at any one step in 95 % of cases, not at all steps at once. The runs' own spread at that
    step is all it uses, so that it is wide for two or three runs, and may reach below 0 where every
    value is positive; `on_logarithms` there is for axes that have no place for that.

    Attributes:
        steps: shape (g,): all steps that one of these runs recorded; over a metric, the positions
            of these records, of which there are at most `_POSITIONS`.
        mean, low, high: shape (g,), NaN if too few runs have a value; `low` and `high` also where
            only one has. All three are the same where all values are.
        counted: indices of the runs that they are computed from.
        lines: every run that recorded the metric, with those that diverged.
    """

    steps: Steps | Values
    mean: Values
    low: Values
    high: Values
    counted: tuple[int, ...]
    lines: tuple[Line, ...]

    @cached_property
    def flat(self) -> bool:
        """Whether all lines are identical, so that one of them shows all."""
        return (
            len(self.counted) == len(self.lines)
            and not bool((self.low < self.high).any())
            and all(np.isfinite(line.values).all() for line in self.lines)
        )


@dataclass(frozen=True)
class Panel:
    """One metric, with one bundle per schedule; None for a schedule whose runs lack it."""

    metric: str
    title: str
    bundles: tuple[Bundle | None, ...]

    @cached_property
    def wide(self) -> bool:
        """Whether the largest values would flatten the usual ones on a linear axis.

        Learning rates have familiar shapes on linear axes, so that only the peaks count there: one
        schedule must be far above most of the others.
        """
        bundles = [bundle for bundle in self.bundles if bundle is not None]
        if self.metric == "lr":
            tops = np.array([np.nanmax(item.mean, initial=-np.inf) for item in bundles])
            return bool(tops.max() > _FAR_ABOVE * np.median(tops) > 0.0)
        parts = [bundle.mean for bundle in bundles]
        parts += [line.values for bundle in bundles for line in bundle.lines]
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]
        if not values.size or values.min() <= 0.0:
            return False
        return bool(values.max() > _WIDE * np.median(values))


@dataclass(frozen=True)
class Curves:
    """All panels of a comparison, and the x axes that they can be drawn over.

    Attributes:
        members: for each schedule the indices of its runs in `ComparisonResult.histories`.
        rulers: for each available axis one ruler per run.
        absent: for each missing axis the reason.
        x: the metric whose values are the `steps` of all lines and bundles, or `epoch`; None: they
            are steps.
    """

    panels: tuple[Panel, ...]
    members: tuple[tuple[int, ...], ...]
    rulers: Mapping[str, tuple[Ruler, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)
    x: str | None = None

    def places(self, axis: str, runs: Sequence[int], steps: Steps | Values) -> Values:
        """The positions of `steps` on an axis, averaged over `runs`, shape (n,)."""
        if axis == self.x:
            return steps.astype(np.float64)
        positions = [self.rulers[axis][run].at(steps) for run in runs]
        return np.asarray(np.mean(positions, axis=0)) if len(positions) > 1 else positions[0]


def curves_of(comparison: ComparisonResult) -> Curves:
    """Collect the curves of the compared metric and of those in `ALSO`."""
    rulers, absent = rulers_of(comparison.histories)
    members = tuple(_members(comparison))
    return Curves(panels_of(comparison, members, None), members, rulers, absent)


def curves_over(comparison: ComparisonResult, x: str) -> Curves:
    """The same curves over a metric or epochs, without the runs that have no positions there.

    The mean of a schedule is over its runs at equal positions, not at equal steps: its runs may
    have counted, say, different numbers of tokens in a step.

    Raises:
        NothingFound: no curve has a position.
    """
    members = tuple(_members(comparison))
    panels = panels_of(comparison, members, x)
    if not panels:
        raise NothingFound(f"No run has positions on the x axis {x!r}.")
    return Curves(panels, members, {}, {}, x)


def panels_of(
    comparison: ComparisonResult, members: Sequence[Sequence[int]], x: str | None,
    metrics: Sequence[str] = ALSO,
) -> tuple[Panel, ...]:  # fmt: skip
    """One panel for the compared metric and each of `metrics`, of those that any run recorded."""
    panels = []
    points = sum(history.steps.size for history in comparison.histories)
    most = max(_FEWEST, _POINTS // len(comparison.histories)) if points > _POINTS else points
    for metric in dict.fromkeys((comparison.metric, *metrics)):
        bundles = tuple(_bundle(comparison, metric, runs, most, x) for runs in members)
        if any(bundle is not None for bundle in bundles):
            panels.append(Panel(metric, _TITLES.get(metric, metric), bundles))
    return tuple(panels)


def _members(comparison: ComparisonResult) -> Iterator[tuple[int, ...]]:
    start = 0
    for item in comparison.schedules:
        yield tuple(range(start, start + item.runs))
        start += item.runs


def _bundle(
    comparison: ComparisonResult, metric: str, runs: Sequence[int], most: int, x: str | None
) -> Bundle | None:
    histories = one_by_one(comparison.histories[run] for run in runs)
    every = (_line(one, metric, run, most, x) for run, one in zip(runs, histories, strict=True))
    lines = [line for line in every if line is not None]
    if not lines:
        return None
    counted = [
        line
        for line in lines
        if (metric == "lr" or not comparison.runs[line.run].diverged)
        and np.isfinite(line.values).any()
    ]
    if x is not None:
        return _averaged(counted, lines, 0.5, _POSITIONS)
    return _averaged(counted, lines, 0.0 if metric == "lr" else 0.5, None)


def _line(history: History, metric: str, run: int, most: int, x: str | None) -> Line | None:
    ruler = None if x is None else placement_of(history, x).ruler
    if not history.series(metric)[0].size or (x is not None and ruler is None):
        return None
    steps, values = whole_series(history, metric, read=series)
    values = np.where(np.abs(values) < _LARGEST, values, np.nan)
    indices = extremes(values, most)
    steps, values = steps[indices], values[indices]
    if ruler is None:
        return Line(run, steps, values)
    positions = ruler.at(steps)
    known = np.isfinite(positions)
    return Line(run, positions[known], values[known]) if known.any() else None


def _averaged(
    counted: Sequence[Line], lines: Sequence[Line], least: float, most: int | None
) -> Bundle:
    """Mean and interval at steps at which more than the share `least` of `counted` has a value.

    Args:
        most: the largest number of steps; positions on a metric's axis are seldom those of another
            run, so that there may be as many as all runs have records. None: all.
    """
    if not counted:
        empty = np.empty(0)
        return Bundle(np.empty(0, dtype=np.int64), empty, empty, empty, (), tuple(lines))
    steps = np.unique(np.concatenate([line.steps for line in counted]))
    if most is not None and steps.size > most:
        steps = steps[np.linspace(0, steps.size - 1, most).round().astype(np.int64)]
    table = np.array([interpolated(line, steps) for line in counted])
    mean, half = mean_and_half_width(table)
    usable = np.isfinite(table).sum(axis=0) > least * len(counted)
    return Bundle(
        steps,
        mean=np.where(usable, mean, np.nan),
        low=np.where(usable, mean - half, np.nan),
        high=np.where(usable, mean + half, np.nan),
        counted=tuple(line.run for line in counted),
        lines=tuple(lines),
    )


def interpolated(line: Line, steps: Steps | Values) -> Values:
    """A run's values at `steps`, interpolated between its records; NaN before and after them."""
    finite = np.isfinite(line.values)
    return np.asarray(
        np.interp(steps, line.steps[finite], line.values[finite], left=np.nan, right=np.nan)
    )

"""The titles and captions of a comparison's charts, in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lrtrack.errors import clean
from lrtrack.reports.axes import title_of
from lrtrack.reports.formatting import count, number, some
from lrtrack.reports.headline import metric_of
from lrtrack.stats import ComparisonResult, ScheduleSummary

#: How to read the drawing of a mean and its interval.
MEAN_AND_INTERVAL = "Final value: the tick is the mean, the bar is the 95 % CI."
#: Below a scale that is not linear.
LOG_SCALE = "log scale"


def chart_title(metric: str, axis: str, drawn: int, schedules: int) -> str:
    """The title of a chart that shows the means of the best `drawn` schedules.

    Args:
        metric: the title of the chart's panel.
        axis: the x axis.
    """
    more = f", the best {drawn} of {schedules}" if drawn < schedules else ""
    return f"{clean(metric)} by {title_of(axis)}, mean over runs{more}"


def lines_note(
    *, windows: int | None, rates: bool, bands: bool, logs: bool, ends: bool, runs: bool
) -> str:
    """How to read curves.

    Args:
        windows: in how many windows long curves are averaged; None: none is.
        rates: whether learning rates, which are not averaged, are among them.
        bands: whether any has a band.
        logs: whether any band is on a logarithmic axis.
        ends: whether the ends of diverged runs are marked.
        runs: whether rates of single runs are drawn.
    """
    over = "" if windows is None else f", in windows of 1/{windows} of the steps"
    parts = [f"Lines: means over runs{over}{' (not the rates)' if over and rates else ''}"]
    if bands:
        method = "Student's t; on logarithmic axes, of its logarithm" if logs else "Student's t"
        parts.append(f"bands: 95 % confidence intervals of the mean, pointwise ({method})")
    if runs:
        parts.append("thin lines: the rates of single runs")
    if ends:
        parts.append("×: last value of a run that diverged, which no mean includes")
    return "; ".join(parts) + "."


def grey_note(names: Sequence[str], noun: str) -> str:
    """Which schedules a picture draws in grey; empty if none."""
    if not names:
        return ""
    which = noun if len(names) == 1 else f"{len(names)} {noun}s"
    return f"Grey: the other {which}, {some(names)}."


def rows_note(rows: int, schedules: int, noun: str) -> str:
    """How many schedules have a row of their own; empty if all have."""
    return f"Rows: the best {rows} of {schedules} {noun}s." if rows < schedules else ""


#: How to read a chart of final values.
FINALS_NOTE = "Final values: runs (dots), mean (tick), 95 % confidence interval of the mean (bar)."
#: What a row that an axis has no place for looks like.
BEYOND_NOTE = "Arrows: it goes on beyond the axis."
#: On curves of several tasks.
MIXED_TASKS_NOTE = "Curves average the runs of all tasks."


def final_titles(comparison: ComparisonResult) -> list[str]:
    """The title of a chart of final values, and those for less room, the longest first."""
    metric = clean(comparison.metric)
    if comparison.task is None:
        return [f"final {metric}"]
    return [
        f"final {metric_of(comparison)}",
        f"final {metric} relative to each task's best",
        "relative to each task's best",
    ]


def differences_titles(metric: str, baseline: str | None) -> list[str]:
    """The title of a chart of differences, and one for less room."""
    short = f"difference to {baseline or 'the best'}"
    return [f"{short}, final {metric}", short]


#: How to read a chart of differences.
DIFFERENCES_NOTE = (
    "Differences: 95 % confidence intervals that hold for all {noun}s at once; the dot is filled "
    "where the interval excludes 0."
)


def profile_title(comparison: ComparisonResult) -> str:
    """The title of the share of runs that have reached the target, by step."""
    if isinstance(comparison.target, Mapping):
        return f"share of runs that reached their task's target of {clean(comparison.metric)}"
    sign = "≤" if comparison.mode == "min" else "≥"
    goal = f"{sign} {number(comparison.target, trim=True)}"
    return f"share of runs that reached {clean(comparison.metric)} {goal}"


def without_dots(item: ScheduleSummary) -> str:
    """How many of a schedule's runs have no dot in a chart of final values, with the reason."""
    without = sum(value is None for value in item.final.values)
    other = without - item.diverged
    parts = [f"{item.diverged} diverged"] if item.diverged else []
    return ", ".join([*parts, *([f"{count(other, 'run')} without a value"] if other > 0 else [])])

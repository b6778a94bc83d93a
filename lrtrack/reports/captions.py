"""The titles and captions of a comparison's charts, in every format."""

from __future__ import annotations

from collections.abc import Mapping

from lrtrack.errors import clean
from lrtrack.reports.axes import title_of
from lrtrack.reports.formatting import count, number
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


def omitted(drawn: int, schedules: int) -> str:
    """A sentence on schedules that a picture has no room for; empty if it shows all."""
    return f"Drawn: the best {drawn} of {schedules} schedules." if drawn < schedules else ""


def finals_title(metric: str) -> str:
    """The title of a chart of final values, with its legend."""
    return f"final {metric}: runs (dots), mean (tick), 95 % CI (bar)"


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

"""Panels with one row for each schedule: final values, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrtrack.reports import captions, matplotlib_setup
from lrtrack.reports.curves import drawable
from lrtrack.reports.formatting import difference
from lrtrack.reports.palette import COLOURS
from lrtrack.reports.pictures.cast import Cast
from lrtrack.reports.pictures.lines import dress
from lrtrack.reports.pictures.text import FAINT, GREY, NOTES, TEXT, cut
from lrtrack.stats import ComparisonResult, Effect, ScheduleSummary

#: How many times the median a value must be for a logarithmic axis.
_WIDE = 30.0
#: An interval that reaches further from 0 than so many times the usual one goes on beyond the axis.
_FAR = 3.0


def compared(comparison: ComparisonResult) -> bool:
    """Whether there are differences to draw."""
    return any(_known(item.vs_best) for item in comparison.schedules)


def has_clipped(comparison: ComparisonResult, cast: Cast) -> bool:
    """Whether an interval goes on beyond the axis."""
    reach = _reach(comparison, cast)
    effects = [comparison.schedules[at].vs_best for at in cast.rows]
    return any(_known(e) and max(map(abs, e.ci95)) > reach for e in effects if e is not None)


def draw_finals(
    axes: Any, comparison: ComparisonResult, cast: Cast, title: str, width: float
) -> None:
    """Draw each schedule's final values: dots for runs, a tick for the mean, a bar for its interval.

    Args:
        width: the room for names, in inches; 0: none are written.
    """
    _dress(axes, cast, title, width)
    values: list[float] = []
    for row, at in enumerate(cast.rows):
        item, colour = comparison.schedules[at], _colour(cast, at)
        values += _finals(item)
        if item.final.ci95 is not None and all(map(drawable, item.final.ci95)):
            axes.plot(item.final.ci95, (row, row), color=colour, linewidth=4.5, alpha=0.35,
                      solid_capstyle="butt")  # fmt: skip
        own = _finals(item)
        axes.plot(own, [row] * len(own), "o", color=colour, markersize=2.6, alpha=0.8,
                  markeredgewidth=0)  # fmt: skip
        if drawable(item.final.mean):
            axes.plot(item.final.mean, row, "|", color=colour, markersize=9, markeredgewidth=1.4)
        _remark(axes, row, captions.without_dots(item))
    if values and min(values) > 0.0 and max(values) > _WIDE * np.median(values):
        matplotlib_setup.use_log_scale(axes, "x")
    else:
        axes.xaxis.get_major_locator().set_params(nbins=5)


def draw_differences(
    axes: Any, comparison: ComparisonResult, cast: Cast, title: str, width: float
) -> None:
    """Draw each schedule's difference to the best or the baseline, with its interval around it."""
    _dress(axes, cast, title, width)
    axes.axvline(0.0, color="#000000", linewidth=0.8)
    reach = _reach(comparison, cast)
    for row, at in enumerate(cast.rows):
        item, colour = comparison.schedules[at], _colour(cast, at)
        if item.verdict in ("best", "baseline"):
            axes.plot(0.0, row, "D", color=colour, markersize=4)
            _remark(axes, row, item.verdict)
        elif item.vs_best is None or not _known(item.vs_best):
            _remark(axes, row, "no interval")
        else:
            _draw_interval(axes, row, item.vs_best, colour, reach)
    if reach > 0.0:
        low, high = _ends(comparison, cast, reach)
        axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.xaxis.get_major_locator().set_params(nbins=5)


def _draw_interval(axes: Any, row: int, effect: Effect, colour: str, reach: float) -> None:
    low, high = effect.ci95
    axes.plot((max(low, -reach), min(high, reach)), (row, row), color=colour, linewidth=1.4,
              solid_capstyle="butt")  # fmt: skip
    for end, sign in ((low, "<"), (high, ">")):
        if abs(end) > reach and (end < 0.0) == (sign == "<"):
            axes.plot(np.clip(end, -reach, reach), row, sign, color=colour, markersize=4,
                      markeredgewidth=0)  # fmt: skip
    if abs(effect.difference) <= reach:
        told = low > 0.0 or high < 0.0
        axes.plot(effect.difference, row, "o", color=colour, markersize=4, markeredgewidth=1.0,
                  markerfacecolor=colour if told else "white")  # fmt: skip
    else:
        _remark(axes, row, difference(effect)[0])


def _dress(axes: Any, cast: Cast, title: str, width: float) -> None:
    dress(axes, title)
    names = [cut(cast.names[at], width, TEXT) for at in cast.rows] if width else []
    axes.set_yticks(range(len(cast.rows)), names or [""] * len(cast.rows), fontsize=TEXT)
    axes.tick_params(axis="y", length=0, labelsize=TEXT)
    axes.set_ylim(len(cast.rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _remark(axes: Any, row: int, text: str) -> None:
    """Write a word at the right end of a row."""
    if text:
        axes.annotate(text, (1.0, row), (2, 0), xycoords=axes.get_yaxis_transform(),
                      textcoords="offset points", va="center", fontsize=NOTES, color=GREY)  # fmt: skip


def _colour(cast: Cast, at: int) -> str:
    return COLOURS[cast.looks[at].colour] if at in cast.looks else "#8A8A8A"


def _finals(item: ScheduleSummary) -> list[float]:
    return [value for value in item.final.values if value is not None and drawable(value)]


def _known(effect: Effect | None) -> bool:
    return effect is not None and all(map(drawable, (effect.difference, *effect.ci95)))


def _effects(comparison: ComparisonResult, cast: Cast) -> list[Effect]:
    effects: Sequence[Effect | None] = [comparison.schedules[at].vs_best for at in cast.rows]
    return [effect for effect in effects if effect is not None and _known(effect)]


def _reach(comparison: ComparisonResult, cast: Cast) -> float:
    """How far from 0 the axis of differences shows intervals; 0 without any."""
    sizes = [max(map(abs, effect.ci95)) for effect in _effects(comparison, cast)]
    if not sizes:
        return 0.0
    usual = _FAR * float(np.median(sizes))
    return max(size for size in sizes if size <= usual)


def _ends(comparison: ComparisonResult, cast: Cast, reach: float) -> tuple[float, float]:
    ends = [end for effect in _effects(comparison, cast) for end in effect.ci95]
    return max(-reach, min(0.0, *ends)), min(reach, max(0.0, *ends))

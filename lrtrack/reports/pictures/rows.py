"""Panels with one row for each schedule: final values, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrtrack.reports import captions, matplotlib_setup
from lrtrack.reports.curves import drawable
from lrtrack.reports.formatting import number
from lrtrack.reports.palette import COLOURS
from lrtrack.reports.pictures.cast import Cast
from lrtrack.reports.pictures.lines import dress
from lrtrack.reports.pictures.text import GREY, NOTES, TEXT, cut
from lrtrack.stats import ComparisonResult, Effect, ScheduleSummary

#: How many times the median a value must be for a logarithmic axis.
_WIDE = 30.0
#: A row that reaches so many times as far from the best one as usual goes on beyond the axis.
_FAR = 4.0
#: The same where there are two differences, of which none is usual.
_VERY_FAR = 20.0


def compared(comparison: ComparisonResult) -> bool:
    """Whether there are differences to draw."""
    return any(_known(item.vs_best) for item in comparison.schedules)


def has_clipped(comparison: ComparisonResult, cast: Cast, *, finals: bool) -> bool:
    """Whether a row goes on beyond the axis.

    Args:
        finals: in the panel of final values; otherwise, in that of differences.
    """
    if finals:
        window = _window(comparison, cast)
        means = [comparison.schedules[at].final.mean for at in cast.rows]
        return window is not None and any(
            drawable(m) and not window[0] <= m <= window[1] for m in means if m is not None
        )
    reach = _reach(comparison, cast)
    return any(max(map(abs, effect.ci95)) > reach for effect in _effects(comparison, cast))


def draw_finals(
    axes: Any, comparison: ComparisonResult, cast: Cast, title: str, width: float
) -> None:
    """Draw each schedule's final values: dots for runs, a tick for the mean, a bar around it.

    Args:
        width: the room for names, in inches; 0: none are written.
    """
    _dress(axes, cast, title, width)
    items = [comparison.schedules[at] for at in cast.rows]
    window = _window(comparison, cast)
    for row, (at, item) in enumerate(zip(cast.rows, items, strict=True)):
        mean = item.final.mean
        _remark(axes, row, captions.without_dots(item))
        if window is not None and mean is not None and not window[0] <= mean <= window[1]:
            end, sign = (window[0], "<") if mean < window[0] else (window[1], ">")
            _draw_arrow(axes, end, row, sign, _colour(cast, at), number(mean, 3))
        else:
            _draw_final(axes, row, item, _colour(cast, at))
    if _on_logarithms([value for item in items for value in _finals(item)]):
        matplotlib_setup.use_log_scale(axes, "x")
        return
    axes.xaxis.get_major_locator().set_params(nbins=5)
    if window is not None:
        axes.set_xlim(*window)


def _draw_final(axes: Any, row: int, item: ScheduleSummary, colour: str) -> None:
    if item.final.ci95 is not None and all(map(drawable, item.final.ci95)):
        axes.plot(item.final.ci95, (row, row), color=colour, linewidth=4.5, alpha=0.35,
                  solid_capstyle="butt")  # fmt: skip
    values = _finals(item)
    axes.plot(values, [row] * len(values), "o", color=colour, markersize=2.6, alpha=0.8,
              markeredgewidth=0)  # fmt: skip
    if drawable(item.final.mean):
        axes.plot(item.final.mean, row, "|", color=colour, markersize=9, markeredgewidth=1.4)


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
            side = 1 if sum(_ends(comparison, cast, reach)) >= 0.0 else -1
            axes.annotate(item.verdict, (0.0, row), (5 * side, 0), textcoords="offset points",
                          ha="left" if side > 0 else "right", va="center", fontsize=NOTES,
                          color=GREY)  # fmt: skip
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
    shown = abs(effect.difference) <= reach
    size = "" if shown else number(effect.difference, 2).replace("-", "−", 1)
    if low < -reach:
        _draw_arrow(axes, -reach, row, "<", colour, size if effect.difference < 0.0 else "")
    if high > reach:
        _draw_arrow(axes, reach, row, ">", colour, size if effect.difference > 0.0 else "")
    if shown:
        told = low > 0.0 or high < 0.0
        axes.plot(effect.difference, row, "o", color=colour, markersize=4, markeredgewidth=1.0,
                  markerfacecolor=colour if told else "white")  # fmt: skip


def _draw_arrow(axes: Any, end: float, row: int, sign: str, colour: str, text: str) -> None:
    """Draw an arrow at an end of the axis, for what is beyond it, with the number that is there."""
    axes.plot(end, row, sign, color=colour, markersize=4.5, markeredgewidth=0, clip_on=False)
    inwards = 1 if sign == "<" else -1
    axes.annotate(text, (end, row), (5 * inwards, 3.5), textcoords="offset points", fontsize=NOTES,
                  ha="left" if inwards > 0 else "right", va="center", color=GREY)  # fmt: skip


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
        axes.annotate(text, (1.0, row), (2, 0), axes.get_yaxis_transform(), "offset points",
                      va="center", fontsize=NOTES, color=GREY)  # fmt: skip


def _colour(cast: Cast, at: int) -> str:
    return COLOURS[cast.looks[at].colour] if at in cast.looks else "#8A8A8A"


def _finals(item: ScheduleSummary) -> list[float]:
    return [value for value in item.final.values if value is not None and drawable(value)]


def _on_logarithms(values: Sequence[float]) -> bool:
    return bool(values and min(values) > 0.0 and max(values) > _WIDE * np.median(values))


def _window(comparison: ComparisonResult, cast: Cast) -> tuple[float, float] | None:
    """The ends of the axis of final values, if some are far off and would flatten the others."""
    items = [comparison.schedules[at] for at in cast.rows]
    spans = [
        [end for end in (*_finals(item), *(item.final.ci95 or ())) if drawable(end)]
        for item in items
        if _finals(item)
    ]
    if not spans or _on_logarithms([value for item in items for value in _finals(item)]):
        return None
    origin = float(np.mean(spans[0]))
    sizes = [max(abs(end - origin) for end in span) for span in spans]
    reach = _FAR * float(np.median(sizes))
    if max(sizes) <= reach:
        return None
    near = [end for span, size in zip(spans, sizes, strict=True) if size <= reach for end in span]
    margin = 0.05 * (max(near) - min(near))
    return min(near) - margin, max(near) + margin


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
    # of two, the median would follow the one that is far off
    nearest = sorted(sizes)[(len(sizes) - 1) // 2]
    reach = min(_FAR * float(np.median(sizes)), _VERY_FAR * nearest)
    return max((size for size in sizes if size <= reach), default=max(sizes))


def _ends(comparison: ComparisonResult, cast: Cast, reach: float) -> tuple[float, float]:
    ends = [end for effect in _effects(comparison, cast) for end in effect.ci95]
    return max(-reach, min(0.0, *ends)), min(reach, max(0.0, *ends))

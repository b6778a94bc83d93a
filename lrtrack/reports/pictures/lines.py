"""Panels with lines: curves with their bands, and small charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.reports import matplotlib_setup
from lrtrack.reports.curves import Bundle, Curves, Line, Panel
from lrtrack.reports.downsampling import extremes, highest, lowest, stretches
from lrtrack.reports.formatting import amount
from lrtrack.reports.pictures.cast import Cast
from lrtrack.reports.pictures.text import TEXT, TICKS, TITLE, line_style
from lrtrack.reports.small_charts import SmallChart
from lrtrack.stats import STEP

Values = NDArray[np.float64]

_POINTS = 1200
#: How far the axis reaches beyond the means, as a share of their range: a band of two runs is often
#: many times as wide, and would flatten all curves.
_BEYOND, _MARGIN = 0.5, 0.03
#: How far a logarithmic axis of rates reaches below the smallest peak: schedules end at 0 or nearly
#: so.
_DECADES = 3.0


def dress(axes: Any, title: str) -> None:
    """Give a panel its title, its grid, and ticks in plain text."""
    matplotlib_setup.use_plain_ticks(axes)
    axes.set_title(title, loc="left", fontsize=TITLE)
    axes.grid(visible=True, color="#E4E4E4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    axes.tick_params(which="both", labelsize=TICKS, width=0.6, length=2.5)
    axes.tick_params(which="minor", length=1.5)


def draw_curves(axes: Any, panel: Panel, curves: Curves, cast: Cast, axis: str) -> None:
    """Draw the means of all schedules, and the bands of those in colour; the best on top."""
    dress(axes, panel.title)
    for at in reversed(cast.others):
        if panel.bundles[at] is not None:
            _draw_mean(axes, panel.bundles[at], curves, axis, line_style(None))
    for at, look in reversed(cast.looks.items()):
        bundle = panel.bundles[at]
        if bundle is not None:
            _draw_bundle(axes, bundle, curves, axis, line_style(look))
    if panel.wide:
        matplotlib_setup.use_log_scale(axes)
    axes.set_ylim(*_limits(panel, cast))
    if axis == STEP:
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    elif axis == curves.x:
        axes.xaxis.set_major_formatter(lambda value, position: amount(value, 6))
    axes.xaxis.get_major_locator().set_params(nbins=6)


def banded(bundle: Bundle) -> bool:
    """Whether a schedule has a band in a panel."""
    return not bundle.flat and bool(np.isfinite(bundle.low).any())


def ends(bundle: Bundle) -> Iterator[tuple[int, Any, float]]:
    """The last finite point of each run that diverged beside others that did not."""
    for line in bundle.lines if bundle.counted else ():
        finite = np.isfinite(line.values)
        if line.run not in bundle.counted and finite.any():
            last = int(np.flatnonzero(finite)[-1])
            yield line.run, line.steps[last : last + 1], float(line.values[last])


def _draw_bundle(
    axes: Any, bundle: Bundle, curves: Curves, axis: str, style: dict[str, Any]
) -> None:
    _draw_mean(axes, bundle, curves, axis, style)
    for run, steps, value in ends(bundle):
        axes.plot(curves.places(axis, (run,), steps), value, "x", color=style["color"],
                  markersize=4, markeredgewidth=1.0)  # fmt: skip
    if banded(bundle):
        starts = stretches(bundle.steps.size, _POINTS // 2)
        low, high = lowest(bundle.low, starts), highest(bundle.high, starts)
        where = curves.places(axis, bundle.counted, bundle.steps[starts])
        # what a logarithmic axis has no place for reaches down to its edge
        axes.fill_between(where, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _draw_mean(axes: Any, bundle: Bundle, curves: Curves, axis: str, style: dict[str, Any]) -> None:
    """Draw the mean, or all runs if each has diverged."""
    if not bundle.counted:
        for line in bundle.lines:
            indices = extremes(line.values, _POINTS)
            where = curves.places(axis, (line.run,), line.steps[indices])
            axes.plot(where, line.values[indices], color=style["color"], linewidth=0.5, alpha=0.6)
        return
    indices = extremes(bundle.mean, _POINTS)
    where = curves.places(axis, bundle.counted, bundle.steps[indices])
    single = np.isfinite(bundle.mean[indices]).sum() == 1
    axes.plot(where, bundle.mean[indices], marker="o" if single else "", markersize=3, **style)


def _limits(panel: Panel, cast: Cast) -> tuple[float | None, float | None]:
    """The ends of the y axis: all means, and of bands and diverged runs what is near to them."""
    there = {at: bundle for at, bundle in enumerate(panel.bundles) if bundle is not None}
    lines: Sequence[Line] = [line for bundle in there.values() for line in bundle.lines]
    core = _on_scale(panel, [bundle.mean for bundle in there.values()])
    if not core.size:
        core = _on_scale(panel, [line.values for line in lines])
    more = [end for at in cast.looks if at in there for end in (there[at].low, there[at].high)]
    more += [line.values for bundle in there.values() if not bundle.counted for line in bundle.lines]
    if not core.size or core.min() == core.max():
        return None, None
    bottom, top = float(core.min()), float(core.max())
    if panel.wide and panel.metric == "lr":
        tops = _on_scale(panel, [np.nanmax(b.mean, keepdims=True) for b in there.values()])
        bottom = max(bottom, float(tops.min()) - _DECADES)
    room = _BEYOND * (top - bottom)
    beyond = _on_scale(panel, more)
    low = max(bottom - room, float(beyond.min(initial=bottom)))
    high = min(top + room, float(beyond.max(initial=top)))
    if panel.wide and any((values <= 0.0).any() for values in more):
        low = bottom - room / 5
    margin = _MARGIN * (high - low)
    low, high = low - margin, high + margin
    return (10.0**low, 10.0**high) if panel.wide else (low, high)


def _on_scale(panel: Panel, parts: Sequence[Values]) -> Values:
    """All values that the panel's axis has a place for, as distances along it."""
    values = np.concatenate([np.empty(0), *parts])
    values = values[np.isfinite(values)]
    return np.log10(values[values > 0.0]) if panel.wide else values


def draw_chart(axes: Any, chart: SmallChart, cast: Cast) -> None:
    """Draw one line for each schedule, the best on top."""
    dress(axes, chart.title)
    points = dict(chart.lines)
    drawn = [(at, None) for at in reversed(cast.others)] + list(reversed(cast.looks.items()))
    for at, look in drawn:
        if at in points:
            alone = len(points[at]) == 1
            axes.plot(*zip(*points[at], strict=True), marker="o" if alone else "", markersize=3,
                      **line_style(look))  # fmt: skip
    axes.set_xlabel(chart.across, fontsize=TEXT)
    axes.set_ylabel(chart.up, fontsize=TEXT)
    if chart.counts:
        axes.xaxis.get_major_locator().set_params(integer=True)

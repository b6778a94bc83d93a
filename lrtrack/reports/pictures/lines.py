"""Panels with lines: curves with their bands, and small charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.reports import matplotlib_setup
from lrtrack.reports.curves import Bundle, Curves, Line, Panel
from lrtrack.reports.downsampling import extremes, highest, lowest, stretches
from lrtrack.reports.formatting import amount
from lrtrack.reports.intervals import on_logarithms
from lrtrack.reports.pictures.cast import Cast
from lrtrack.reports.pictures.text import TEXT, TICKS, TITLE, line_style
from lrtrack.reports.small_charts import SmallChart
from lrtrack.reports.smoothing import averaged
from lrtrack.stats import STEP

Values = NDArray[np.float64]

_POINTS = 1200
#: Curves with more steps than `_LONG` are drawn as averages over so many windows: the noise of
#: single steps would hide dashes, bands and other curves.
WINDOWS, _LONG = 100, 200
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


def smoothed(panel: Panel) -> Panel:
    """The panel with averages over windows in place of long curves; rates stay as they are."""
    if panel.metric == "lr":
        return panel
    bundles = tuple(
        averaged(bundle, WINDOWS) if bundle is not None and bundle.steps.size > _LONG else bundle
        for bundle in panel.bundles
    )
    same = all(new is old for new, old in zip(bundles, panel.bundles, strict=True))
    return panel if same else replace(panel, bundles=bundles)


def draw_curves(axes: Any, panel: Panel, curves: Curves, cast: Cast, axis: str) -> None:
    """Draw the means of all schedules, and the bands of those in colour; the best on top.

    Args:
        panel: what `smoothed` returned.
    """
    dress(axes, panel.title)
    panel = _scaled(panel)
    for at in reversed(cast.others):
        bundle = panel.bundles[at]
        if bundle is not None:
            _draw_mean(axes, bundle, curves, axis, line_style(None))
    for at, look in reversed(list(cast.looks.items())):
        bundle = panel.bundles[at]
        if bundle is not None:
            paint = _draw_rates if panel.metric == "lr" else _draw_bundle
            paint(axes, bundle, curves, axis, line_style(look))
    if panel.wide:
        matplotlib_setup.use_log_scale(axes)
    axes.set_ylim(*_limits(panel, cast))
    if axis == STEP:
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    elif axis == curves.x:
        axes.xaxis.set_major_formatter(lambda value, position: amount(value, 6))
    axes.xaxis.get_major_locator().set_params(nbins=6)


def _scaled(panel: Panel) -> Panel:
    """The panel with intervals that its axis has a place for."""
    if not panel.wide:
        return panel
    return replace(
        panel, bundles=tuple(bundle and _on_logarithms(bundle) for bundle in panel.bundles)
    )


def _on_logarithms(bundle: Bundle) -> Bundle:
    low, high = on_logarithms(bundle.mean, bundle.high)
    return replace(bundle, low=low, high=high)


def banded(panel: Panel, at: int) -> bool:
    """Whether a schedule has a band; rates have none, as they are set and not measured."""
    bundle = panel.bundles[at]
    return panel.metric != "lr" and bundle is not None and _has_interval(bundle)


def _has_interval(bundle: Bundle) -> bool:
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
    if _has_interval(bundle):
        starts = stretches(bundle.steps.size, _POINTS // 2)
        low, high = lowest(bundle.low, starts), highest(bundle.high, starts)
        where = curves.places(axis, bundle.counted, bundle.steps[starts])
        axes.fill_between(where, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _draw_rates(
    axes: Any, bundle: Bundle, curves: Curves, axis: str, style: dict[str, Any]
) -> None:
    """Draw the mean of the rates, and each run's own faintly where they differ."""
    _draw_mean(axes, bundle, curves, axis, style)
    for line in () if bundle.flat or not bundle.counted else bundle.lines:
        indices = extremes(line.values, _POINTS)
        where = curves.places(axis, (line.run,), line.steps[indices])
        axes.plot(where, line.values[indices], color=style["color"], linewidth=0.5, alpha=0.5)


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
    shown = [there[at] for at in cast.looks if banded(panel, at)]
    more = [end for bundle in shown for end in (bundle.low, bundle.high)]
    more += [
        line.values for bundle in there.values() if not bundle.counted for line in bundle.lines
    ]
    if panel.metric == "lr":
        more += [line.values for line in lines]
    if panel.metric == "lr" and not panel.wide:
        core = np.append(core, 0.0)  # what rates fall to
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
    margin = _MARGIN * (high - low)
    low, high = low - margin, high + margin
    return (10.0**low, 10.0**high) if panel.wide else (low, high)


def _on_scale(panel: Panel, parts: Sequence[Values]) -> Values:
    """All values that the panel's axis has a place for, as distances along it."""
    values = np.concatenate([np.empty(0), *parts])
    values = values[np.isfinite(values)]
    return np.asarray(np.log10(values[values > 0.0])) if panel.wide else values


def draw_chart(axes: Any, chart: SmallChart, cast: Cast) -> None:
    """Draw one line for each schedule, the best on top."""
    dress(axes, chart.title)
    points = dict(chart.lines)
    for at in [*reversed(cast.others), *reversed(list(cast.looks))]:
        look = cast.looks.get(at)
        if at in points:
            alone = len(points[at]) == 1
            axes.plot(*zip(*points[at], strict=True), marker="o" if alone else "", markersize=3,
                      **line_style(look))  # fmt: skip
    axes.set_xlabel(chart.across, fontsize=TEXT)
    axes.set_ylabel(chart.up, fontsize=TEXT)
    if chart.counts:
        axes.xaxis.get_major_locator().set_params(integer=True)

"""A comparison as a PNG, SVG or PDF picture, drawn by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrtrack.reports import captions, matplotlib_setup
from lrtrack.reports.axes import title_of
from lrtrack.reports.curves import Bundle, Curves, Panel, drawable
from lrtrack.reports.document import Document
from lrtrack.reports.downsampling import extremes, highest, lowest, stretches
from lrtrack.reports.formatting import amount
from lrtrack.reports.headline import metric_of
from lrtrack.reports.palette import COLOURS, DASHES, Look, looks_of
from lrtrack.reports.small_charts import SmallChart, charts_of
from lrtrack.reports.table import Report
from lrtrack.stats import STEP, ScheduleSummary

#: The most schedules in a picture, the best ones, and the most characters of a name.
MOST, _LONG = 16, 48
_POINTS = 1200
_WIDTH, _PANEL, _ROW = 11.0, 2.0, 0.26


def render(document: Document, form: matplotlib_setup.Form, *, axis: str = STEP) -> bytes:
    """Draw the curves with their bands, the final values with their intervals, and small charts.

    At most `MOST` schedules are drawn, the best; the picture says so. The same comparison gives
    the same bytes.

    Raises:
        UsageError: the comparison has no such axis.
    """
    document.curves_on(axis)
    return matplotlib_setup.render(lambda: _figure(document, axis), form)


def _figure(document: Document, axis: str) -> Any:
    comparison, report, curves = document.comparison, document.report, document.curves_on(axis)
    schedules = comparison.schedules[:MOST]
    looks = looks_of(comparison.schedules)[: len(schedules)]
    names = [_cut(name) for name in report.names[: len(schedules)]]
    board, small = 0.9 + _ROW * len(schedules), charts_of(comparison)
    ratios = [_PANEL] * len(curves.panels) + [board] + [_PANEL] * len(small)
    figure = matplotlib_setup.new_figure(_WIDTH, 1.3 + sum(ratios))
    grid = figure.add_gridspec(len(ratios), 1, height_ratios=ratios)
    first = None
    for at, panel in enumerate(curves.panels):
        axes = figure.add_subplot(grid[at], sharex=first)
        first = first or axes
        _draw_panel(axes, panel, curves, looks, axis)
        axes.tick_params(labelbottom=at == len(curves.panels) - 1)
    axes.set_xlabel(_cut(title_of(axis), 80))
    below = len(curves.panels)
    _draw_board(figure.add_subplot(grid[below]), schedules, names, looks, metric_of(comparison))
    for at, chart in enumerate(small, start=below + 1):
        _draw_small(figure.add_subplot(grid[at]), chart, looks)
    _write_title(figure, report, len(comparison.schedules))
    return figure


def _write_title(figure: Any, report: Report, schedules: int) -> None:
    headline = f"{report.headline} {captions.omitted(min(MOST, schedules), schedules)}"
    lines = [_cut(report.title, 130), *_wrapped(headline, 125)]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)


def _draw_panel(axes: Any, panel: Panel, curves: Curves, looks: Sequence[Look], axis: str) -> None:
    bundles = panel.bundles[: len(looks)]
    # the best is drawn last, on top
    for bundle, look in reversed(list(zip(bundles, looks, strict=True))):
        if bundle is not None:
            _draw_bundle(axes, bundle, curves, look, axis)
    if panel.wide:
        matplotlib_setup.use_log_scale(axes)
    _dress(axes, panel.title)
    if axis == STEP:
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    elif axis == curves.x:
        axes.xaxis.set_major_formatter(lambda value, position: amount(value, 6))


def _dress(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_small(axes: Any, chart: SmallChart, looks: Sequence[Look]) -> None:
    """Draw the lines of the schedules that the picture shows, the best on top."""
    for at, points in reversed([line for line in chart.lines if line[0] < len(looks)]):
        look = looks[at]
        axes.plot(
            *zip(*points, strict=True),
            color=COLOURS[look.colour],
            linestyle=_pattern(look),
            linewidth=1.4,
            marker="o" if len(points) == 1 else "",
            markersize=4,
        )
    _dress(axes, chart.title)
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    if chart.counts:
        axes.xaxis.get_major_locator().set_params(integer=True)


def _pattern(look: Look) -> Any:
    return (0, DASHES[look.dash]) if look.dash else "-"


def _draw_bundle(axes: Any, bundle: Bundle, curves: Curves, look: Look, axis: str) -> None:
    colour = COLOURS[look.colour]
    all_diverged = not bundle.counted
    for line in bundle.lines if all_diverged else ():
        indices = extremes(line.values, _POINTS)
        where = curves.places(axis, (line.run,), line.steps[indices])
        axes.plot(where, line.values[indices], color=colour, linewidth=0.8, alpha=0.6)
    if all_diverged:
        return
    indices = extremes(bundle.mean, _POINTS)
    where = curves.places(axis, bundle.counted, bundle.steps[indices])
    axes.plot(
        where,
        bundle.mean[indices],
        color=colour,
        linestyle=_pattern(look),
        linewidth=1.4,
        marker="o" if np.isfinite(bundle.mean[indices]).sum() == 1 else "",
        markersize=4,
    )
    if len(bundle.counted) > 1 and not bundle.flat:
        starts = stretches(bundle.steps.size, _POINTS // 2)
        low, high = lowest(bundle.low, starts), highest(bundle.high, starts)
        where = curves.places(axis, bundle.counted, bundle.steps[starts])
        axes.fill_between(where, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_board(
    axes: Any,
    schedules: Sequence[ScheduleSummary],
    names: Sequence[str],
    looks: Sequence[Look],
    metric: str,
) -> None:
    """Draw the final values: dots for runs, a tick for the mean, a bar for the interval."""
    for row, (item, look) in enumerate(zip(schedules, looks, strict=True)):
        colour = COLOURS[look.colour]
        if item.final.ci95 is not None and all(map(drawable, item.final.ci95)):
            axes.plot(item.final.ci95, (row, row), color=colour, linewidth=6, alpha=0.35,
                      solid_capstyle="butt")  # fmt: skip
        values = [value for value in item.final.values if drawable(value)]
        axes.plot(values, [row] * len(values), "o", color=colour, markersize=4, alpha=0.7)
        if drawable(item.final.mean):
            axes.plot(item.final.mean, row, "|", color=colour, markersize=14, markeredgewidth=2)
        # a sample of the schedule's line next to its name
        axes.plot((-0.045, -0.01), (row, row), color=colour, linewidth=1.8, clip_on=False,
                  linestyle=_pattern(look),
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="y", length=0, pad=40)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title(captions.finals_title(_cut(metric, 80)), loc="left", fontsize=10)
    axes.grid(visible=True, axis="x", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _cut(text: str, most: int = _LONG) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        word = _cut(word, width)
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines

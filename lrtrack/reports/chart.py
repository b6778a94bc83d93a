"""The curves of a comparison as a chart of characters, printed below the table if it fits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from lrtrack.reports import captions
from lrtrack.reports.curves import Curves, Panel
from lrtrack.reports.document import Document
from lrtrack.reports.downsampling import means, stretches
from lrtrack.reports.formatting import amount, number
from lrtrack.reports.terminal import ascii_of, width_of
from lrtrack.reports.text_plot import MARGIN, SIGNS, STYLES, framed, plot, x_axis
from lrtrack.stats import STEP

Values = NDArray[np.float64]

_ROWS, _NARROW = 12, 60
#: The number of smoothing windows: the noise of single steps would cover the other curves.
_SMOOTH = 40
#: The most curves in a chart: more cannot be told apart.
MOST = len(STYLES)


def write(document: Document, file: TextIO, used: int, *, axis: str = STEP) -> None:
    """Print the chart to `file` if it is a terminal with room for it and the table.

    Args:
        used: lines that the table above it took.
        axis: the x axis.

    Raises:
        UsageError: the comparison has no such axis.
    """
    width = width_of(file)
    shown = width >= _NARROW and file.isatty()
    if not shown and axis == STEP:
        return
    document.curves_on(axis)
    if not shown:
        return
    console = Console(file=file, width=width)
    coloured = console.color_system is not None and not console.no_color
    unicode = console.encoding.startswith("utf")
    lines = lines_of(document, width, axis=axis, dotted=unicode and coloured, unicode=unicode)
    # one more line for the prompt that follows
    if lines and used + len(lines) + 1 < _height_of(file):
        for line in lines:
            console.print(line, crop=False, no_wrap=True)


def lines_of(
    document: Document, width: int, *, axis: str, dotted: bool, unicode: bool
) -> list[Text]:
    """The chart of the compared metric's means; empty if no run has a finite value."""
    metric, curves = document.comparison.metric, document.curves_on(axis)
    panel = next((item for item in curves.panels if item.metric == metric), None)
    if panel is None:
        return []
    across = max(20, width - MARGIN - 1)
    drawn = _drawn(panel, curves, axis, 2 * across)
    known = [values[np.isfinite(values)] for values, _, _ in drawn.values()]
    if not known:
        return []
    low, high = (float(pick(np.concatenate(known))) for pick in (np.min, np.max))
    if low == high:
        low, high = low - 0.5, high + 0.5
    starts, ends = zip(*((first, last) for _, first, last in drawn.values()), strict=True)
    rows = plot(
        [values for values, _, _ in drawn.values()], low, high, across, _ROWS, dotted=dotted
    )
    middle = (min(starts) + max(ends)) / 2
    below = x_axis(_place(min(starts)), _place(middle), _place(max(ends)), across)
    scale = [number(10**at if panel.wide else at, 3) for at in (high, (low + high) / 2, low)]
    names = document.report.names
    title = captions.chart_title(panel.title, axis, len(drawn), len(names))
    return [
        Text(),
        Text(set_cell_size(title, min(width, cell_len(title))), "bold"),
        *framed(rows, scale, below if unicode else ascii_of(below), unicode=unicode),
        *_legend([names[at] for at in drawn], width, dotted=dotted, unicode=unicode),
    ]


def _drawn(
    panel: Panel, curves: Curves, axis: str, parts: int
) -> Mapping[int, tuple[Values, float, float]]:
    """Smoothed means of the best schedules that have any, at `parts` evenly spaced positions.

    Returns:
        For each schedule's index its values, shape (parts,), at positions that all schedules share;
        and the schedule's own first and last position.
    """
    curves_by_schedule: dict[int, tuple[Values, Values]] = {}
    for at, bundle in enumerate(panel.bundles):
        if len(curves_by_schedule) < MOST and bundle is not None and bundle.counted:
            cuts = stretches(bundle.steps.size, _SMOOTH)
            values = means(bundle.mean, cuts)
            if panel.wide:
                values = np.log10(values)
            where = curves.places(axis, bundle.counted, bundle.steps[cuts])
            finite = np.isfinite(values)
            if finite.any():
                curves_by_schedule[at] = where[finite], values[finite]
    if not curves_by_schedule:
        return {}
    low = min(float(where[0]) for where, _ in curves_by_schedule.values())
    high = max(float(where[-1]) for where, _ in curves_by_schedule.values())
    grid = np.linspace(low, high, parts)
    return {
        at: (_on(grid, where, values), float(where[0]), float(where[-1]))
        for at, (where, values) in curves_by_schedule.items()
    }


def _on(grid: Values, where: Values, values: Values) -> Values:
    interpolated = np.interp(grid, where, values, left=np.nan, right=np.nan)
    # A curve that is shorter than one position still gets that position.
    interpolated[np.argmin(np.abs(grid - where[0]))] = values[0]
    return np.asarray(interpolated)


def _place(at: float) -> str:
    return amount(at) if at == round(at) or abs(at) >= 1000 else f"{at:.3g}"


def _legend(names: Sequence[str], width: int, *, dotted: bool, unicode: bool) -> list[Text]:
    """Schedule names after their signs, as many per line as fit."""
    most = width - 4
    lines = [Text()]
    for index, name in enumerate(names):
        if cell_len(name) > most:
            name = set_cell_size(name, most - 1) + ("…" if unicode else "~")
        if not unicode:
            name = name.encode("ascii", "replace").decode()
        sign = "━" if dotted and len(names) == 1 else SIGNS[index % len(SIGNS)]
        if lines[-1].cell_len and lines[-1].cell_len + cell_len(name) + 5 > width:
            lines.append(Text())
        gap = "   " if lines[-1].cell_len else ""
        lines[-1].append(gap + sign + " ", STYLES[index]).append(name)
    return lines


def _height_of(file: TextIO) -> int:
    try:
        return os.get_terminal_size(file.fileno()).lines
    except (OSError, ValueError):
        return 0

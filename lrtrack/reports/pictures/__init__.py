"""A comparison as a PNG, SVG or PDF picture, drawn by matplotlib without a display.

A picture is as wide as one or two columns of a paper, and its text has the size it will be printed
in. From top to bottom it has the headline, a legend, the curves, the final values beside the
differences, small charts, and how to read all that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lrtrack.errors import UsageError, unknown
from lrtrack.reports import captions, matplotlib_setup
from lrtrack.reports.axes import title_of
from lrtrack.reports.document import Document
from lrtrack.reports.figure_size import DOUBLE, FigureSize
from lrtrack.reports.headline import metric_of
from lrtrack.reports.palette import Look
from lrtrack.reports.pictures import lines, rows
from lrtrack.reports.pictures.content import DIFFERENCES, FINAL, Content
from lrtrack.reports.pictures.text import (
    GREY,
    HEADING,
    NOTES,
    TEXT,
    TITLE,
    Legend,
    cut,
    first_that_fits,
    height_of,
    weight_of,
    width_of,
    wrapped,
)  # fmt: skip
from lrtrack.stats import STEP

#: Heights in inches: of a panel with lines, of what a panel with rows needs beside them, of a row;
#: and the least of a panel if the height of the picture is given.
_PANEL, _AROUND, _ROW, _LEAST = 1.7, 0.55, 0.155, 0.9
_EDGE, _BETWEEN = 0.06, 0.08
#: The largest share of a panel's width that names of schedules take.
_NAMES = 0.4


def render(
    document: Document,
    form: matplotlib_setup.Form,
    *,
    axis: str = STEP,
    panel: str | None = None,
    size: FigureSize = DOUBLE,
) -> bytes:
    """Draw the comparison, or one panel of it.

    The best schedules are in colour, all others grey behind them; the picture says so. The same
    comparison gives the same bytes.

    Args:
        document: the comparison.
        form: the format.
        axis: the x axis of the curves.
        panel: the only panel to draw; None: all.
        size: the size of the picture.

    Raises:
        UsageError: the comparison has no such axis or panel, or the size is too small.
    """
    document.curves_on(axis)
    content = Content(document, axis, panel)
    if panel is not None and panel not in content.names:
        raise UsageError(unknown("panel", panel, content.names))
    return matplotlib_setup.render(lambda: _figure(content, size), form)


@dataclass(frozen=True)
class _Band:
    """A part of the picture, from its left to its right edge.

    Attributes:
        height: in inches, as it should be.
        least: the smallest height that it can be drawn in.
        draw: draws it into a subfigure.
    """

    height: float
    least: float
    draw: Callable[[Any], None]


def _figure(content: Content, size: FigureSize) -> Any:
    bands = list(_bands(content, size))
    height = sum(band.height for band in bands)
    if size.height is not None:
        bands = _fitted(bands, size, len(content.names))
        height = size.height
    figure = matplotlib_setup.new_figure(size.width, height)
    parts = figure.subfigures(len(bands), 1, height_ratios=[b.height for b in bands], squeeze=False)
    for band, part in zip(bands, parts[:, 0], strict=True):
        band.draw(part)
    return figure


def _fitted(bands: Sequence[_Band], size: FigureSize, panels: int) -> list[_Band]:
    """The same bands in the height that the user gave; text keeps its own."""
    assert size.height is not None
    text = sum(band.height for band in bands if band.height == band.least)
    least = sum(band.least for band in bands)
    if size.height < least:
        advice = f"{size.width:g}x{least + 0.05:.1f}"
        other = ", or draw one panel alone with --panel" if panels > 1 else ""
        raise UsageError(
            f"The figure size {size.text} is too low for what is drawn, which needs {least:.1f} "
            f"inches. Fix: use at least {advice}{other}."
        )
    stretch = (size.height - least) / max(sum(b.height - b.least for b in bands), 1e-9)
    assert text <= size.height
    return [_Band(b.least + stretch * (b.height - b.least), b.least, b.draw) for b in bands]


def _bands(content: Content, size: FigureSize) -> Iterator[_Band]:
    if content.only is None:
        yield _words(_headline(content, size), size)
    if content.line_panels or content.small:
        yield _legend(content, size)
    if content.line_panels:
        yield _lines(content, size)
    if content.row_panels:
        yield _rows(content, size)
    if content.small:
        yield _small(content, size)
    width = size.width - 2 * _EDGE
    notes = " ".join(filter(None, content.notes()))
    yield _words([(line, NOTES, GREY) for line in wrapped(notes, width, NOTES)], size)


def _headline(content: Content, size: FigureSize) -> list[tuple[str, float, str]]:
    report, width = content.document.report, size.width - 2 * _EDGE
    return [
        *((line, HEADING, "#000000") for line in wrapped(report.title, width, HEADING)),
        *((line, TEXT, "#000000") for line in wrapped(report.headline, width, TEXT)),
    ]


def _words(written: Sequence[tuple[str, float, str]], size: FigureSize) -> _Band:
    """Lines of text with their sizes and colours."""
    height = sum(height_of(1, points) for _, points, _ in written) + _BETWEEN

    def draw(part: Any) -> None:
        top = height - _BETWEEN / 2
        for text, points, colour in written:
            part.text(_EDGE / size.width, top / height, text, fontsize=points, color=colour,
                      va="top", weight=weight_of(points))  # fmt: skip
            top -= height_of(1, points)

    return _Band(height, height, draw)


def _legend(content: Content, size: FigureSize) -> _Band:
    cast = content.cast
    entries: list[tuple[str, Look | None]] = [
        (cast.names[at], look) for at, look in cast.looks.items()
    ]
    if cast.others:
        entries.append((f"{len(cast.others)} more", None))
    legend = Legend(entries, size.width - 2 * _EDGE)
    height = legend.height + _BETWEEN
    return _Band(
        height,
        height,
        lambda part: legend.draw(part, _EDGE, height - _BETWEEN / 2, (size.width, height)),
    )


def _lines(content: Content, size: FigureSize) -> _Band:
    """Curves; of an odd number beside each other, the first is twice as high."""
    panels, columns = content.line_panels, min(size.columns, len(content.line_panels))
    tall = columns == 2 and len(panels) % 2 == 1
    count = -(-(len(panels) + tall) // columns)
    cells = [divmod(at, columns) for at in range(count * columns)]
    if tall:
        del cells[2]  # the second row of the first panel

    def draw(part: Any) -> None:
        grid = part.add_gridspec(count, columns)
        for at, (panel, (row, column)) in enumerate(zip(panels, cells, strict=True)):
            end = row + 2 if tall and at == 0 else row + 1
            axes = part.add_subplot(grid[row:end, column])
            lines.draw_curves(axes, panel, content.curves, content.cast, content.axis)
            if end == count or (columns == 1 and at == len(panels) - 1):
                axes.set_xlabel(cut(title_of(content.axis), 3.0, TEXT), fontsize=TEXT)

    return _Band(_PANEL * count, _LEAST * count, draw)


def _rows(content: Content, size: FigureSize) -> _Band:
    """Final values and differences: beside each other with the same rows, or one below another."""
    comparison, cast, names = content.document.comparison, content.cast, content.row_panels
    columns = min(size.columns, len(names))
    share = size.width * _NAMES / (1 if columns == 1 else 1.3)
    baseline = next((n for n, s in zip(cast.names, comparison.schedules, strict=True)
                     if s.verdict == "baseline"), None)  # fmt: skip
    titles = {
        FINAL: captions.final_titles(comparison),
        DIFFERENCES: captions.differences_titles(metric_of(comparison), baseline),
    }
    widest = max(width_of(cast.names[at], TEXT) for at in cast.rows)
    room = (size.width - min(widest, share)) / columns - 2 * _EDGE

    def draw(part: Any) -> None:
        grid = part.add_gridspec(len(names) // columns, columns)
        for at, name in enumerate(names):
            axes = part.add_subplot(grid[at // columns, at % columns])
            title = first_that_fits(titles[name], room, TITLE)
            paint = rows.draw_finals if name == FINAL else rows.draw_differences
            paint(axes, comparison, cast, title, 0.0 if at % columns else share)
            if title != titles[name][0]:  # what it is the difference of has no room in the title
                axes.set_xlabel(first_that_fits(titles[FINAL], room, TEXT), fontsize=TEXT)

    count = len(names) // columns
    return _Band(
        count * (_AROUND + _ROW * len(cast.rows)),
        count * (_AROUND + 0.75 * _ROW * len(cast.rows)),
        draw,
    )


def _small(content: Content, size: FigureSize) -> _Band:
    columns = min(size.columns, len(content.small))
    count = -(-len(content.small) // columns)

    def draw(part: Any) -> None:
        grid = part.add_gridspec(count, columns)
        for at, chart in enumerate(content.small):
            axes = part.add_subplot(grid[at // columns, at % columns])
            lines.draw_chart(axes, chart, content.cast)

    return _Band(_PANEL * count, _LEAST * count, draw)

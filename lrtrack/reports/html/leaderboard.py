"""The leaderboard and the strip plot: intervals and single runs, drawn on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lrtrack.reports import captions
from lrtrack.reports.curves import drawable
from lrtrack.reports.formatting import number
from lrtrack.reports.html.fragments import named
from lrtrack.reports.palette import Look
from lrtrack.reports.table import Cell, Column, Report
from lrtrack.stats import ComparisonResult, ScheduleSummary

#: Columns with a larger weight are hidden on small screens.
_HEAVY = 4
#: The ratio of the largest to the smallest value from which a scale is logarithmic.
_WIDE = 100.0


@dataclass(frozen=True)
class Scale:
    """Maps values to percentages of a drawing's width."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> str:
        """The position of `value`, from `0%` to `100%`."""
        turn = math.log if self.log else float
        low, high = turn(self.low), turn(self.high)
        share = (turn(value) - low) / (high - low) if high > low else 0.5
        return f"{2 + 96 * min(1.0, max(0.0, share)):.2f}%"


def scale_of(comparison: ComparisonResult) -> Scale | None:
    """One scale for all final values and intervals; None if there are none."""
    values = [
        value
        for item in comparison.schedules
        for value in (*item.final.values, *(item.final.ci95 or ()), item.final.mean)
        if value is not None and drawable(value)
    ]
    if not values:
        return None
    low, high = min(values), max(values)
    return Scale(low, high, log=low > 0 and high > _WIDE * low)


def leaderboard(comparison: ComparisonResult, report: Report, looks: Sequence[Look]) -> str:
    """The report's table, with a sample of each schedule's line and its interval drawn.

    Columns are sorted by weight, so that narrow screens have to scroll only for the least
    important.
    """
    scale = scale_of(comparison)
    order = sorted(range(len(report.columns)), key=lambda at: report.columns[at].weight)
    columns = [report.columns[at] for at in order]
    # next to the numbers that it shows, which are visible on every screen
    at = 1 + next((at for at, item in enumerate(columns) if item.title[:5] == "final"), 0)
    heads = [f"<th{_kind(column)}>{escape(column.title)}</th>" for column in columns]
    rows = [_joined([*heads[:at], _axis(scale), *heads[at:]])]
    for row, item, look in zip(report.rows, comparison.schedules, looks, strict=True):
        cells = _cells(columns, [row[at] for at in order], look)
        rows.append(_joined([*cells[:at], _drawn(item, look, scale), *cells[at:]]))
    return (
        f'<div class="scroll"><table class="board"><thead>{rows[0]}</thead>'
        f"<tbody>{''.join(rows[1:])}</tbody></table></div>"
        f'<p class="note">{captions.MEAN_AND_INTERVAL}</p>'
    )


def _joined(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def strip(comparison: ComparisonResult, names: Sequence[str], looks: Sequence[Look]) -> str:
    """Every run's final value as a dot, with the median as a stroke."""
    scale = scale_of(comparison)
    if scale is None:
        return ""
    rows = []
    first = 0
    for item, name, look in zip(comparison.schedules, names, looks, strict=True):
        rows.append(
            f'<tr><td class="text">{named(name, look)}</td><td class="drawn">'
            f'<svg class="c{look.colour}" role="img">{_dots(item, first, scale)}</svg></td>'
            f'<td class="bad">{captions.without_dots(item)}</td></tr>'
        )
        first += item.runs
    return (
        f'<div class="scroll"><table class="strip"><thead><tr><th></th>{_axis(scale)}<th></th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _dots(item: ScheduleSummary, first: int, scale: Scale) -> str:
    """The dots of a schedule's runs; `first` is the index of its first run on the page.

    The script titles each dot with the run's name and value, which it reads from the table of runs.
    """
    parts = ['<line class="back" x1="2%" x2="98%" y1="11" y2="11"/>']
    if item.final.median is not None:
        at = scale.at(item.final.median)
        parts.append(f'<line class="middle" x1="{at}" x2="{at}" y1="1" y2="21"/>')
    for index, value in enumerate(item.final.values):
        if value is not None and drawable(value):
            parts.append(
                f'<circle class="dot" data-run="{first + index}" cx="{scale.at(value)}" '
                f'cy="{(11, 6, 16)[index % 3]}" r="4"/>'
            )
    return "".join(parts)


def _drawn(item: ScheduleSummary, look: Look, scale: Scale | None) -> str:
    mean = item.final.mean
    if scale is None or mean is None or not drawable(mean):
        return '<td class="drawn"></td>'
    parts = ['<line class="back" x1="2%" x2="98%" y1="11" y2="11"/>']
    if item.final.ci95 is not None:
        low, high = map(scale.at, item.final.ci95)
        parts.append(f'<line class="interval" x1="{low}" x2="{high}" y1="11" y2="11"/>')
    at = scale.at(mean)
    parts.append(f'<line class="middle" x1="{at}" x2="{at}" y1="3" y2="19"/>')
    return f'<td class="drawn"><svg class="c{look.colour}" role="img">{"".join(parts)}</svg></td>'


def _axis(scale: Scale | None) -> str:
    if scale is None:
        return '<th class="drawn"></th>'
    ends = [number(scale.low, 3, trim=True), number(scale.high, 3, trim=True)]
    middle = captions.LOG_SCALE if scale.log else ""
    words = "".join(f"<span>{text}</span>" for text in (ends[0], middle, ends[1]))
    return f'<th class="drawn"><div class="ends">{words}</div></th>'


def _cells(columns: Sequence[Column], row: Sequence[Cell], look: Look) -> list[str]:
    """The cells of a row; the schedule is the first text column: its short form, the whole as a
    hint.
    """
    first = next((at for at, column in enumerate(columns) if not column.number), 0)
    cells = []
    for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
        text = cell.text if column.number else cell.short or cell.text
        hint = "" if text == cell.text else f' title="{escape(cell.text)}"'
        content = named(text, look) if at == first else escape(text)
        cells.append(f"<td{_kind(column, cell)}{hint}>{content}</td>")
    return cells


def _kind(column: Column, cell: Cell | None = None) -> str:
    words = ["number" if column.number else "text"]
    words += ["heavy"] if column.weight > _HEAVY else []
    words += [] if cell is None else [str(cell.tone)]
    return f' class="{" ".join(words)}"'

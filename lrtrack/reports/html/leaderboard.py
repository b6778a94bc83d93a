"""The leaderboard: the report's table, with differences or final values drawn in each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from lrtrack.reports import captions, parameters
from lrtrack.reports.curves import drawable
from lrtrack.reports.document import Document
from lrtrack.reports.formatting import number
from lrtrack.reports.html import forest
from lrtrack.reports.html.fragments import named, table_tools, titled
from lrtrack.reports.html.strip import Scale, ends, scale_of
from lrtrack.reports.palette import Look
from lrtrack.reports.parameters import Parameters
from lrtrack.reports.table import Cell, Column
from lrtrack.stats import ComparisonResult, ScheduleSummary

#: Columns with a larger weight are hidden on small screens.
_HEAVY = 4
#: From so many rows on, they can be filtered.
_MANY = 8
_DIFFERENCES = (
    "Drawn: the difference of final values to {other}; the intervals hold for all at once in 95 % "
    "of cases. Hollow: may be as good."
)
_CUT = " Arrow: goes on beyond the axis."


def leaderboard(document: Document, looks: Sequence[Look]) -> str:
    """The report's table with a drawing in each row, and its tools.

    Columns are sorted by weight, so that narrow screens have to scroll only for the least
    important.
    """
    comparison, report = document.comparison, document.report
    order = sorted(range(len(report.columns)), key=lambda at: report.columns[at].weight)
    columns = [report.columns[at] for at in order]
    # Next to the numbers that it shows, which are visible on every screen.
    at = 1 + next((at for at, item in enumerate(columns) if item.title[:5] == "final"), 0)
    extra = parameters.of_schedules(comparison)
    head, drawings, note = _drawings(comparison, looks)
    heads = [f"<th{_kind(column)}>{escape(column.title)}</th>" for column in columns]
    rows = []
    for index, (row, look) in enumerate(zip(report.rows, looks, strict=True)):
        cells = _cells(columns, [row[at] for at in order], look)
        cells = [*cells[:at], drawings[index], *cells[at:], *parameter_cells(extra, index)]
        rows.append(f'<tr data-s="{index}">{"".join(cells)}</tr>')
    table = (
        '<div class="scroll tall first" tabindex="0" role="region" aria-label="Leaderboard">'
        '<table class="board sortable"><thead><tr>'
        f"{''.join([*heads[:at], head, *heads[at:], *parameter_heads(extra)])}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="note">{note}</p>'
    )
    tools = table_tools(
        f"{comparison.noun}s", filters=len(rows) > _MANY, parameters=bool(extra.titles)
    )
    return titled("Leaderboard", tools, table)


def parameter_heads(extra: Parameters) -> list[str]:
    """The heads of columns that are hidden at first."""
    return [
        f'<th class="param {"number" if numeric else "text"}">{escape(title)}</th>'
        for title, numeric in zip(extra.titles, extra.numbers, strict=True)
    ]


def parameter_cells(extra: Parameters, row: int) -> list[str]:
    """The cells of one row in these columns."""
    return [
        f'<td class="param{" number" if numeric else ""}">{escape(text)}</td>'
        for text, numeric in zip(extra.rows[row], extra.numbers, strict=True)
    ]


def _drawings(comparison: ComparisonResult, looks: Sequence[Look]) -> tuple[str, list[str], str]:
    """The head and the cells of the drawn column, and how to read it.

    Differences to the best where there are any, else means and intervals on the scale of the
    values.
    """
    axis = forest.axis_of(comparison)
    pairs = list(zip(comparison.schedules, looks, strict=True))
    if axis is None:
        scale = scale_of(comparison)
        cells = [_final(item, look, scale) for item, look in pairs]
        return ends(scale), cells, captions.MEAN_AND_INTERVAL
    baseline = comparison.baseline
    cells = [forest.cell(item, look, axis, baseline) for item, look in pairs]
    note = _DIFFERENCES.format(other="the best" if baseline is None else "the baseline")
    cut = any('class="arrow"' in cell for cell in cells)
    return forest.head(axis), cells, note + (_CUT if cut else "")


def _final(item: ScheduleSummary, look: Look, scale: Scale | None) -> str:
    mean = item.final.mean
    if scale is None or mean is None or not drawable(mean):
        return '<td class="drawn"></td>'
    words = f"mean {number(mean)}"
    parts = ['<line class="back" x1="2%" x2="98%" y1="11" y2="11"/>']
    if item.final.ci95 is not None:
        low, high = map(scale.at, item.final.ci95)
        words += f", 95 % CI {number(item.final.ci95[0])} to {number(item.final.ci95[1])}"
        parts.append(f'<line class="interval" x1="{low}" x2="{high}" y1="11" y2="11"/>')
    at = scale.at(mean)
    parts.append(f'<line class="middle" x1="{at}" x2="{at}" y1="3" y2="19"/>')
    return (
        f'<td class="drawn"><svg class="c{look.colour}" role="img" aria-label="{escape(words)}">'
        f"{''.join(parts)}</svg></td>"
    )


def _cells(columns: Sequence[Column], row: Sequence[Cell], look: Look) -> list[str]:
    """The cells of a row; the schedule is the first text column: its short form, the whole as a
    hint.
    """
    first = next((at for at, column in enumerate(columns) if not column.number), 0)
    return list(_cells_of(columns, row, look, first))


def _cells_of(
    columns: Sequence[Column], row: Sequence[Cell], look: Look, first: int
) -> Iterator[str]:
    for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
        text = cell.text if column.number else cell.short or cell.text
        hint = "" if text == cell.text else f' title="{escape(cell.text)}"'
        content = named(text, look) if at == first else _with_deviation(text)
        yield f"<td{_kind(column, cell)}{hint}>{content}</td>"


def _with_deviation(text: str) -> str:
    """`0.12 ± 0.03` with a deviation that narrow screens leave out."""
    value, sign, deviation = text.partition(" ± ")
    rest = f'<span class="std">{escape(sign + deviation)}</span>' if sign else ""
    return escape(value) + rest


def _kind(column: Column, cell: Cell | None = None) -> str:
    words = ["number" if column.number else "text"]
    words += ["heavy"] if column.weight > _HEAVY else []
    words += [] if cell is None else [str(cell.tone)]
    return f' class="{" ".join(words)}"'

"""Reports in a notebook cell: a small HTML fragment without scripts.

Notebooks have light and dark themes, and some remove style sheets. Therefore each element has its
own few styles, and all colours except the one for problems are those of the notebook.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from lrtrack.reports.table import Cell, Column, Report, Tone

_STYLES: Mapping[Tone, str] = {
    Tone.PLAIN: "",
    Tone.GOOD: "font-weight:600",
    Tone.BAD: "color:#d1495b",
    Tone.FAINT: "opacity:.65",
}
_LINE = "border-bottom:1px solid rgba(128,128,128,.35)"


def render(report: Report) -> str:
    """Headline, table, warnings, diagnoses and notes; all text is escaped."""
    heads = "".join(
        f'<th scope="col" style="{_align(column)};{_LINE}">{_text(column.title)}</th>'
        for column in report.columns
    )
    rows = "".join(f"<tr>{_row(report.columns, row)}</tr>" for row in report.rows)
    return (
        '<div class="lrtrack" style="max-width:100%;font-variant-numeric:tabular-nums">'
        f'<p style="margin:.2em 0;opacity:.65">{_text(report.title)}</p>'
        f'<p style="margin:.2em 0 .6em;font-weight:600">{_text(report.headline)}</p>'
        '<div style="max-height:36em;overflow:auto">'
        f'<table style="border-collapse:collapse;font-size:inherit"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f"{_list('Warnings', report.warnings, open_=True)}"
        f"{_list('Diagnoses', report.diagnoses, open_=True)}"
        f"{_list('How it was computed', report.footnotes, open_=False)}</div>\n"
    )


def page(report: Report) -> str:
    """The same fragment as a whole page, for trackers that show pages."""
    style = ":root{color-scheme:light dark}body{font-family:system-ui,sans-serif}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(report.title)}</title><style>{style}</style></head>"
        f"<body>\n{render(report)}</body></html>\n"
    )


def _row(columns: Sequence[Column], cells: Sequence[Cell]) -> str:
    return "".join(
        f'<td{_whole(cell)} style="{_join(_align(column), _STYLES[cell.tone], _LINE)}">'
        f"{_text(cell.short or cell.text)}</td>"
        for column, cell in zip(columns, cells, strict=True)
    )


def _whole(cell: Cell) -> str:
    """A hint with the long form of a cell."""
    return f' title="{_text(cell.text)}"' if cell.short and cell.short != cell.text else ""


def _align(column: Column) -> str:
    if column.number:
        return "padding:.15em .4em;text-align:right;white-space:nowrap"
    return "padding:.15em .4em;text-align:left;overflow-wrap:anywhere;min-width:12em"


def _list(title: str, lines: Sequence[str], *, open_: bool) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    mark = " open" if open_ else ""
    return (
        f'<details{mark} style="margin:.5em 0"><summary>{title} ({len(lines)})</summary>'
        f'<ul style="margin:.2em 0">{items}</ul></details>'
    )


def _join(*styles: str) -> str:
    return ";".join(filter(None, styles))


def _text(text: str) -> str:
    return html.escape(text, quote=True)

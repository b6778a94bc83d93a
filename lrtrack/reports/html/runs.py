"""The table of single runs, with links to their pages in the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit

from lrtrack.redaction import bare_uri
from lrtrack.reports.document import Document
from lrtrack.reports.html.fragments import swatch
from lrtrack.reports.palette import Look
from lrtrack.reports.run_table import COLUMNS, cells_of_runs
from lrtrack.reports.table import Cell, Column, Tone


def runs_table(document: Document, looks: Sequence[Look]) -> str:
    """One row per run, schedule by schedule; the page's script reads names and values from it."""
    comparison = document.comparison
    rows = iter(cells_of_runs(comparison, document.report.names))
    lines = [
        f"<tr>{_row(next(rows), look)}</tr>"
        for schedule, look in zip(comparison.schedules, looks, strict=True)
        for _ in range(schedule.runs)
    ]
    heads = "".join(
        f'<th class="{"number" if column.number else "text"}">{column.title}</th>'
        for column in COLUMNS
    )
    return (
        f'<div class="scroll tall"><table class="runs"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _row(cells: Sequence[Cell], look: Look) -> str:
    first, *others = (_cell(column, cell) for column, cell in zip(COLUMNS, cells, strict=True))
    return first.replace("<div>", f"<div>{swatch(look)}", 1) + "".join(others)


def _cell(column: Column, cell: Cell) -> str:
    text = cell.short or cell.text
    hint = "" if text == cell.text else f' title="{escape(cell.text)}"'
    kinds = ["number"] * column.number
    kinds += ["text"] * (not column.number and not column.whole)
    kinds += ["id"] * (column.title == "id")
    kinds += ["bad"] * (cell.tone is Tone.BAD)
    content = linked(text, cell.link)
    if "text" in kinds or "id" in kinds:
        content = f"<div>{content}</div>"
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{kind}{hint}>{content}</td>"


def linked(text: str, url: str | None) -> str:
    """`text` as a link if `url` is a web address; otherwise only the text."""
    href = bare_uri(url or "")
    try:
        parsed = urlsplit(href)
        follows = parsed.scheme in ("http", "https") and bool(parsed.hostname)
    except ValueError:  # brackets that enclose no address
        follows = False
    if not follows:
        return escape(text)
    return f'<a href="{escape(href)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'

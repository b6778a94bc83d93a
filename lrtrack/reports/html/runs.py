"""The table of single runs, with links to their pages in the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit

from lrtrack.records import History
from lrtrack.redaction import bare_uri
from lrtrack.reports import parameters
from lrtrack.reports.document import Document
from lrtrack.reports.html.fragments import swatch, table_tools, titled
from lrtrack.reports.html.leaderboard import parameter_cells, parameter_heads
from lrtrack.reports.palette import Look
from lrtrack.reports.run_table import COLUMNS, cells_of_runs
from lrtrack.reports.table import Cell, Column, Tone


def runs_table(document: Document, looks: Sequence[Look]) -> str:
    """One row per run, schedule by schedule; the page's script reads names and values from it."""
    comparison = document.comparison
    extra = parameters.of_runs(comparison)
    rows = cells_of_runs(comparison, document.report.names)
    lines: list[str] = []
    for schedule, (summary, look) in enumerate(zip(comparison.schedules, looks, strict=True)):
        for _ in range(summary.runs):
            run = len(lines)
            later = comparison.histories[run].url is None
            cells = _row(rows[run], look, later=later) + "".join(parameter_cells(extra, run))
            lines.append(f'<tr data-s="{schedule}" data-run="{run}">{cells}</tr>')
    heads = "".join(
        f'<th class="{"number" if column.number else "text"}">{column.title}</th>'
        for column in COLUMNS
    )
    tools = table_tools("runs", filters=len(lines) > 1, parameters=bool(extra.titles))
    table = (
        f'{_servers(comparison.histories)}<div class="scroll tall" tabindex="0" role="region" '
        'aria-label="Runs"><table class="runs sortable"><thead><tr>'
        f"{heads}{''.join(parameter_heads(extra))}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    return titled("Runs", tools, table)


def _servers(histories: Sequence[History]) -> str:
    """For runs in a store without a server, the commands that start one, each once."""
    commands = dict.fromkeys(
        history.served.command
        for history in histories
        if history.served is not None and history.url is None
    )
    if not commands:
        return ""
    listed = "".join(
        f'<div class="command"><code>{escape(command)}</code>'
        '<button type="button" class="copy-command" hidden>Copy</button>'
        '<output class="said" aria-live="polite"></output></div>'
        for command in commands
    )
    several = " Start one at a time." if len(commands) > 1 else ""
    return (
        '<div class="serve"><p class="note">These runs are in a local store without a server. '
        f"Their links work once this runs on the machine that has the store:{several}</p>"
        f"{listed}</div>"
    )


def _row(cells: Sequence[Cell], look: Look, *, later: bool) -> str:
    first, *others = (
        _cell(column, cell, later=later) for column, cell in zip(COLUMNS, cells, strict=True)
    )
    return first.replace("<div>", f"<div>{swatch(look)}", 1) + "".join(others)


def _cell(column: Column, cell: Cell, *, later: bool) -> str:
    text = cell.short or cell.text
    hint = "" if text == cell.text else f' title="{escape(cell.text)}"'
    kinds = ["number"] * column.number
    kinds += ["text"] * (not column.number and not column.whole)
    kinds += ["id"] * (column.title == "id")
    kinds += ["bad"] * (cell.tone is Tone.BAD)
    content = linked(text, cell.link, later=later)
    if "text" in kinds or "id" in kinds:
        content = f"<div>{content}</div>"
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{kind}{hint}>{content}</td>"


def linked(text: str, url: str | None, *, later: bool = False) -> str:
    """`text` as a link if `url` is a web address; otherwise only the text.

    Args:
        text: what is shown.
        url: the address, perhaps with credentials, which are left out.
        later: whether the page is there only once its server has been started.
    """
    href = bare_uri(url or "")
    try:
        parsed = urlsplit(href)
        follows = parsed.scheme in ("http", "https") and bool(parsed.hostname)
    except ValueError:  # brackets that enclose no address
        follows = False
    if not follows:
        return escape(text)
    kind = ' class="later" title="Works once the server above runs"' if later else ""
    return (
        f'<a href="{escape(href)}" target="_blank" rel="noopener noreferrer"{kind}>'
        f"{escape(text)}</a>"
    )

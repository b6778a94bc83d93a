"""Reports as text for a terminal, a pipe or a text file."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TextIO

from rich import box
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrtrack.reports.table import Cell, Column, Report, Tone

#: The width if neither `COLUMNS` nor a terminal gives one.
WIDTH = 80
#: The width that text columns get, if they need it, before further columns are shown.
_ROOMY = 24
#: The smallest useful width of a text column.
_TIGHT = 8
_GAP = 2
_LINES = 3
#: Columns of at most this weight come back if shorter forms of others make room for them.
_HOLDING = 4

_STYLES: Mapping[Tone, str] = {
    Tone.PLAIN: "",
    Tone.GOOD: "bold green",
    Tone.BAD: "red",
    Tone.FAINT: "dim",
}
_ASCII = str.maketrans(
    {
        "±": "+/-",
        "−": "-",
        "≈": "~",
        "–": "-",
        "·": "-",
        "→": "->",
        "≥": ">=",
        **{digit: str(at) for at, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
        "⁻": "-",
        "≤": "<=",
        "…": "~",
        "†": "!",
    }
)
#: Where a word that is too long may be broken: `CosineAnnealing|WarmRestarts(|T_0=50)`.
_JOINTS = re.compile(r"(?<=[(\[])|(?<=[a-z])(?=[A-Z][a-z])")
_ASCII_HEAD = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def write(report: Report, file: TextIO) -> None:
    """Print `report` to `file` as wide as `COLUMNS`, the terminal or 80 columns.

    On a terminal it has colours. Characters that the file's encoding lacks are replaced by ASCII.
    """
    _print(report, Console(file=file, width=width_of(file)))


def text(report: Report, width: int = WIDTH) -> str:
    """`report` as plain text, without colours."""
    file = io.StringIO()
    _print(report, Console(file=file, width=width, force_terminal=False, color_system=None))
    return file.getvalue()


def width_of(file: TextIO, environ: Mapping[str, str] = os.environ) -> int:
    """The number of columns to use: `COLUMNS`, otherwise the terminal's width, otherwise 80."""
    columns = environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        # Only the file's own terminal counts: in a pipe, stderr may still be a terminal.
        return os.get_terminal_size(file.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH


def _print(report: Report, console: Console) -> None:
    more = "…"
    if not console.encoding.startswith("utf"):
        report, more = _recoded(report, console.encoding), "~"
    indices, widths = _layout(report, console.width)
    shortened = len(indices) < len(report.columns)
    rows = []
    for row in report.rows:
        cells = [_fit(row[at], width, more) for at, width in zip(indices, widths, strict=True)]
        shortened |= any(row[at].text != cell for at, cell in zip(indices, cells, strict=True))
        rows.append(
            [Text(cell, _STYLES[row[at].tone]) for at, cell in zip(indices, cells, strict=True)]
        )
    # Always Text objects: rich would interpret markup in plain strings, which come from trackers.
    console.print(Text(report.title, "bold"))
    console.print(Text(report.headline))
    console.print()
    console.print(_table(report, indices, widths, rows), crop=False)
    console.print()
    for warning in report.warnings:
        console.print(Text("! " + warning, "yellow"))
    for line in report.diagnoses:
        console.print(Text("! " + line, "yellow"))
    hidden_notes = {column.note for at, column in enumerate(report.columns) if at not in indices}
    notes = [note for note in report.footnotes if note not in hidden_notes]
    for note in (*notes, *([report.shortened] if shortened and report.shortened else [])):
        console.print(Text(note, "dim"))


def _table(
    report: Report, indices: Sequence[int], widths: Sequence[int], rows: Sequence[Sequence[Text]]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    titles = [
        _lines(_title(report.columns[at], [row[at] for row in report.rows], width), width)
        for at, width in zip(indices, widths, strict=True)
    ]
    height = max(map(len, titles))
    for at, width, lines in zip(indices, widths, titles, strict=True):
        standing = [""] * (height - len(lines)) + lines
        table.add_column(
            Text("\n".join(standing), "bold"),
            justify="right" if report.columns[at].number else "left",
            width=width,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _layout(report: Report, width: int) -> tuple[list[int], list[int]]:
    """Choose the columns that fit into `width`, and their widths."""
    wants = [
        _wants(column, [row[at] for row in report.rows]) for at, column in enumerate(report.columns)
    ]
    indices = list(range(len(report.columns)))

    def missing(needs: Sequence[int]) -> int:
        return sum(needs[at] for at in indices) + _GAP * (len(indices) - 1) - width

    long = {at: own.holds for at, own in enumerate(report.columns) if own.holds is not None}
    needs = [most if at in long else least for at, (least, most) in enumerate(wants)]
    dropped: list[list[int]] = []
    while missing(needs) > 0:
        weight = max(report.columns[at].weight for at in indices)
        at = next((at for at, holds in long.items() if holds >= weight), None)
        if at is not None:
            needs[at] = wants[at][0]
            del long[at]
        elif not weight:
            break
        else:
            dropped.append(_together(report.columns, indices, weight))
            indices = [at for at in indices if at not in dropped[-1]]
    for group in reversed(dropped):  # what was dropped before a shorter form made room for it
        returns = report.columns[group[0]].weight <= _HOLDING
        if returns and missing(needs) + sum(needs[at] + _GAP for at in group) <= 0:
            indices = sorted((*indices, *group))
    texts = [at for at in indices if not (report.columns[at].number or report.columns[at].whole)]
    while missing(needs) > 0 and texts:  # no column left to drop: shrink the widest text column
        at = max(texts, key=lambda at: needs[at])
        if needs[at] <= _TIGHT:
            break
        needs[at] -= 1
    for at in indices:  # text columns share the remaining width, the first one first
        want, room = wants[at][1] - needs[at], -missing(needs)
        if at in texts or want <= room:  # numbers have only one short form
            needs[at] += max(0, min(want, room))
    return indices, [needs[at] for at in indices]


def _together(columns: Sequence[Column], indices: Sequence[int], weight: int) -> list[int]:
    """The first column of this weight, with those of its group."""
    first = next(at for at in indices if columns[at].weight == weight)
    group = columns[first].group
    return [at for at in indices if at == first or (group and columns[at].group == group)]


def _wants(column: Column, cells: Sequence[Cell]) -> tuple[int, int]:
    """The smallest and the preferred width of a column."""
    title = max(cell_len(word) for word in _words(column.title))
    whole = max([title, *(cell_len(cell.text) for cell in cells)])
    if column.number or column.whole:
        title = max(cell_len(word) for word in _words(column.short_title or column.title))
        return max([title, *(cell_len(cell.short or cell.text) for cell in cells)]), whole
    return min(whole, max(title, _ROOMY)), whole


def _title(column: Column, cells: Sequence[Cell], width: int) -> str:
    """The column's title, the short one if no cell has room for its long form."""
    fits = any(cell_len(cell.text) <= width for cell in cells if cell.short)
    return column.title if fits or not column.short_title else column.short_title


def _fit(cell: Cell, width: int, more: str) -> str:
    """The longest form of `cell` that fits into `width`, on at most three lines."""
    for form in (cell.text, cell.short or cell.text):
        if cell_len(form) <= width:
            return form
    lines = _lines(cell.short or cell.text, width)
    if len(lines) > _LINES:
        rest = set_cell_size(" ".join(lines[_LINES - 1 :]), max(0, width - cell_len(more)))
        lines = [*lines[: _LINES - 1], rest.rstrip() + more]
    return "\n".join(lines)


def _lines(text: str, width: int) -> list[str]:
    """Break `text` between words; words that are too long after a bracket or before a capital,
    otherwise anywhere.
    """
    lines: list[str] = []
    for word in _words(text):
        gap = " "
        for piece in [word] if cell_len(word) <= width else _JOINTS.split(word):
            if lines and cell_len(lines[-1] + gap + piece) <= width:
                lines[-1] += gap + piece
            else:
                lines += chop_cells(piece, max(1, width))
            gap = ""
    return lines


def _words(text: str) -> list[str]:
    return text.split() or [""]


def ascii_of(text: str) -> str:
    """`text` with signs of ASCII in place of lrtrack's others; powers of ten as `2e12`."""
    return text.replace("×10", "e").translate(_ASCII)


def _recoded(report: Report, encoding: str) -> Report:
    def recode(text: str) -> str:
        return ascii_of(text).encode(encoding, "replace").decode(encoding)

    return replace(
        report,
        title=recode(report.title),
        headline=recode(report.headline),
        columns=tuple(replace(item, title=recode(item.title)) for item in report.columns),
        rows=tuple(
            tuple(replace(cell, text=recode(cell.text), short=recode(cell.short)) for cell in row)
            for row in report.rows
        ),
        footnotes=tuple(map(recode, report.footnotes)),
        warnings=tuple(map(recode, report.warnings)),
        diagnoses=tuple(map(recode, report.diagnoses)),
        shortened=recode(report.shortened),
    )

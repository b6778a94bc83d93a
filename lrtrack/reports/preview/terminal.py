"""A preview as a chart of characters: on a terminal, in a pipe, or in a text file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from typing import TextIO

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lrtrack.reports.preview import SUMMARY, Curve, Preview, rate_text, spans
from lrtrack.reports.terminal import WIDTH, width_of

#: Rows of the plot; characters before it for the rates, and the least that a plot needs.
_ROWS, _MARGIN, _LEAST = 17, 10, 20
_STYLES = ("cyan", "yellow", "magenta", "green", "blue", "red")
#: One sign a curve, where there are no colours to tell them apart.
_SIGNS = "*+ox#@%&"
#: A cell of braille is two dots wide and four high; the bit of each, by row and column.
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def write(preview: Preview, file: TextIO) -> None:
    """Print to `file`: as wide as `COLUMNS`, the terminal, or 80; colours on a terminal."""
    _print(preview, Console(file=file, width=width_of(file)))


def text(preview: Preview, width: int = WIDTH) -> str:
    """The chart as plain text, without colours."""
    file = io.StringIO()
    _print(preview, Console(file=file, width=width, force_terminal=False, color_system=None))
    return file.getvalue()


def _print(preview: Preview, console: Console) -> None:
    coloured = console.color_system is not None and not console.no_color
    unicode = console.encoding.startswith("utf")
    dotted = unicode and (coloured or len(preview.curves) == 1)
    width = max(_LEAST, console.width - _MARGIN - 1)
    show = console.print
    show(Text(preview.title, "bold"))
    show()
    low, high = _limits(preview)
    lines = _dots(preview, low, high, width) if dotted else _signs(preview, low, high, width)
    named = {0: high, _ROWS // 2: (low + high) / 2, _ROWS - 1: low}
    bar, foot, line = ("┤", "└", "─") if unicode else ("|", "+", "-")
    for row, drawn in enumerate(lines):
        label = rate_text(named[row]) if row in named else ""
        whole = Text(f"{label:>{_MARGIN}}{bar}") + drawn
        whole.rstrip()
        show(whole, crop=False, no_wrap=True)
    show(Text(" " * _MARGIN + foot + line * width), crop=False, no_wrap=True)
    show(Text(" " * (_MARGIN + 1) + _axis(preview.steps, width)), crop=False, no_wrap=True)
    show()
    for line_of_legend in _legend(preview, None if dotted else _SIGNS, console.width):
        shown = line_of_legend
        if not unicode:
            shown = Text(shown.plain.encode(console.encoding, "replace").decode(console.encoding))
        show(shown)
    for note in preview.notes:
        show(Text(note, "dim"))


def _limits(preview: Preview) -> tuple[float, float]:
    """The rates at the bottom and the top: from zero on, unless no curve goes near it."""
    low = min(float(curve.rates.min()) for curve in preview.curves)
    high = max(float(curve.rates.max()) for curve in preview.curves)
    if low == high:
        return (0.0, high) if high > 0 else (0.0, 1.0)
    return (low if low > high / 2 else min(0.0, low)), high


def _heights(curve: Curve, low: float, high: float, across: int, up: int) -> list[tuple[int, int]]:
    """For each place across, the lowest and the highest place up that the curve touches.

    Each stretch reaches to where the one before it ended, so that a line has no holes.
    """
    scaled = np.clip((curve.rates - low) / (high - low), 0.0, 1.0) * (up - 1)
    places = np.rint(scaled).astype(int)
    found: list[tuple[int, int]] = []
    last: int | None = None
    for begin, end in spans(len(places), across):
        stretch = places[begin:end]
        least, most = int(stretch.min()), int(stretch.max())
        if last is not None and last < least:
            least = last + 1
        elif last is not None and last > most:
            most = last - 1
        found.append((least, most))
        last = int(stretch[-1])
    return found


def _dots(preview: Preview, low: float, high: float, width: int) -> list[Text]:
    """Rows of braille, each curve in its colour; where curves meet, the later one's."""
    bits = np.zeros((_ROWS, width), dtype=int)
    owner = np.zeros((_ROWS, width), dtype=int)
    for index, curve in enumerate(preview.curves):
        for x, (least, most) in enumerate(_heights(curve, low, high, 2 * width, 4 * _ROWS)):
            for y in range(least, most + 1):
                row, part = divmod(4 * _ROWS - 1 - y, 4)
                bits[row, x // 2] |= _BRAILLE[part][x % 2]
                owner[row, x // 2] = index
    return [
        _row([chr(0x2800 + bit) if bit else " " for bit in bits[row]], owner[row])
        for row in range(_ROWS)
    ]


def _signs(preview: Preview, low: float, high: float, width: int) -> list[Text]:
    """Rows of signs, one sign a curve; where curves meet, the later one's."""
    signs = [[" "] * width for _ in range(_ROWS)]
    owner = np.zeros((_ROWS, width), dtype=int)
    for index, curve in enumerate(preview.curves):
        for x, (least, most) in enumerate(_heights(curve, low, high, width, _ROWS)):
            for y in range(least, most + 1):
                signs[_ROWS - 1 - y][x] = _SIGNS[index % len(_SIGNS)]
                owner[_ROWS - 1 - y, x] = index
    return [_row(signs[row], owner[row]) for row in range(_ROWS)]


def _row(cells: Sequence[str], owners: Sequence[int]) -> Text:
    line = Text()
    styles = [
        "" if cell == " " else _STYLES[owner % len(_STYLES)]
        for cell, owner in zip(cells, owners, strict=True)
    ]
    for style, run in groupby(zip(styles, cells, strict=True), key=lambda pair: pair[0]):
        line.append("".join(cell for _, cell in run), style)
    return line


def _axis(steps: int, width: int) -> str:
    """First and last step at the ends, and the one between them where there is room."""
    last, middle = str(steps - 1), str((steps - 1) // 2)
    line = "0" if steps == 1 else "0" + last.rjust(width - 1)
    at = width // 2 - len(middle) // 2
    if steps > 2 and at > 4 and at + len(middle) < width - len(last) - 4:
        line = line[:at] + middle + line[at + len(middle) :]
    return line + " step" if steps == 1 else line


def _legend(preview: Preview, signs: str | None, width: int) -> list[Text]:
    """A curve a line, with its first, highest and last rate in columns."""
    rows: list[tuple[str, ...]] = [SUMMARY, *(curve.summary for curve in preview.curves)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(SUMMARY))]
    room = width - 2 - sum(widths) - 2 * len(widths)
    if room < _LEAST:  # a narrow terminal has the names alone
        rows, widths, room = [()] * len(rows), [], width - 2
    longest = min(room, max(cell_len(curve.label) for curve in preview.curves))

    def columns(row: Sequence[str]) -> str:
        return "".join(f"  {cell:>{size}}" for cell, size in zip(row, widths, strict=True))

    found = [Text(" " * (longest + 2) + columns(rows[0]), "dim")] if widths else []
    for index, (curve, row) in enumerate(zip(preview.curves, rows[1:], strict=True)):
        sign = signs[index % len(signs)] if signs else "━"
        first, *more = _broken(curve.label, longest)
        line = Text().append(sign + " ", _STYLES[index % len(_STYLES)])
        found.append(line.append(f"{first:<{longest}}{columns(row)}".rstrip()))
        found += [Text("  " + piece) for piece in more]
    return found


def _broken(label: str, width: int) -> list[str]:
    """A label in pieces that fit, broken before arrows and after commas where it can be."""
    pieces = [""]
    for word in label.replace(" -> ", " \n-> ").replace(", ", ", \n").split("\n"):
        if pieces[-1] and cell_len((pieces[-1] + word).rstrip()) > width:
            pieces.append("")
        pieces[-1] += word
        while cell_len(pieces[-1].rstrip()) > width:
            pieces[-1:] = [pieces[-1][:width], pieces[-1][width:]]
    return [piece.rstrip() for piece in pieces]

"""A preview as a chart of characters, for a terminal, a pipe or a text file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lrtrack.reports.preview import SUMMARY, Preview, rate_text
from lrtrack.reports.terminal import WIDTH, width_of
from lrtrack.reports.text_plot import MARGIN, SIGNS, STYLES, framed, plot, x_axis

#: Rows of the plot, and the fewest characters across.
_ROWS, _LEAST = 17, 20


def write(preview: Preview, file: TextIO) -> None:
    """Print to `file` as wide as `COLUMNS`, the terminal or 80 columns; with colours on a
    terminal.
    """
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
    width = max(_LEAST, console.width - MARGIN - 1)
    show = console.print
    show(Text(preview.title, "bold"))
    show()
    low, high = _limits(preview)
    rates = [curve.rates for curve in preview.curves]
    lines = plot(rates, low, high, width, _ROWS, dotted=dotted)
    scale = [rate_text(rate) for rate in (high, (low + high) / 2, low)]
    for line in framed(lines, scale, _axis(preview.steps, width), unicode=unicode):
        show(line, crop=False, no_wrap=True)
    show()
    signs = None if dotted and len(rates) == 1 else SIGNS
    for line_of_legend in _legend(preview, signs, console.width):
        plain = line_of_legend.plain.encode(console.encoding, "replace")
        show(line_of_legend if unicode else Text(plain.decode(console.encoding)))
    for note in preview.notes:
        show(Text(note, "dim"))


def _limits(preview: Preview) -> tuple[float, float]:
    """The rates at the bottom and the top; the bottom is zero unless all curves stay far above
    it.
    """
    low = min(float(curve.rates.min()) for curve in preview.curves)
    high = max(float(curve.rates.max()) for curve in preview.curves)
    if low == high:
        return (0.0, high) if high > 0 else (0.0, 1.0)
    return (low if low > high / 2 else min(0.0, low)), high


def _axis(steps: int, width: int) -> str:
    """First and last step at the ends, and the middle one if there is room."""
    if steps == 1:
        return "0 step"
    return x_axis("0", str((steps - 1) // 2) if steps > 2 else "", str(steps - 1), width)


def _legend(preview: Preview, signs: str | None, width: int) -> list[Text]:
    """One line per curve, with its first, highest and last rate in columns."""
    rows: list[tuple[str, ...]] = [SUMMARY, *(curve.summary for curve in preview.curves)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(SUMMARY))]
    room = width - 2 - sum(widths) - 2 * len(widths)
    if room < _LEAST:  # a narrow terminal shows only the names
        rows, widths, room = [()] * len(rows), [], width - 2
    longest = min(room, max(cell_len(curve.label) for curve in preview.curves))

    def columns(row: Sequence[str]) -> str:
        return "".join(f"  {cell:>{size}}" for cell, size in zip(row, widths, strict=True))

    lines = [Text(" " * (longest + 2) + columns(rows[0]), "dim")] if widths else []
    for index, (curve, row) in enumerate(zip(preview.curves, rows[1:], strict=True)):
        sign = signs[index % len(signs)] if signs else "━"
        first, *more = _broken(curve.label, longest)
        line = Text().append(sign + " ", STYLES[index % len(STYLES)])
        lines.append(line.append(f"{first:<{longest}}{columns(row)}".rstrip()))
        lines += [Text("  " + piece) for piece in more]
    return lines


def _broken(label: str, width: int) -> list[str]:
    """Pieces of a label that fit into `width`, broken before arrows and after commas if
    possible.
    """
    pieces = [""]
    for word in label.replace(" -> ", " \n-> ").replace(", ", ", \n").split("\n"):
        if pieces[-1] and cell_len((pieces[-1] + word).rstrip()) > width:
            pieces.append("")
        pieces[-1] += word
        while cell_len(pieces[-1].rstrip()) > width:
            pieces[-1:] = [pieces[-1][:width], pieces[-1][width:]]
    return [piece.rstrip() for piece in pieces]

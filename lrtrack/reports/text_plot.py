"""Plots made of characters: for a terminal, a pipe, or a text file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

Values = NDArray[np.float64]

#: Characters before a plot for its scale.
MARGIN = 10
#: Colours of curves, in their order.
STYLES = ("cyan", "yellow", "magenta", "green", "blue", "red")
#: One sign a curve, where there are no colours to tell them apart.
SIGNS = "*+ox#@%&"
#: A cell of braille is two dots wide and four high; the bit of each, by row and column.
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def plot(
    curves: Sequence[Values], low: float, high: float, width: int, rows: int, *, dotted: bool
) -> list[Text]:
    """Rows of characters; where curves meet, the later one's.

    Args:
        curves: values at evenly spaced places, each of shape (n,); NaN: nothing there.
        low, high: what stands at the bottom and at the top.
        width: characters across.
        dotted: in braille, told apart by colour; else with one sign a curve.
    """
    draw = _dots if dotted else _signs
    return draw(curves, low, high, width, rows)


def framed(lines: Sequence[Text], scale: Sequence[str], below: str, *, unicode: bool) -> list[Text]:
    """A plot's rows with its axes.

    Args:
        scale: labels for the top, the middle and the bottom row.
        below: what stands under the x axis, as wide as the plot.
    """
    named = dict(zip((0, len(lines) // 2, len(lines) - 1), scale, strict=True))
    bar, foot, line = ("┤", "└", "─") if unicode else ("|", "+", "-")
    found = []
    for row, drawn in enumerate(lines):
        whole = Text(f"{named.get(row, ''):>{MARGIN}}{bar}") + drawn
        whole.rstrip()
        found.append(whole)
    width = max(len(drawn) for drawn in lines)
    found.append(Text(" " * MARGIN + foot + line * width))
    return [*found, Text(" " * (MARGIN + 1) + below)]


def x_axis(first: str, middle: str, last: str, width: int) -> str:
    """First and last place at the ends, and the one between them where there is room."""
    line = first + last.rjust(width - len(first))
    at = width // 2 - len(middle) // 2
    if middle and at > 4 and at + len(middle) < width - len(last) - 4:
        line = line[:at] + middle + line[at + len(middle) :]
    return line


def spans(steps: int, parts: int) -> list[tuple[int, int]]:
    """`range(steps)` in `parts` stretches of nearly one length, none of them empty."""
    ends = [at * steps // parts for at in range(parts + 1)]
    return [(min(low, steps - 1), max(high, low + 1)) for low, high in pairwise(ends)]


def _heights(
    values: Values, low: float, high: float, across: int, up: int
) -> list[tuple[int, int] | None]:
    """For each place across, the lowest and the highest place up that the curve touches.

    Each stretch reaches to where the one before it ended, so that a line has no holes; None
    where the curve has no value.
    """
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0) * (up - 1)
    found: list[tuple[int, int] | None] = []
    last: int | None = None
    for begin, end in spans(len(values), across):
        known = scaled[begin:end]
        stretch = np.rint(known[np.isfinite(known)]).astype(int)
        if not stretch.size:
            found.append(None)
            last = None
            continue
        least, most = int(stretch.min()), int(stretch.max())
        if last is not None and last < least:
            least = last + 1
        elif last is not None and last > most:
            most = last - 1
        found.append((least, most))
        last = int(stretch[-1])
    return found


def _dots(curves: Sequence[Values], low: float, high: float, width: int, rows: int) -> list[Text]:
    bits = np.zeros((rows, width), dtype=int)
    owner = np.zeros((rows, width), dtype=int)
    for index, values in enumerate(curves):
        for x, span in enumerate(_heights(values, low, high, 2 * width, 4 * rows)):
            for y in range(span[0], span[1] + 1) if span else ():
                row, part = divmod(4 * rows - 1 - y, 4)
                bits[row, x // 2] |= _BRAILLE[part][x % 2]
                owner[row, x // 2] = index
    return [
        _row([chr(0x2800 + bit) if bit else " " for bit in bits[row]], owner[row])
        for row in range(rows)
    ]


def _signs(curves: Sequence[Values], low: float, high: float, width: int, rows: int) -> list[Text]:
    signs = [[" "] * width for _ in range(rows)]
    owner = np.zeros((rows, width), dtype=int)
    for index, values in enumerate(curves):
        for x, span in enumerate(_heights(values, low, high, width, rows)):
            for y in range(span[0], span[1] + 1) if span else ():
                signs[rows - 1 - y][x] = SIGNS[index % len(SIGNS)]
                owner[rows - 1 - y, x] = index
    return [_row(signs[row], owner[row]) for row in range(rows)]


def _row(cells: Sequence[str], owners: Sequence[int]) -> Text:
    line = Text()
    styles = [
        "" if cell == " " else STYLES[owner % len(STYLES)]
        for cell, owner in zip(cells, owners, strict=True)
    ]
    for style, run in groupby(zip(styles, cells, strict=True), key=lambda pair: pair[0]):
        line.append("".join(cell for _, cell in run), style)
    return line

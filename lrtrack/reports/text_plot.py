"""Line plots made of characters, for a terminal, a pipe or a text file.

Plotext 6.1 was considered: it draws braille on log scales too, but it ignores NO_COLOR and the
output's encoding and has a compiled kernel, whereas rich already handles colours for the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

Values = NDArray[np.float64]

#: Characters to the left of a plot, for the labels of the y axis.
MARGIN = 10
#: Colours of curves, in order.
STYLES = ("cyan", "yellow", "magenta", "green", "blue", "red")
#: One sign per curve: colours alone would not tell them apart for everybody.
SIGNS = "*+ox#@%&"
#: How often the sign of a curve stands on its line of braille dots.
_MARKS = 4
#: The bit of each dot in a braille cell, which is two dots wide and four high.
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def plot(
    curves: Sequence[Values], low: float, high: float, width: int, rows: int, *, dotted: bool
) -> list[Text]:
    """Draw curves as rows of characters; where curves cross, the later one is on top.

    Args:
        curves: values at evenly spaced positions, each of shape (n,); NaN leaves a gap.
        low, high: the values of the bottom and the top.
        width: characters across.
        dotted: draw in braille, with each curve's sign here and there if there are several;
            otherwise with the signs alone.
    """
    draw = _dots if dotted else _signs
    return draw(curves, low, high, width, rows)


def framed(lines: Sequence[Text], scale: Sequence[str], below: str, *, unicode: bool) -> list[Text]:
    """Add the axes to a plot's rows.

    Args:
        scale: labels of the top, the middle and the bottom row.
        below: the labels below the x axis, as wide as the plot.
    """
    named = dict(zip((0, len(lines) // 2, len(lines) - 1), scale, strict=True))
    bar, foot, line = ("┤", "└", "─") if unicode else ("|", "+", "-")
    framed_lines = []
    for row, content in enumerate(lines):
        whole = Text(f"{named.get(row, ''):>{MARGIN}}{bar}") + content
        whole.rstrip()
        framed_lines.append(whole)
    width = max(len(content) for content in lines)
    framed_lines.append(Text(" " * MARGIN + foot + line * width))
    return [*framed_lines, Text(" " * (MARGIN + 1) + below)]


def x_axis(first: str, middle: str, last: str, width: int) -> str:
    """Labels of the first and last position at the ends, and the middle one if there is room."""
    line = first + last.rjust(width - len(first))
    at = width // 2 - len(middle) // 2
    if middle and at > 4 and at + len(middle) < width - len(last) - 4:
        line = line[:at] + middle + line[at + len(middle) :]
    return line


def spans(steps: int, parts: int) -> list[tuple[int, int]]:
    """Split `range(steps)` into `parts` stretches of nearly equal length, none of them empty."""
    ends = [at * steps // parts for at in range(parts + 1)]
    return [(min(low, steps - 1), max(high, low + 1)) for low, high in pairwise(ends)]


def _heights(
    values: Values, low: float, high: float, across: int, up: int
) -> list[tuple[int, int] | None]:
    """For each position across, the lowest and the highest position that the curve touches.

    Each stretch is extended to the end of the one before it, so that a line has no holes; None if
    the curve has no value.
    """
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0) * (up - 1)
    heights: list[tuple[int, int] | None] = []
    last: int | None = None
    for begin, end in spans(len(values), across):
        stretch_values = scaled[begin:end]
        stretch = np.rint(stretch_values[np.isfinite(stretch_values)]).astype(int)
        if not stretch.size:
            heights.append(None)
            last = None
            continue
        least, most = int(stretch.min()), int(stretch.max())
        if last is not None and last < least:
            least = last + 1
        elif last is not None and last > most:
            most = last - 1
        heights.append((least, most))
        last = int(stretch[-1])
    return heights


def _dots(curves: Sequence[Values], low: float, high: float, width: int, rows: int) -> list[Text]:
    bits = np.zeros((rows, width), dtype=int)
    owner = np.zeros((rows, width), dtype=int)
    for index, values in enumerate(curves):
        for x, span in enumerate(_heights(values, low, high, 2 * width, 4 * rows)):
            for y in range(span[0], span[1] + 1) if span else ():
                row, part = divmod(4 * rows - 1 - y, 4)
                bits[row, x // 2] |= _BRAILLE[part][x % 2]
                owner[row, x // 2] = index
    cells = [[chr(0x2800 + bit) if bit else " " for bit in bits[row]] for row in range(rows)]
    if len(curves) > 1:
        _mark(cells, owner, curves, (low, high))
    return [_row(cells[row], owner[row]) for row in range(rows)]


def _mark(
    cells: list[list[str]],
    owner: NDArray[np.int_],
    curves: Sequence[Values],
    scale: tuple[float, float],
) -> None:
    """Write each curve's sign on its line, at places where no other curve has its own."""
    rows, width = owner.shape
    places = _MARKS * len(curves)
    for index, values in enumerate(curves):
        heights = _heights(values, *scale, width, rows)
        for turn in range(_MARKS):
            x = (turn * len(curves) + index) * width // places + width // (2 * places)
            if span := heights[x]:
                cells[rows - 1 - span[0]][x] = SIGNS[index % len(SIGNS)]
                owner[rows - 1 - span[0], x] = index


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

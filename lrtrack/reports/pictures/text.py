"""Text in pictures: its width in inches, lines that fit, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lrtrack import _optional
from lrtrack.reports.palette import COLOURS, DASHES, Look

#: Sizes in points, at the size at which the picture is printed: journals ask for at least 5 to 7.
HEADING, TITLE, TEXT, TICKS, NOTES = 8.5, 8.0, 7.0, 6.5, 6.0
GREY, FAINT = "#555555", "#BDBDBD"
#: The height of a line of text, as a multiple of its size.
_LEADING = 1.35
#: The sample of a line in a legend, and the gaps after it and after its name, in inches.
_SAMPLE, _GAP, _APART = 0.27, 0.06, 0.2


def height_of(lines: int, size: float) -> float:
    """The height of some lines of text, in inches."""
    return lines * size * _LEADING / 72


def weight_of(size: float) -> str:
    """The weight of text of this size: titles of pictures are bold."""
    return "bold" if size == HEADING else "normal"


def width_of(text: str, size: float) -> float:
    """The width of one line of text, in inches."""
    properties = _optional.load("matplotlib.font_manager").FontProperties
    font = properties(size=size, weight=weight_of(size))
    paths = _optional.load("matplotlib.textpath").text_to_path
    width: float = paths.get_text_width_height_descent(text, font, False)[0]
    return width / 72


def cut(text: str, width: float, size: float) -> str:
    """`text`, or as much of its beginning as fits into `width` inches, with `…`."""
    if width_of(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high - 1:  # a few measurements, however long the text is
        middle = (low + high) // 2
        fits = width_of(text[:middle].rstrip() + "…", size) <= width
        low, high = (middle, high) if fits else (low, middle)
    return text[:low].rstrip() + "…"


def first_that_fits(texts: Sequence[str], width: float, size: float) -> str:
    """The first of `texts` that fits into `width` inches, or the last one, cut."""
    fitting = (text for text in texts if width_of(text, size) <= width)
    return next(fitting, None) or cut(texts[-1], width, size)


def wrapped(text: str, width: float, size: float) -> list[str]:
    """The lines of `text`, broken between words; a word that is too long is cut."""
    lines: list[str] = []
    for word in text.replace(" %", "\N{NO-BREAK SPACE}%").split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(cut(word, width, size))
    return lines


def line_style(look: Look | None) -> dict[str, Any]:
    """matplotlib's options for the line of a schedule; None: one of the grey ones."""
    if look is None:
        return {"color": FAINT, "linestyle": "-", "linewidth": 0.6}
    pattern = (0, DASHES[look.dash]) if look.dash else "-"
    return {"color": COLOURS[look.colour], "linestyle": pattern, "linewidth": 1.2}


class Legend:
    """The names of schedules beside samples of their lines, as many in a row as fit."""

    def __init__(self, entries: Sequence[tuple[str, Look | None]], width: float) -> None:
        self._placed: list[tuple[str, Look | None, float, int]] = []
        left, row = 0.0, 0
        for name, look in entries:
            shown = cut(name, width - _SAMPLE - _GAP, TEXT)
            needed = _SAMPLE + _GAP + width_of(shown, TEXT)
            if left and left + needed > width:
                left, row = 0.0, row + 1
            self._placed.append((shown, look, left, row))
            left += needed + _APART
        self.height = height_of(row + 1, TEXT)

    def draw(self, figure: Any, left: float, top: float, size: tuple[float, float]) -> None:
        """Draw it at a place in inches; `size` is that of `figure`."""
        line = _optional.load("matplotlib.lines").Line2D
        wide, high = size
        for name, look, begin, row in self._placed:
            x, y = (left + begin) / wide, (top - height_of(1, TEXT) * (row + 0.5)) / high
            sample = ((x, x + _SAMPLE / wide), (y, y))
            figure.add_artist(line(*sample, **line_style(look), transform=figure.transSubfigure))
            place = x + (_SAMPLE + _GAP) / wide
            figure.text(place, y, name, fontsize=TEXT, va="center_baseline")

"""Sizes of pictures, as text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lrtrack.errors import UsageError

#: The widths of one and of two columns of a page, in inches. Most journals' columns are between 3.2
#: and 3.5 inches wide, and their pages between 6.5 and 7.2 (Nature: 89 and 183 mm).
_WIDTHS = {"single": 3.3, "double": 6.9}
_SMALLEST, _LARGEST = 1.5, 40.0
#: From this width on, panels are beside each other.
_TWO = 5.0
_NUMBERS = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*[x×]\s*(\d+(?:\.\d+)?|\.\d+)", re.ASCII | re.I)


@dataclass(frozen=True)
class FigureSize:
    """The size of a picture in inches.

    Attributes:
        height: None: as the panels need.
        text: how the user wrote it.
    """

    width: float
    height: float | None = None
    text: str = "double"

    @property
    def columns(self) -> int:
        """How many panels are beside each other."""
        return 2 if self.width >= _TWO else 1


#: The size of pictures for which no other was asked.
DOUBLE = FigureSize(_WIDTHS["double"])


def figure_size_of(text: str) -> FigureSize:
    """The size that `single`, `double` or `WxH` in inches stands for.

    Raises:
        UsageError: it is none of these, or too small or large.
    """
    if text in _WIDTHS:
        return FigureSize(_WIDTHS[text], None, text)
    numbers = _NUMBERS.fullmatch(text.strip())
    if numbers is None:
        raise UsageError(
            f"{text!r} is no figure size. Fix: use single (3.3 inches wide), double (6.9 inches), "
            "or width and height in inches, such as 5x3.5."
        )
    width, height = map(float, numbers.groups())
    if not (_SMALLEST <= width <= _LARGEST and _SMALLEST <= height <= _LARGEST):
        raise UsageError(
            f"The figure size {text} is outside of what can be drawn. Fix: give inches from "
            f"{_SMALLEST:g} to {_LARGEST:g}."
        )
    return FigureSize(width, height, text)

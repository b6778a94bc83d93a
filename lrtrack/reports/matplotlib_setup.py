r"""The setup of all figures: matplotlib's defaults, no display, and no text interpreted as TeX.

Names of runs, schedules and metrics may contain `$`, `_` and backslashes. Therefore mathtext is
off for the whole figure, and every axis has plain tick labels: matplotlib's own formatter of a
logarithmic axis writes `$\mathdefault{10^{-1}}$`, which would be shown literally, and that of a
linear one moves a power of ten into a corner, away from the numbers that it belongs to.

Fonts: a PDF has them inside, as TrueType, which journals ask for. A PNG is pixels. An SVG keeps
text as text, with a generic family after the named ones, instead of outlines of the letters: it can
be searched, read aloud, corrected in a vector editor and set in the font of a paper. Who needs the
exact letters takes the PDF.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Literal

from lrtrack import _optional
from lrtrack.number_text import power_of_ten, trimmed

Form = Literal["png", "svg", "pdf"]

#: Dots per inch of a PNG: what journals ask for at the least.
DPI = 300

_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "SimHei")
#: Fonts of about the same width, for programs that show an SVG without the above.
_ALIKE = ("Verdana", "Arial")
_SETTINGS: Mapping[str, Any] = {
    # Text stays text, and there are no random ids, so that two renderings are identical.
    "svg.fonttype": "none",
    "svg.hashsalt": "lrtrack",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
#: Metadata without the time, so that two renderings are identical.
_UNDATED: Mapping[Form, Mapping[str, None]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
_MOST_DECIMALS = 12
#: Decimals of a figure's size, in inches, and of places in it, in widths and heights of the figure:
#: far below a pixel.
_PLACES = 6
#: On a logarithmic axis of up to so many decades, ticks with these first digits have labels.
_LABELLED = ((1.3, "125"), (2.3, "13"), (math.inf, "1"))
_DENSE = 0.6


def render(draw: Callable[[], Any], form: Form) -> bytes:
    """The bytes of the figure that `draw` returns; the same figure gives the same bytes.

    Args:
        draw: creates a `matplotlib.figure.Figure`; called once, while the settings are active.
        form: the format.

    Raises:
        UsageError: matplotlib is not installed.
    """
    matplotlib = _optional.load("matplotlib")
    for backend in ("agg", "svg", "pdf"):
        _optional.load(f"matplotlib.backends.backend_{backend}")
    installed = set(_optional.load("matplotlib.font_manager").fontManager.get_font_names())
    fonts = [name for name in _FONTS if name in installed]
    file = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The user's matplotlibrc may ask for TeX, mathtext or another figure size.
        matplotlib.rcdefaults()
        families = {"font.family": [*fonts, "sans-serif"], "font.sans-serif": [*fonts, *_ALIKE]}
        matplotlib.rcParams.update({**_SETTINGS, **families})
        # Characters that no installed font has are drawn as boxes, without a warning.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        figure = draw()
        _settle(figure)
        figure.savefig(file, format=form, dpi=DPI, metadata=_UNDATED[form])
    return file.getvalue()


def _settle(figure: Any) -> None:
    """Lay a figure out, and round its size and its layout.

    The order in which matplotlib solves the layout's equations depends on addresses in memory, so
    the last digits of the places differ between two equal figures.
    """
    figure.set_size_inches([round(float(inches), _PLACES) for inches in figure.get_size_inches()])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(_PLACES))
    for axes in figure.axes:
        axes.set_position([round(float(end), _PLACES) for end in axes.get_position().bounds])


def new_figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches, which pyplot neither keeps nor shows."""
    figure = _optional.load("matplotlib.figure").Figure
    return figure(figsize=(width, height), layout="constrained")


def use_plain_ticks(axes: Any) -> None:
    """Give both axes of `axes` tick labels in plain text; call it while they are linear."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_plain_linear_formatter()())


def use_log_scale(axes: Any, which: Literal["x", "y"] = "y") -> None:
    """Make one axis of `axes` logarithmic, with tick labels in plain text."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(_plain_log_formatter()())
    axis.set_minor_formatter(_plain_log_formatter()())


def tick_text(value: float) -> str:
    """The text of a tick: `0.01`, `200` or `5,000`; smaller and larger ones `2×10⁻⁵` or `10⁶`."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    power = int(exponent)
    if -3 <= power < 4:
        return trimmed(f"{value:,.{3 - power}f}")
    ten = power_of_ten(power)
    return ten if float(mantissa) == 1.0 else f"{trimmed(mantissa)}×{ten}"


def tick_texts(values: Sequence[float]) -> list[str]:
    """The texts of a linear axis: `0.970`, `0.975`, or with one power of ten, `1.5×10⁻⁵`.

    All have as many decimals as it takes to tell them apart. No part of a number is elsewhere.
    """
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return [f"{value:g}" for value in values]
    power = math.floor(math.log10(max(sizes)))
    if -3 <= power < 6:
        power = 0
    scaled = [value / 10.0**power for value in values]
    decimals = _decimals(scaled)
    end = f"×{power_of_ten(power)}" if power else ""
    texts = [f"{value:,.{decimals}f}" for value in scaled]
    return [
        f"{text.replace('-', '−')}{end}" if text.strip("-0.") else text.lstrip("-")
        for text in texts
    ]


def _decimals(values: Sequence[float]) -> int:
    """The fewest decimals that move no value by more than a thousandth of the smallest distance."""
    ordered = sorted(set(values))
    steps = [later - earlier for earlier, later in pairwise(ordered)] or [abs(ordered[0])]
    grain = max(1e-3 * min(steps), 1e-12 * max(map(abs, ordered)))
    return next(
        (
            decimals
            for decimals in range(_MOST_DECIMALS)
            if all(abs(round(value, decimals) - value) <= grain for value in values)
        ),
        _MOST_DECIMALS,
    )


@cache
def _plain_log_formatter() -> Any:
    """The formatter's class: `tick_text` writes the labels of powers of ten, and of few others."""
    formatter: Any = _optional.load("matplotlib.ticker").LogFormatter

    class PlainLogFormatter(formatter):  # type: ignore[misc]
        def __call__(self, x: float, pos: int | None = None) -> str:
            low, high = sorted(self.axis.get_view_interval())
            decades = math.log10(high / low) if low > 0.0 else math.inf
            if decades < _DENSE:  # matplotlib knows which of so few ticks have room
                return tick_text(x) if super().__call__(x, pos) else ""
            labelled = next(digits for most, digits in _LABELLED if decades < most)
            return tick_text(x) if f"{x:.0e}"[0] in labelled else ""

        def format_data(self, value: float) -> str:
            return tick_text(value)

        format_data_short = format_data

    return PlainLogFormatter


@cache
def _plain_linear_formatter() -> Any:
    """The formatter's class: `tick_texts` writes all labels of an axis together."""
    formatter: Any = _optional.load("matplotlib.ticker").Formatter

    class PlainLinearFormatter(formatter):  # type: ignore[misc]
        def format_ticks(self, values: Sequence[float]) -> list[str]:
            return tick_texts([float(value) for value in values])

        def __call__(self, x: float, pos: int | None = None) -> str:
            return tick_text(x)

        def format_data(self, value: float) -> str:
            return tick_text(value)

        format_data_short = format_data

    return PlainLinearFormatter

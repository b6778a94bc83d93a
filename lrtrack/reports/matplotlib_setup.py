"""What all figures share: matplotlib's own defaults, no display, and no text read as TeX.

Names of runs, schedules and metrics may contain `$`, `_` and backslashes. So mathtext is off for
the whole figure, and every axis gets tick labels that need none: matplotlib's own formatter of a
logarithmic axis writes `$\\mathdefault{10^{-1}}$`, which would be printed as it stands.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from lrtrack import _optional

Form = Literal["png", "svg"]

#: Dots per inch of a PNG.
DPI = 144

_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "SimHei")
_SETTINGS: Mapping[str, Any] = {
    # Text as text; no random ids, so that two renderings can be compared.
    "svg.fonttype": "none",
    "svg.hashsalt": "lrtrack",
    "text.parse_math": False,
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def render(draw: Callable[[], Any], form: Form) -> bytes:
    """The bytes of the figure that `draw` returns; the same for the same figure.

    Args:
        draw: makes a `matplotlib.figure.Figure`; called once, with the settings in place.
        form: the format.

    Raises:
        UsageError: matplotlib is not installed.
    """
    matplotlib = _optional.load("matplotlib")
    for backend in ("agg", "svg"):
        _optional.load(f"matplotlib.backends.backend_{backend}")
    known = set(_optional.load("matplotlib.font_manager").fontManager.get_font_names())
    fonts = [name for name in _FONTS if name in known]
    file = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The user's matplotlibrc may ask for TeX, mathtext, or another size of the picture.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_SETTINGS, "font.family": fonts})
        # Characters that no installed font has are drawn as boxes.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        metadata = {} if form == "png" else {"Date": None}
        draw().savefig(file, format=form, dpi=DPI, metadata=metadata)
    return file.getvalue()


def new_figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches, unknown to pyplot, which would keep or show it."""
    figure = _optional.load("matplotlib.figure").Figure
    return figure(figsize=(width, height), layout="constrained")


def use_log_scale(axes: Any, which: Literal["x", "y"] = "y") -> None:
    """Make one axis of `axes` logarithmic, with tick labels in plain text."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(_plain_log_formatter()())
    axis.set_minor_formatter(_plain_log_formatter()())


def tick_text(value: float) -> str:
    """A tick's `value`: `0.01`, `200` or `5,000`; below and above that `2×10⁻⁵` or `10⁶`."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    power = int(exponent)
    if -3 <= power < 4:
        return _trimmed(f"{value:,.{3 - power}f}")
    ten = f"10{str(power).translate(_SUPERSCRIPTS)}"
    return ten if float(mantissa) == 1.0 else f"{_trimmed(mantissa)}×{ten}"


def _trimmed(decimals: str) -> str:
    return decimals.rstrip("0").rstrip(".") if "." in decimals else decimals


@cache
def _plain_log_formatter() -> Any:
    """The class: matplotlib decides which ticks have a label, `tick_text` what it says."""
    formatter: Any = _optional.load("matplotlib.ticker").LogFormatter

    class PlainLogFormatter(formatter):  # type: ignore[misc]
        def __call__(self, x: float, pos: int | None = None) -> str:
            return tick_text(x) if super().__call__(x, pos) else ""

        def format_data(self, value: float) -> str:
            return tick_text(value)

        format_data_short = format_data

    return PlainLogFormatter

r"""The setup of all figures: matplotlib's defaults, no display, and no text interpreted as TeX.

Names of runs, schedules and metrics may contain `$`, `_` and backslashes. Therefore mathtext is
off for the whole figure, and every axis has plain tick labels: matplotlib's own formatter of a
logarithmic axis writes `$\mathdefault{10^{-1}}$`, which would be shown literally.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from lrtrack import _optional

Form = Literal["png", "svg", "pdf"]

#: Dots per inch of a PNG.
DPI = 144

_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "SimHei")
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
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
        matplotlib.rcParams.update({**_SETTINGS, "font.family": fonts})
        # Characters that no installed font has are drawn as boxes, without a warning.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        draw().savefig(file, format=form, dpi=DPI, metadata=_UNDATED[form])
    return file.getvalue()


def new_figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches, which pyplot neither keeps nor shows."""
    figure = _optional.load("matplotlib.figure").Figure
    return figure(figsize=(width, height), layout="constrained")


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
        return _trimmed(f"{value:,.{3 - power}f}")
    ten = f"10{str(power).translate(_SUPERSCRIPTS)}"
    return ten if float(mantissa) == 1.0 else f"{_trimmed(mantissa)}×{ten}"


def _trimmed(decimals: str) -> str:
    return decimals.rstrip("0").rstrip(".") if "." in decimals else decimals


@cache
def _plain_log_formatter() -> Any:
    """The formatter's class: matplotlib decides which ticks have a label, `tick_text` writes it."""
    formatter: Any = _optional.load("matplotlib.ticker").LogFormatter

    class PlainLogFormatter(formatter):  # type: ignore[misc]
        def __call__(self, x: float, pos: int | None = None) -> str:
            return tick_text(x) if super().__call__(x, pos) else ""

        def format_data(self, value: float) -> str:
            return tick_text(value)

        format_data_short = format_data

    return PlainLogFormatter

"""A preview as a PNG or SVG picture, drawn by matplotlib without a display."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lrtrack.reports import matplotlib_setup
from lrtrack.reports.preview import Preview, thinned

#: Okabe & Ito's palette ("Color Universal Design", 2008), distinguishable with colour blindness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
#: Dash patterns too, for print without colours.
_LINES = ("-", "--", "-.", ":")
_INCHES = (8.0, 4.5)


def render(preview: Preview, form: matplotlib_setup.Form, *, words: bool = True) -> bytes:
    """The picture's bytes; the same preview gives the same bytes, and SVG keeps text as text.

    Args:
        preview: the preview to draw.
        form: the format.
        words: whether to draw title and notes; False if the page around it has them.
    """
    content = preview if words else replace(preview, title="", notes=())
    return matplotlib_setup.render(lambda: _figure(content), form)


def _figure(preview: Preview) -> Any:
    figure = matplotlib_setup.new_figure(*_INCHES)
    axes = figure.subplots()
    matplotlib_setup.use_plain_ticks(axes)
    lines = []
    for index, curve in enumerate(preview.curves):
        at, rates = thinned(curve.rates)
        lines += axes.plot(
            at,
            rates,
            color=_COLOURS[index % len(_COLOURS)],
            linestyle=_LINES[index % len(_LINES)],
            linewidth=1.8,
            marker="o" if len(at) == 1 else "",
        )
    axes.set_title(preview.title, loc="left", fontsize=11)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if _near_zero(preview) else None)
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    # below the plot, so that it covers no curve even if a spec is long
    legend = figure.legend(
        lines,
        [curve.label for curve in preview.curves],
        loc="outside lower left",
        frameon=False,
        fontsize=8,
        title="\n".join(preview.notes),
        title_fontsize=8,
        alignment="left",
    )
    legend.get_title().set_color("#555555")
    return figure


def _near_zero(preview: Preview) -> bool:
    low = min(float(curve.rates.min()) for curve in preview.curves)
    high = max(float(curve.rates.max()) for curve in preview.curves)
    return low <= high / 2

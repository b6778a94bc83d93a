"""Small charts as SVG without a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lrtrack.reports.formatting import number
from lrtrack.reports.palette import DASHES, Look
from lrtrack.reports.small_charts import SmallChart

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 252, 56, 12, 26, 42
#: Labels of the x and of the y axis.
_ACROSS, _UP = 7, 5
#: With at most this many counted values, each has a label.
_MOST_COUNTED = 12


def drawn(chart: SmallChart, names: Sequence[str], looks: Sequence[Look]) -> str:
    """The chart with its note; each line has its schedule's name as a hint.

    Args:
        names: the schedules' names, in the order of the comparison.
    """
    xs = [x for _, points in chart.lines for x, _ in points]
    left, right, (low, high) = min(xs), max(xs), chart.ends
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + width * ((x - left) / (right - left) if right > left else 0.5)

    def down(y: float) -> float:
        return _TOP + height * (1.0 - ((y - low) / (high - low) if high > low else 0.5))

    parts = [f'<text class="tick" x="{_LEFT}" y="12">{escape(chart.up)}</text>']
    for y in _evenly(low, high, _UP):
        parts.append(
            f'<line class="back" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down(y):.1f}" '
            f'y2="{down(y):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{down(y) + 4:.1f}" text-anchor="end">'
            f"{number(y, 3, trim=True)}</text>"
        )
    for x in _counted(left, right) if chart.counts else _evenly(left, right, _ACROSS):
        parts.append(
            f'<text class="tick" x="{across(x):.1f}" y="{_HEIGHT - 24}" text-anchor="middle">'
            f"{number(x, 3, trim=True)}</text>"
        )
    parts.append(
        f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">'
        f"{escape(chart.across)}</text>"
    )
    for at, points in reversed(chart.lines):  # the best on top
        places = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        parts.append(_line(names[at], looks[at], places, single=len(points) == 1))
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(chart.title)}">{"".join(parts)}</svg>'
        f'<p class="note">{escape(chart.note)}</p>'
    )


def _line(name: str, look: Look, places: str, *, single: bool) -> str:
    dashes = " ".join(str(2 * length) for length in DASHES[look.dash])
    pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
    x, _, y = places.partition(",")
    shape = (
        f'<circle class="dot" cx="{x}" cy="{y}" r="4"/>' if single
        else f'<polyline class="line" points="{places}"{pattern}/>'
    )  # fmt: skip
    return f'<g class="c{look.colour}"><title>{escape(name)}</title>{shape}</g>'


def _evenly(low: float, high: float, size: int) -> list[float]:
    return [low + at / (size - 1) * (high - low) for at in range(size)]


def _counted(low: float, high: float) -> list[float]:
    step = 1 + int(high - low) // _MOST_COUNTED
    return [float(at) for at in range(int(low), int(high) + 1, step)]

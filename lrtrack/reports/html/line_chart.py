"""Small charts without a script: performance profiles over tasks, and the best of k values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lrtrack.reports import captions
from lrtrack.reports.formatting import number
from lrtrack.reports.palette import DASHES, Look
from lrtrack.stats import PROFILE, ComparisonResult

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 220, 56, 12, 10, 26
#: Labels per axis.
_TICKS = 5

#: One line: its look and its points.
Line = tuple[Look, Sequence[tuple[float, float]]]


def profiles(comparison: ComparisonResult, looks: Sequence[Look]) -> str:
    """The share of runs that are better than a score, per schedule; empty without tasks."""
    lines: list[Line] = [
        (look, list(zip(PROFILE, item.across.profile, strict=True)))
        for item, look in zip(comparison.schedules, looks, strict=True)
        if item.across is not None
    ]
    return _chart(lines, (0.0, 1.0), captions.profiles_note(comparison)) if lines else ""


def expected_best(comparison: ComparisonResult, looks: Sequence[Look]) -> str:
    """The expected best of k tried values, per schedule; empty where nothing was tuned."""
    lines: list[Line] = [
        (look, list(enumerate(item.tuning.expected_best, start=1)))
        for item, look in zip(comparison.schedules, looks, strict=True)
        if item.tuning is not None and item.tuning.expected_best
    ]
    values = [value for _, points in lines for _, value in points]
    if not values or max(len(points) for _, points in lines) < 2:
        return ""
    return _chart(lines, (min(values), max(values)), captions.expected_best_note(comparison))


def _chart(lines: Sequence[Line], ends: tuple[float, float], note: str) -> str:
    xs = [x for _, points in lines for x, _ in points]
    left, right, (low, high) = min(xs), max(xs), ends
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + width * ((x - left) / (right - left) if right > left else 0.5)

    def down(y: float) -> float:
        return _TOP + height * (1.0 - ((y - low) / (high - low) if high > low else 0.5))

    parts = []
    for tick in range(_TICKS):
        share = tick / (_TICKS - 1)
        x, y = left + share * (right - left), low + share * (high - low)
        parts.append(
            f'<line class="back" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down(y):.1f}" '
            f'y2="{down(y):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{down(y) + 4:.1f}" text-anchor="end">'
            f"{number(y, 3, trim=True)}</text>"
            f'<text class="tick" x="{across(x):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
            f"{number(x, 3, trim=True)}</text>"
        )
    for look, points in lines:
        places = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        dashes = " ".join(str(2 * length) for length in DASHES[look.dash])
        pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
        parts.append(f'<g class="c{look.colour}"><polyline class="line" points="{places}"'
                     f'{pattern}/></g>')  # fmt: skip
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
        f'<p class="note">{escape(note)}</p>'
    )

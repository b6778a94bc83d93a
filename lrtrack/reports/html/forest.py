"""The differences to the best schedule, or to the baseline, drawn on one axis with ticks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import median

from lrtrack.reports.formatting import difference
from lrtrack.reports.palette import Look
from lrtrack.stats import ComparisonResult, Effect, ScheduleSummary

#: Differences so many times as large as the median of all are cut off at the edge of the axis.
_FAR = 4.0
_MOST_TICKS = 5
#: The share of the width that is left free on each side, and half of the room of a word, in %.
_EDGE, _WORD = 4.0, 60.0
#: Ticks without numbers on narrow screens.
_MINOR = ' class="minor"'


@dataclass(frozen=True)
class Axis:
    """The common axis of all differences, which includes 0.

    Attributes:
        ticks: round numbers, ascending.
        title: what it shows.
        better: whether larger values are better.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    title: str
    better: bool

    def share(self, value: float) -> float:
        """The position of `value` in % of the width, at most at the edges."""
        share = (value - self.low) / (self.high - self.low)
        return _EDGE + (100 - 2 * _EDGE) * min(1.0, max(0.0, share))

    def at(self, value: float) -> str:
        """The position of `value` as an attribute."""
        return f"{self.share(value):.2f}%"

    def holds(self, value: float) -> bool:
        """Whether `value` is on the axis, up to rounding."""
        room = 1e-9 * (self.high - self.low)
        return self.low - room <= value <= self.high + room


def axis_of(comparison: ComparisonResult) -> Axis | None:
    """The axis of all differences and their intervals; None if there are none.

    A schedule that is very far away would press all others together, so the axis ends at four
    times the median of the schedules' distances.
    """
    ends = [
        (low, high)
        for low, high in map(_ends, comparison.schedules)
        if math.isfinite(low) and math.isfinite(high)
    ]
    if not ends:
        return None
    far = _FAR * median(max(abs(low), abs(high)) for low, high in ends)
    low = max(-far, min(0.0, *(low for low, _ in ends)))
    high = min(far, max(0.0, *(high for _, high in ends)))
    if not high > low:
        low, high = -1.0, 1.0
    other = "best" if comparison.baseline is None else "baseline"
    title = f"difference to the {other}"
    return Axis(low, high, round_ticks(low, high), title, comparison.mode == "max")


def _ends(item: ScheduleSummary) -> tuple[float, float]:
    effect = item.vs_best
    if effect is None:
        return math.nan, math.nan
    return min(effect.ci95[0], effect.difference), max(effect.ci95[1], effect.difference)


def round_ticks(low: float, high: float) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most five."""
    power = math.floor(math.log10((high - low) / _MOST_TICKS))
    for factor in (1.0, 2.0, 5.0, 10.0, 20.0):
        step = factor * 10.0**power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < _MOST_TICKS:
            break
    decimals = max(0, -math.floor(math.log10(step)))
    return tuple(round(index * step, decimals) + 0.0 for index in range(first, last + 1))


def head(axis: Axis) -> str:
    """The head of the column: the title, which side is better, and the ticks."""
    left, right = ("worse", "better") if axis.better else ("better", "worse")
    zero = axis.ticks.index(0.0)
    labels = "".join(
        f'<text{_MINOR if (at - zero) % 2 else ""} x="{axis.at(tick)}" y="11" '
        f'text-anchor="middle">{text}</text>'
        for at, (tick, text) in enumerate(zip(axis.ticks, _labels(axis.ticks), strict=True))
    )
    sides = [f"<span>← {left}</span>" if axis.low < 0 else "<span></span>"]
    sides += [f"<span>{axis.title}</span>"]
    sides += [f"<span>{right} →</span>" if axis.high > 0 else "<span></span>"]
    return (
        f'<th class="drawn forest"><div class="ends">{"".join(sides)}</div>'
        f'<svg class="ticks" aria-hidden="true">{labels}</svg></th>'
    )


def _labels(ticks: tuple[float, ...]) -> list[str]:
    gap = min((b - a for a, b in pairwise(ticks)), default=1.0)
    power = math.floor(math.log10(gap) + 1e-9)
    if not -5 < power < 6:
        texts = [f"{tick:.3g}" for tick in ticks]
    else:
        texts = [f"{tick:.{max(0, -power)}f}" if tick else "0" for tick in ticks]
    return [text.replace("-", "−", 1) for text in texts]


def cell(item: ScheduleSummary, look: Look, axis: Axis, baseline: str | None) -> str:
    """A schedule's difference and its interval; a diamond for the schedule that it is to."""
    grid = "".join(
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="{axis.at(tick)}" '
        f'x2="{axis.at(tick)}" y1="0" y2="100%"/>'
        for tick in axis.ticks
    )
    kind = f"c{look.colour}"
    if item.verdict in ("best", "baseline"):
        words, marks = f"the {item.verdict}", _reference(axis, str(item.verdict))
    elif item.vs_best is None or not math.isfinite(item.vs_best.difference):
        words = "diverged" if item.verdict == "diverged" else "no difference is known"
        marks = ""
    else:
        alike = item.could_be_best if baseline is None else item.verdict in _ALIKE
        kind += " alike" if alike else ""
        value, interval = difference(item.vs_best)
        words = f"{value} {interval}{', may be as good' if alike else ''}"
        marks = "".join(_marks(item.vs_best, axis))
    return (
        f'<td class="drawn forest"><svg class="{kind}" role="img" aria-label="{escape(words)}">'
        f"<title>{escape(words)}</title>{grid}{marks}</svg></td>"
    )


_ALIKE = ("tie", "indistinguishable")


def _reference(axis: Axis, word: str) -> str:
    """A diamond at 0 and the word, on the side where there is room."""
    left = axis.share(0.0) > _WORD
    anchor = ' text-anchor="end"' if left else ""
    return (
        f'<svg x="{axis.at(0.0)}" y="50%" overflow="visible"><path class="point" d="M-6 0L0 -6L6 0'
        f'L0 6Z"/><text x="{-12 if left else 12}" y="4"{anchor}>{word}</text></svg>'
    )


def _marks(effect: Effect, axis: Axis) -> Iterator[str]:
    """The interval, with arrows where it goes on beyond the axis, and the difference."""
    low, high = effect.ci95
    x1, x2 = axis.at(low), axis.at(high)
    yield f'<line class="effect" x1="{x1}" x2="{x2}" y1="50%" y2="50%"/>'
    if not axis.holds(low):
        yield _arrow(axis.at(axis.low), "M0 -5L-6 0L0 5")
    if not axis.holds(high):
        yield _arrow(axis.at(axis.high), "M0 -5L6 0L0 5")
    if axis.holds(effect.difference):
        yield f'<circle class="point" cx="{axis.at(effect.difference)}" cy="50%" r="4.5"/>'


def _arrow(x: str, path: str) -> str:
    return f'<svg x="{x}" y="50%" overflow="visible"><path class="arrow" d="{path}"/></svg>'

"""The strip plot: every run's final value as a dot, on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lrtrack.reports import captions
from lrtrack.reports.curves import drawable
from lrtrack.reports.formatting import number
from lrtrack.reports.html.fragments import named
from lrtrack.reports.palette import Look
from lrtrack.stats import ComparisonResult, ScheduleSummary

#: The ratio of the largest to the smallest value from which a scale is logarithmic.
_WIDE = 100.0


@dataclass(frozen=True)
class Scale:
    """Maps values to percentages of a drawing's width."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> str:
        """The position of `value`, from `2%` to `98%`."""
        turn = math.log if self.log else float
        low, high = turn(self.low), turn(self.high)
        share = (turn(value) - low) / (high - low) if high > low else 0.5
        return f"{2 + 96 * min(1.0, max(0.0, share)):.2f}%"


def scale_of(comparison: ComparisonResult) -> Scale | None:
    """One scale for all final values and intervals; None if there are none."""
    values = [
        value
        for item in comparison.schedules
        for value in (*item.final.values, *(item.final.ci95 or ()), item.final.mean)
        if value is not None and drawable(value)
    ]
    if not values:
        return None
    low, high = min(values), max(values)
    return Scale(low, high, log=low > 0 and high > _WIDE * low)


def strip(comparison: ComparisonResult, names: Sequence[str], looks: Sequence[Look]) -> str:
    """Every run's final value as a dot, with the median as a stroke."""
    scale = scale_of(comparison)
    if scale is None:
        return ""
    rows = []
    first = 0
    for at, (item, name, look) in enumerate(zip(comparison.schedules, names, looks, strict=True)):
        rows.append(
            f'<tr data-s="{at}"><td class="text">{named(name, look)}</td><td class="drawn">'
            f'<svg class="c{look.colour}" role="img" aria-label="{escape(_words(item))}">'
            f"{_dots(item, first, scale)}</svg></td>"
            f'<td class="bad">{captions.without_dots(item)}</td></tr>'
        )
        first += item.runs
    head = f'<th><span class="sr">{comparison.noun}</span></th>'
    return (
        f'<div class="scroll"><table class="strip"><thead><tr>{head}{ends(scale)}<td></td></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def ends(scale: Scale | None) -> str:
    """The head of a column that is drawn on `scale`: the lowest and the highest value."""
    if scale is None:
        return '<th class="drawn"></th>'
    texts = [number(scale.low, 3, trim=True), number(scale.high, 3, trim=True)]
    middle = captions.LOG_SCALE if scale.log else ""
    words = "".join(f"<span>{text}</span>" for text in (texts[0], middle, texts[1]))
    return f'<th class="drawn"><div class="ends">{words}</div></th>'


def _words(item: ScheduleSummary) -> str:
    """The drawing in words, for those who do not see it."""
    values = [value for value in item.final.values if value is not None and drawable(value)]
    if not values:
        return "no final values"
    return (
        f"final values from {number(min(values))} to {number(max(values))}, "
        f"median {number(item.final.median)}"
    )


def _dots(item: ScheduleSummary, first: int, scale: Scale) -> str:
    """The dots of a schedule's runs; `first` is the index of its first run on the page.

    The script titles each dot with the run's name and value, which it reads from the table of runs.
    """
    parts = ['<line class="back" x1="2%" x2="98%" y1="11" y2="11"/>']
    if item.final.median is not None:
        at = scale.at(item.final.median)
        parts.append(f'<line class="middle" x1="{at}" x2="{at}" y1="1" y2="21"/>')
    for index, value in enumerate(item.final.values):
        if value is not None and drawable(value):
            parts.append(
                f'<circle class="dot" data-run="{first + index}" cx="{scale.at(value)}" '
                f'cy="{(11, 6, 16)[index % 3]}" r="4"/>'
            )
    return "".join(parts)

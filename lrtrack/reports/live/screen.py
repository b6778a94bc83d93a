"""Running trainings on a terminal: for each its place, two small charts and its diagnoses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from lrtrack.errors import clean
from lrtrack.records import State
from lrtrack.reports.formatting import number
from lrtrack.reports.live.live_run import LiveRun, Points, duration, place
from lrtrack.reports.text_plot import plot

#: Rows of a chart, and the columns between two.
_ROWS, _GAP = 3, 4
#: The most lines of a diagnosis: `lrtrack runs` has all of it.
_LINES = 3
#: From this ratio of the largest to the smallest value on, a chart is logarithmic.
_WIDE = 50.0
_STATES = {State.FINISHED: "green", State.FAILED: "red"}


@dataclass(frozen=True)
class Screen:
    """How trainings are drawn.

    Attributes:
        width, height: of the terminal, in characters.
        metric: what the second chart shows.
        first: the index of the run at the top.
        unicode: whether the terminal has more than ASCII; `dotted`: whether charts are in braille.
        now: seconds since the epoch.
        keys: what keys do; empty if there is no keyboard.
        trouble: why a tracker cannot be read; empty if all can.
    """

    width: int
    height: int
    metric: str
    first: int = 0
    unicode: bool = True
    dotted: bool = True
    now: float = 0.0
    keys: str = ""
    trouble: str = ""


def lines_of(runs: Sequence[LiveRun], screen: Screen) -> list[Text]:
    """All lines of the screen, at most as many as it is high."""
    foot = [Text(text, "dim") for text in (clean(screen.trouble), screen.keys) if text]
    room = screen.height - 1 - len(foot)
    going = sum(run.state is State.RUNNING for run in runs)
    ended = f", {len(runs) - going} ended" if len(runs) > going else ""
    head = f"lrtrack watch: {going} running{ended}" if runs else "Waiting for a training to begin"
    body: list[Text] = []
    shown = 0
    for run in runs[screen.first :]:
        block = [Text(), *_block(run, screen)]
        if len(body) + len(block) > room and body:
            break
        body += block[: max(room - len(body), 0)]
        shown += 1
    hidden = len(runs) - shown
    if hidden:
        head += f" ({screen.first + 1} to {screen.first + shown} shown)"
    above = [Text() for _ in range(room - len(body))] if foot else []
    lines = [Text(head, "bold"), *body, *above, *foot]
    return [_fitted(line, screen) for line in lines]


def _block(run: LiveRun, screen: Screen) -> list[Text]:
    across = (screen.width - _GAP) // 2
    left = _chart(run, "lr", across, screen)
    right = _chart(run, screen.metric, across, screen)
    lines = [_title(run, screen)]
    for one, other in zip(left, right, strict=True):
        lines.append(_padded(one, across + _GAP) + other)
    detail = _details(run, screen)
    if detail:
        lines.append(Text(detail, "dim"))
    for diagnosis in run.diagnoses:
        message, hint = clean(diagnosis["message"]), clean(diagnosis["hint"])
        text = f"! {diagnosis['code']}: {message} Fix: {hint}."
        lines += [Text(line, "yellow") for line in wrap(text, screen.width, max_lines=_LINES)]
    return lines


def _title(run: LiveRun, screen: Screen) -> Text:
    """Name and schedule at the left; at the right, how far the training is."""
    if run.state is State.RUNNING:
        left = duration(run.remaining)
        where = Text(place(run) + (f", {left} left" if left else ""))
    else:
        where = Text(f"{str(run.state).lower()} at {place(run)}", _STATES[run.state])
    name, label = clean(run.name), clean(run.label)
    title = Text(name, "bold") + Text("" if label == name else f"  {label}")
    room = screen.width - cell_len(where.plain) - 2
    return _padded(_cut(title, room, screen), room + 2) + where


def _chart(run: LiveRun, metric: str, across: int, screen: Screen) -> list[Text]:
    """A chart's rows, then the name, the latest value and the range."""
    points = run.series.get(metric)
    values = np.empty(0) if points is None else _even(points, 2 * across)
    known = values[np.isfinite(values)]
    if not known.size:
        empty = Text(f"{clean(metric)} {number(run.latest.get(metric))}")
        return [*(Text() for _ in range(_ROWS)), empty]
    low, high = float(known.min()), float(known.max())
    wide = metric != "lr" and low > 0.0 and high > _WIDE * low
    ends = (math.log10(low), math.log10(high)) if wide else (low, high)
    heights = np.log10(values) if wide else values
    if ends[0] == ends[1]:
        ends = ends[0] - 0.5, ends[1] + 0.5
    rows = plot([heights], *ends, across, _ROWS, dotted=screen.dotted)
    extent = f"{number(low, 2, trim=True)} to {number(high, 2, trim=True)}{', log' if wide else ''}"
    latest = number(run.latest.get(metric, math.nan), trim=True)
    return [*rows, _cut(Text(f"{clean(metric)} {latest} ({extent})"), across, screen)]


def _even(points: Points, size: int) -> NDArray[np.float64]:
    """A metric at evenly spaced steps, shape (size,), from its first to its last one."""
    steps, values = points
    finite = np.isfinite(values)
    if not finite.any():
        return np.empty(0)
    places = np.linspace(steps[0], steps[-1], size)
    even: NDArray[np.float64] = np.interp(places, steps[finite], values[finite])
    return even


def _details(run: LiveRun, screen: Screen) -> str:
    parts = []
    if "grad_norm" in run.latest and screen.metric != "grad_norm":
        parts.append(f"gradient norm {number(run.latest['grad_norm'], 3, trim=True)}")
    if run.steps_per_second > 0.0:
        parts.append(f"{number(run.steps_per_second, 3, trim=True)} steps/s")
    if rest := run.resting(screen.now):
        parts.append(f"no step for {duration(rest)}")
    if run.tracker != "local":
        parts.append(f"from {run.tracker}")
    return ", ".join(parts)


def _cut(text: Text, width: int, screen: Screen) -> Text:
    """A text that is at most so wide, with a sign where it was cut."""
    if cell_len(text.plain) <= width:
        return text
    text = text.copy()
    text.truncate(max(width - 1, 0))
    return text + ("…" if screen.unicode else "~")


def _padded(text: Text, width: int) -> Text:
    return text + " " * max(width - cell_len(text.plain), 0)


def _fitted(line: Text, screen: Screen) -> Text:
    """A line that fits into the terminal, in characters that it has."""
    line = _cut(line, screen.width, screen)
    if not screen.unicode:
        plain = set_cell_size(line.plain, cell_len(line.plain))
        line = Text(plain.encode("ascii", "replace").decode(), spans=line.spans)
    return line

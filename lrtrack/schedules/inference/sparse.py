"""A warm-up from 0 of which only a few rates were logged, so that its end is not among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrtrack.schedules.inference.infer import InferredSchedule, schedule_of
from lrtrack.schedules.inference.pieces import Values
from lrtrack.schedules.inference.texts import distance
from lrtrack.schedules.spec import Stage, parse, write

#: How far a rise may be from a line through the origin and all rates from the curve, as shares of
#: the peak, and how far the steps of a warm-up may be from a whole number.
_NEAR, _EXACT, _WHOLE = 1e-3, 1e-5, 0.02
_FEWEST = 4


def warmed(found: InferredSchedule, t: Values, y: Values) -> list[InferredSchedule]:
    """Explain a rise and a decay by a warm-up from 0 and a cosine or a line to 0.

    The rise is then a line through the origin, so that one rate of it is enough: the warm-up ends
    where this line meets the decay.

    Args:
        found: what is known of the curve; its last stage tells where a cosine began.
        t: steps, shape (n,), ascending.
        y: learning rates, shape (n,).

    Returns:
        The schedules that give all rates as well as `found` does.
    """
    if t.size < _FEWEST or t[0] <= 0 or not 0 < y[0] < y.max():
        return []
    peak = float(y.max())
    explained = []
    for warmup, decay, base in (*_cosine(found), *_line(t, y)):
        stages = [Stage("warmup", {"start": 0, "steps": warmup}), decay]
        error = distance(stages, base, t, y) / peak
        if error <= max(_EXACT, found.error):
            explained.append(
                InferredSchedule(write(stages), base, schedule_of(stages), float(error))
            )
    return explained


def _cosine(found: InferredSchedule) -> Iterator[tuple[int, Stage, float]]:
    """The steps of the warm-up, the cosine after it, and the peak."""
    *before, last = parse(found.spec)
    steps = [stage.params.get("steps") for stage in (*before, last)]
    if not before or last.name != "cosine" or not all(type(count) is int for count in steps):
        return
    skipped = last.params.get("skip", 0)
    warmup = sum(steps[:-1]) - (skipped if type(skipped) is int else 0)  # type: ignore[arg-type]
    if warmup > 0:
        own = {name: value for name, value in last.params.items() if name != "skip"}
        yield warmup, Stage("cosine", own), found.base_lr


def _line(t: Values, y: Values) -> Iterator[tuple[int, Stage, float]]:
    """The steps of the warm-up, the line to 0 after it, and the peak."""
    rise = y[0] / t[0]
    rising = np.abs(y - rise * t) <= _NEAR * y.max()
    count = int(np.argmin(rising)) if not rising.all() else t.size
    if t.size - count < 2:
        return
    fall = (y[count] - y[-1]) / (t[-1] - t[count])
    if fall <= 0:
        return
    end = t[-1] + y[-1] / fall
    warmup = fall * end / (rise + fall)
    first, last = round(float(warmup)), round(float(end))
    if abs(warmup - first) <= _WHOLE * max(first, 1) and 0 < first < last:
        steps = last - first
        yield first, Stage("linear", {"start": 1, "end": 0, "steps": steps}), float(fall * steps)

"""Fits of single formulas: lines, cosines, powers, roots, and exponentials.

Each takes steps `t`, counted from the piece's start, and rates `y`, both of shape (n,), and returns
pieces that may describe all of them. Whether they do is checked afterwards, with the final text.
Fits with one nonlinear parameter solve for the others by least squares (variable projection,
Golub and Pereyra, 1973) and search over that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lrtrack.schedules.inference.pieces import Piece, Values

#: The most points that a fit uses.
_POINTS = 240
_TINY = 1e-300
#: The smallest rates that a fit of logarithms or inverses uses, as a share of the largest.
_VISIBLE = 1e-9
#: How close the power of a polynomial must be to 1 to be a line, which another fit describes.
_LINE = 5e-3
#: How many times longer than the curve the timescale of a root may be: else it is a line.
_SLOWEST = 1000
#: The golden ratio's inverse, and the width at which a search ends, as a share of its place.
_GOLDEN, _FINEST = (5**0.5 - 1) / 2, 1e-12


def sample(t: Values, y: Values) -> tuple[Values, Values]:
    """At most `_POINTS` of the points, evenly spread, with the first and the last."""
    if t.size <= _POINTS:
        return t, y
    chosen = np.unique(np.linspace(0, t.size - 1, _POINTS).round().astype(int))
    return t[chosen], y[chosen]


def constant(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A rate that stays where it is."""
    low, high = float(y.min()), float(y.max())
    if high - low <= 2 * tol:
        yield Piece("constant", {"factor": float(y[0]) if high == low else (low + high) / 2})


def line_fit(x: Values, y: Values, weights: Values | None = None) -> tuple[float, float]:
    """Slope and level of the line with the least squares of `weights` times its errors."""
    squares = np.ones_like(x) if weights is None else weights**2
    squares = squares / squares.sum()
    x_mean, y_mean = float(squares @ x), float(squares @ y)
    slope = float((squares * (x - x_mean)) @ y) / max(_TINY, float(squares @ (x - x_mean) ** 2))
    return slope, y_mean - slope * x_mean


def line_length(t: Values, y: Values, tol: float) -> int:
    """How many points lie on one line through the first one, within `tol`; at least 1."""
    if t.size < 3:
        return int(t.size)
    runs = t[1:] - t[0]
    highest = np.minimum.accumulate((y[1:] + tol - y[0]) / runs)
    lowest = np.maximum.accumulate((y[1:] - tol - y[0]) / runs)
    beyond = np.flatnonzero(lowest > highest)
    return int(beyond[0]) + 1 if beyond.size else int(t.size)


def linear(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A line, which may end in a constant rate."""
    size = line_length(t, y, tol)
    if size < 2:
        return
    slope = (y[size - 1] - y[0]) / (t[size - 1] - t[0])
    start = float(y[0] - slope * t[0])
    if slope == 0 or start < -tol:
        return
    start = max(start, 0.0)
    if size < t.size:
        level = float(np.median(y[size:]))
        if np.abs(y[size:] - level).max() <= tol:
            yield from _lines(start, slope, [(level - start) / slope])
        return
    last = float(t[-1])
    zero = -start / slope
    ends = [zero] if slope < 0 and zero >= last else []
    yield from _lines(start, slope, [*ends, last, last + 1])


def _lines(start: float, slope: float, ends: list[float]) -> Iterator[Piece]:
    for end in ends:
        steps = round(end)
        if steps >= 1:
            level = max(0.0, start + slope * end)
            params = {"start": start, "end": level, "steps": steps}
            yield Piece("linear", params)


def exponential(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A rate that is multiplied by the same factor at each step."""
    t, y = sample(t, y)
    visible = y > _VISIBLE * y.max()
    if visible.sum() < 3:
        return
    slope, level = line_fit(t[visible], np.log(y[visible]), y[visible])
    if abs(slope) < 50 and np.abs(np.exp(level + slope * t) - y).max() <= 4 * tol:
        yield Piece("exponential", {"gamma": float(np.exp(slope))}, float(np.exp(level)))


def inverse_sqrt(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A rate whose inverse square rises linearly."""
    t, y = sample(t, y)
    if t.size < 3 or y.min() <= _VISIBLE * y.max():
        return
    slope, level = line_fit(t, y**-2.0, y**3)
    if slope <= 0 or level <= 0:
        return
    scale = level / slope
    if scale > _SLOWEST * t[-1]:
        return
    whole = round(scale)
    timescale = whole if whole and abs(scale - whole) <= 1e-3 * scale else float(scale)
    yield Piece("inverse_sqrt", {"timescale": timescale}, float(level**-0.5))


def one_minus_sqrt(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A rate that falls as the square root of the step, which may end in a constant rate."""
    size = t.size - flat_tail(y, tol) + 1
    head, rates = sample(t[:size], y[:size])
    if head.size < 4:
        return
    slope, base = line_fit(np.sqrt(head), rates)
    if slope >= 0 or np.abs(base + slope * np.sqrt(head) - rates).max() > 4 * tol:
        return
    zero = (base / slope) ** 2
    ends = [((base - y[-1]) / slope) ** 2] if size < t.size else [zero, t[-1], t[-1] + 1]
    for end in ends:
        steps = round(float(end))
        if steps >= 1 and end <= zero * (1 + 1e-9):
            level = max(0.0, float(base + slope * np.sqrt(end)))
            yield Piece("one_minus_sqrt", {"steps": steps, "end": level}, float(base))


def flat_tail(y: Values, tol: float) -> int:
    """How many of the last rates are equal, within `tol`."""
    moved = np.flatnonzero(np.abs(y - y[-1]) > tol)
    return int(y.size - 1 - moved[-1]) if moved.size else int(y.size)


def cosine(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """Half a cosine wave, which may be cut, or go on as torch's `CosineAnnealingLR` does."""
    fit = cosine_fit(t, y, tol)
    if fit is None:
        return
    length, high, low = fit
    steps = round(length)
    if steps >= 1 and low > -tol and high > 0:
        params = {"steps": steps, **({"min_lr": low} if low > tol else {})}
        yield Piece("cosine", params, high)


def cosine_fit(t: Values, y: Values, tol: float) -> tuple[float, float, float] | None:
    """Length of half a wave, first and last rate of the cosine through all points, or None."""
    t, y = sample(t, y)
    span = float(t[-1])
    if t.size < 4 or span <= 0:
        return None

    def solved(speeds: Values) -> tuple[Values, Values, Values]:
        wave = np.cos(np.outer(speeds, t))
        centre = wave.mean(axis=1, keepdims=True)
        centred = wave - centre
        slope = centred @ y / np.maximum((centred**2).sum(axis=1), _TINY)
        level = y.mean() - slope * centre[:, 0]
        errors = level[:, None] + slope[:, None] * wave - y
        return (errors**2).sum(axis=1), level, slope

    most = min(1.0 / np.diff(t).min(), 64 / span)
    grid = np.concatenate([np.geomspace(0.02, 0.5, 16) / span, np.arange(0.55, most * span, 0.25)
                           / span])  # fmt: skip
    speed = _minimum(lambda speeds: solved(speeds)[0], np.pi * grid)
    _, level, slope = (float(value[0]) for value in solved(np.array([speed])))
    error = float(np.abs(level + slope * np.cos(speed * t) - y).max())
    if error > 4 * tol or slope <= 0:
        return None
    return np.pi / speed, level + slope, level - slope


def polynomial(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """A power of the share of steps that are left, which may end at zero."""
    t, y = sample(t[: np.count_nonzero(y > tol) + 1], y[: np.count_nonzero(y > tol) + 1])
    positive = y > tol
    if positive.sum() < 4 or y.max() != y[0]:
        return
    head, rates = t[positive], y[positive]
    last = float(head[-1])

    weights = rates / rates.sum()
    logs = np.log(rates) - weights @ np.log(rates)

    def solved(rests: Values) -> tuple[Values, Values, Values]:
        left = np.log1p(-head / (last + rests[:, None]))
        centre = left @ weights
        x = left - centre[:, None]
        power = (x * weights) @ logs / np.maximum((x * x * weights).sum(axis=1), _TINY)
        level = weights @ np.log(rates) - power * centre
        errors = np.exp(level[:, None] + power[:, None] * left) - rates
        return (errors**2).sum(axis=1), power, level

    grid = np.geomspace(0.2, 20 * max(last, 1.0), 48)
    rest = _minimum(lambda rests: solved(rests)[0], grid)
    steps = round(last + rest)
    if steps <= last:
        return
    _, power, level = (float(value[0]) for value in solved(np.array([steps - last])))
    error = np.abs(np.exp(level + power * np.log1p(-head / steps)) - rates).max()
    if error <= 4 * tol and power > 0 and abs(power - 1) > _LINE:
        yield Piece("polynomial", {"steps": steps, "power": power}, float(np.exp(level)))


def _minimum(function: Callable[[Values], Values], grid: Values) -> float:
    """The best point of a grid, refined between its neighbours by golden sections."""
    values = function(grid)
    best = int(np.argmin(values))
    low, high = float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)])
    finest = _FINEST * high

    def value_at(point: float) -> float:
        return float(function(np.array([point]))[0])

    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = value_at(left), value_at(right)
    while high - low > finest:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = value_at(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = value_at(right)
    refined, at_refined = (left, at_left) if at_left <= at_right else (right, at_right)
    return refined if at_refined < values[best] else float(grid[best])

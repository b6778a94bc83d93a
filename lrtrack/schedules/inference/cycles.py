"""Fits of schedules that rise and fall: restarts, cycles, and one cycle.

Conventions are those of `smooth.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrtrack.schedules.catalogue import SKIP
from lrtrack.schedules.inference.pieces import Piece, Values
from lrtrack.schedules.inference.smooth import cosine_fit, line_fit, line_length, sample

#: torch's defaults of `OneCycleLR`.
_PEAK_AT, _FIRST, _LAST = 0.3, 25.0, 1e4
#: The longest growth of cycles that is tried if only one restart was recorded.
_GROWTHS = (1, 2, 3, 4)


def cosine_restarts(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """Half waves that begin again at the top, each as long as the one before or longer."""
    rises = np.diff(y)
    jumps = np.flatnonzero(rises > max(0.25 * float(np.ptp(y)), tol)) + 1
    if not jumps.size or jumps[0] < 2:
        return
    first = int(t[jumps[0]])
    low = 0.0
    fit = cosine_fit(t[: jumps[0]], y[: jumps[0]], tol)
    base = float(y[0])
    if fit is not None:
        first, base, low = round(fit[0]), fit[1], fit[2]
    growths = list(_GROWTHS)
    if jumps.size > 1:
        growths = [max(1, round(float(t[jumps[1]] - first) / first))]
    for growth in growths:
        params = {"steps": first, **({"factor": growth} if growth > 1 else {})}
        yield Piece("cosine_restarts", params | ({"min_lr": low} if low > tol else {}), base)


def entered_cosine(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """Half a cosine wave without its first steps: its own steps count the warm-up before it."""
    t, y = sample(t, y)
    if t.size < 5 or y[1] > y[0] + tol:
        return
    wave = _falling_wave(t, y, tol)
    if wave is None:
        return
    skip = round(-wave[0])
    steps = round(wave[1]) + skip
    if not 1 <= skip < steps:
        return
    shares = (1 + np.cos(np.pi * (t + skip) / steps)) / 2
    slope, low = line_fit(shares, y)
    if low > -tol and slope > 0:
        least = {"min_lr": low} if low > tol else {}
        yield Piece("cosine", {"steps": steps, **least, SKIP: skip}, low + slope)


def cyclic(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """Lines up and down between two rates, the height of which may shrink."""
    ups = np.diff(y) > 0
    turns = np.flatnonzero(ups[1:] != ups[:-1]) + 1
    if turns.size < 2 or not ups[0]:
        return
    vertices = [_crossing(t, y, int(turns[0]), ups), _crossing(t, y, int(turns[1]), ups)]
    low = float(y[0] - t[0] * (y[1] - y[0]) / (t[1] - t[0]))
    if low < -tol:
        return
    low = max(low, 0.0)
    for up in {round(vertices[0]), int(t[turns[0]])}:
        for down in {round(vertices[1]) - up, int(t[turns[1]]) - up}:
            if up >= 1 and down >= 1:
                yield from _heights(t, y, low, up, down)


def _heights(t: Values, y: Values, low: float, up: int, down: int) -> Iterator[Piece]:
    cycle, place = np.divmod(t, up + down)
    height = np.where(place <= up, place / up, (up + down - place) / down)
    high = height > 0.1
    scale = (y[high] - low) / height[high]
    lengths = {"steps": up, **({"step_size_down": down} if down != up else {})}
    params = {"min_lr": low, "max_lr": low + float(scale[0]), **lengths}
    yield Piece("cyclic", params)
    halved = scale * 2.0 ** cycle[high]
    high_rate = low + float(np.median(halved))
    yield Piece("cyclic", {**params, "max_lr": high_rate, "mode": "triangular2"})
    if (scale > 0).all() and scale.size > 2:
        slope, level = line_fit(t[high], np.log(scale))
        if abs(slope) < 50 and level < 50:
            gamma = {"mode": "exp_range", "gamma": float(np.exp(slope))}
            yield Piece("cyclic", {**params, "max_lr": low + float(np.exp(level)), **gamma})


def _crossing(t: Values, y: Values, turn: int, ups: np.ndarray) -> float:
    """Where the lines before and after a turn meet, which may be between two records."""
    before, after = max(0, turn - 1), min(turn + 1, y.size - 1)
    if turn < 2 or turn + 2 >= y.size or ups[turn - 2] != ups[turn - 1]:
        return float(t[turn])
    if after + 1 < y.size and ups[after] == ups[turn]:
        rise = (y[before] - y[before - 1]) / (t[before] - t[before - 1])
        fall = (y[after + 1] - y[after]) / (t[after + 1] - t[after])
        if rise != fall:
            meeting = (y[after] - y[before] + rise * t[before] - fall * t[after]) / (rise - fall)
            if t[before] <= meeting <= t[after]:
                return float(meeting)
    return float(t[turn])


def onecycle(t: Values, y: Values, tol: float) -> Iterator[Piece]:
    """One rise and one fall, or two falls, in cosines or in lines."""
    top = int(np.argmax(y))
    if not 1 <= top < y.size - 2 or t[0] != 0 or not (y > 0).all():
        return
    yield from _two_phases(t, y, top, tol)
    yield from _three_phases(t, y, top, tol)


def _two_phases(t: Values, y: Values, top: int, tol: float) -> Iterator[Piece]:
    for start in (top, top + 1):
        wave = _falling_wave(t[start:], y[start:], tol)
        if wave is not None:
            peak, end, high, low = wave
            yield _one_cycle(high, end + 1, peak, float(y[0]), low)
    rise = (y[1] - y[0]) / t[1]
    for start in (top, top + 1):
        head, rates = t[start:], y[start:]
        if head.size < 2 or line_length(head, rates, tol) < head.size or rise <= 0:
            continue
        fall = (rates[-1] - rates[0]) / (head[-1] - head[0])
        peak = float((rates[0] - fall * head[0] - y[0]) / (rise - fall))
        high = float(y[0] + rise * peak)
        usual = float(y[0]) / _LAST
        end = peak + (high - usual) / -fall if fall < 0 else 0.0
        cycle = _one_cycle(high, end + 1, peak, float(y[0]), usual, linear=True)
        # With other divisors it is what most call a warm-up and a linear decay.
        if not {"div_factor", "final_div_factor"} & cycle.params.keys():
            yield cycle


def _three_phases(t: Values, y: Values, top: int, tol: float) -> Iterator[Piece]:
    first, last = float(y[0]), float(y[-1])
    wave = cosine_fit(t[: top + 1], -y[: top + 1], tol)
    rise = (y[1] - y[0]) / t[1]
    if wave is not None:
        peak, high = wave[0], -wave[2]
        yield _one_cycle(high, float(t[-1]) + 1, peak, first, last, three=True)
        after = np.flatnonzero(t > 2 * peak)
        third = _falling_wave(t[after], y[after], tol)
        if third is not None:
            yield _one_cycle(high, third[1] + 1, peak, first, third[3], three=True)
    if rise > 0:
        fall = (y[top + 2] - y[top + 1]) / (t[top + 2] - t[top + 1])
        peak = float((y[top + 1] - fall * t[top + 1] - y[0]) / (rise - fall))
        high = float(y[0] + rise * peak)
        usual = first / _LAST
        for end, low in ((float(t[-1]), last), (2 * peak + (first - usual) / rise, usual)):
            yield _one_cycle(high, end + 1, peak, first, low, linear=True, three=True)


def _one_cycle(
    high: float,
    total: float,
    peak: float,
    first: float,
    last: float,
    *,
    linear: bool = False,
    three: bool = False,
) -> Piece:
    steps = max(1, round(total))
    share = (peak + 1) / steps
    params = {
        "max_lr": high,
        "steps": steps,
        **({"pct_start": share} if abs(share - _PEAK_AT) > 1e-4 else {}),
        **({"anneal_strategy": "linear"} if linear else {}),
        **_divisor("div_factor", high, first, _FIRST),
        **_divisor("final_div_factor", first, last, _LAST),
        **({"three_phase": True} if three else {}),
    }
    return Piece("onecycle", params, high)


def _divisor(name: str, above: float, below: float, usual: float) -> dict[str, float]:
    if below <= 0 or abs(above / below - usual) <= 1e-3 * usual:
        return {}
    return {name: above / below}


def _falling_wave(t: Values, y: Values, tol: float) -> tuple[float, float, float, float] | None:
    """Where the half wave through all points begins and ends, and its first and last rate."""
    if t.size < 5:
        return None
    # A wave from any point is a cosine and a sine of the same speed; the search is over the speed.
    span = float(np.ptp(t))
    low, high = np.pi / (8 * span), 2 * np.pi / span
    best: tuple[float, float] = (np.inf, low)
    chosen = np.unique(np.linspace(0, t.size - 1, 200).round().astype(int))
    x, z = t[chosen] - t[0], y[chosen]
    for _ in range(6):
        speeds = [float(speed) for speed in np.linspace(low, high, 32)]
        errors = _wave_errors(x, z, np.array(speeds)).tolist()
        best = min(best, *zip(errors, speeds, strict=True))
        width = (high - low) / 31
        low, high = max(best[1] - width, 1e-12), best[1] + width
    if best[0] > 8 * tol:
        return None
    speed = best[1]
    _, (level, cosine, sine) = _wave(x, z, speed)
    size, phase = float(np.hypot(cosine, sine)), float(np.arctan2(sine, cosine)) / speed
    begin = float(t[0]) + phase
    return begin, begin + np.pi / speed, float(level) + size, float(level) - size


def _wave_errors(t: Values, y: Values, speeds: Values) -> Values:
    """The largest error of the best wave of each speed, by the normal equations."""
    angles = np.outer(speeds, t)
    cosines, sines = np.cos(angles), np.sin(angles)
    cosines -= cosines.mean(axis=1, keepdims=True)
    sines -= sines.mean(axis=1, keepdims=True)
    rates = y - y.mean()
    cc, ss = (cosines**2).sum(axis=1), (sines**2).sum(axis=1)
    cs, cy, sy = (cosines * sines).sum(axis=1), cosines @ rates, sines @ rates
    scale = np.maximum(cc * ss - cs**2, 1e-300)
    a, b = (ss * cy - cs * sy) / scale, (cc * sy - cs * cy) / scale
    errors: Values = np.abs(a[:, None] * cosines + b[:, None] * sines - rates).max(axis=1)
    return errors


def _wave(t: Values, y: Values, speed: float) -> tuple[Values, Values]:
    table = np.stack([np.ones_like(t), np.cos(speed * t), np.sin(speed * t)], axis=1)
    solution = np.linalg.lstsq(table, y, rcond=None)[0]
    return table @ solution - y, solution

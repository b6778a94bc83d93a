"""Divides a curve into pieces, each of which one kind of schedule describes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lrtrack.schedules.catalogue import SKIP
from lrtrack.schedules.inference import cycles, levels, smooth
from lrtrack.schedules.inference.pieces import Piece, Values
from lrtrack.schedules.inference.texts import error_of

Chain = list[Piece]
_Fit = Callable[[Values, Values, float], Iterator[Piece]]

#: Fits of a whole curve or of its last piece, by how often they occur.
_LINES: Sequence[_Fit] = (smooth.constant, smooth.linear, levels.drops)
_CURVES: Sequence[_Fit] = (
    smooth.cosine, smooth.exponential, smooth.inverse_sqrt, smooth.one_minus_sqrt,
    smooth.polynomial, cycles.entered_cosine, cycles.cosine_restarts,
)  # fmt: skip
#: Fits of a whole curve alone: in a chain, torch's classes would change the other pieces' rates.
_ALONE: Sequence[_Fit] = (cycles.cyclic, cycles.onecycle)
#: Curves that can be followed by another piece before their natural end.
_SMOOTH: Sequence[_Fit] = (
    smooth.cosine,
    smooth.exponential,
    smooth.inverse_sqrt,
    smooth.polynomial,
)
#: The most pieces of a chain, and the fewest records on a line inside one: two points of a bend
#: always lie on a line.
_DEEPEST, _FEWEST = 8, 4
#: How many parts of a curve one search fits, which bounds its time; and for how many parts it
#: counts to find out where a curve was cut.
_BUDGET, _DEAR = 40, 4
#: The number of records above which a search has half the budget.
_LONG = 20_000
#: The most drops of a schedule that is not searched for a shorter one.
_DROPS = 12
#: The most steps between two records that are all tried as the end of a line.
_BETWEEN = 16


def chains(t: Values, y: Values, tol: float, fine: float, *, depth: int = _DEEPEST) -> list[Chain]:
    """Chains of pieces that may describe a curve, a few at most.

    Args:
        t: steps, counted from the beginning of the first piece, shape (n,), ascending.
        y: learning rates, shape (n,).
        tol: how far a piece may be from the curve.
        fine: how far a line may be from the curve to find out where it ends, because a smooth bend
            leaves it slowly.
        depth: the most pieces; fewer than usual for the rest of a curve, in which no curve is cut.
    """
    for cuts_curves in (False, True) if depth == _DEEPEST else (False,):
        budget = _BUDGET if t.size <= _LONG else _BUDGET // 2
        found = _Search(tol, fine, cuts_curves, budget).chains(t, y, depth)
        if found:
            return found
    return []


class _Search:
    """A depth-first search for chains.

    Args:
        tol, fine: as for `chains`.
        cuts_curves: whether a cosine, power or root may end early, which takes long to find out.
        budget: how many parts of the curve it fits.
    """

    def __init__(self, tol: float, fine: float, cuts_curves: bool, budget: int) -> None:
        self._tol = tol
        self._fine = fine
        self._cuts_curves = cuts_curves
        self._budget = budget

    def chains(self, t: Values, y: Values, depth: int) -> list[Chain]:
        """Chains of at most `depth` pieces; empty if the budget is used up."""
        self._budget -= 1
        if self._budget < 0:
            return []
        fits = (*_LINES, *_CURVES, *(_ALONE if depth == _DEEPEST else ()))
        found: list[Chain] = [[piece] for piece in self._whole(t, y, fits)]
        found += [pieces for pieces in levels.constants(t, y, self._tol) if depth == _DEEPEST]
        staircase = levels.reduced(t, y, self._tol)
        if staircase is not None:
            own, rates, interval = staircase
            inner = self.chains(own, rates, depth)
            held = ([piece.at_intervals(interval) for piece in pieces] for pieces in inner)
            found += [pieces for pieces in held if close(pieces, t, y, self._tol)]
        if any(map(_is_short, found)) or depth <= 1:
            return found
        return found + self._divided(t, y, depth)

    def _divided(self, t: Values, y: Values, depth: int) -> list[Chain]:
        """Chains of at least two pieces."""
        cut = smooth.line_length(t, y, self._fine)
        found: list[Chain] = []
        if self._cuts_curves and cut < _FEWEST:
            found = list(self._after_curve(t, y, depth))
        found = found or [*self._after_line(t, y, cut, depth), *self._before_tail(t, y)]
        if not found and self._cuts_curves and cut >= _FEWEST:
            found = list(self._after_curve(t, y, depth))
        return found

    def _whole(self, t: Values, y: Values, fits: Sequence[_Fit]) -> Iterator[Piece]:
        for fit in fits:
            yield from _fitted(fit, t, y, self._tol)

    def _after_line(self, t: Values, y: Values, cut: int, depth: int) -> list[Chain]:
        """Chains that begin with a line or a constant rate, on which `cut` records are."""
        if cut >= t.size or (depth < _DEEPEST and cut < _FEWEST and np.ptp(y[:cut]) > 0):
            return []
        equal = int(np.argmax(y != y[0]))
        if cut < 2 * equal and equal >= _FEWEST:  # with rounded rates, the line leads past its end
            cut = equal
        slope = float((y[cut - 1] - y[0]) / (t[cut - 1] - t[0])) if cut > 1 else 0.0
        start = float(y[0] - slope * t[0])
        found: list[Chain] = []
        for step in _cuts(t, y, cut, start, slope):
            rest = int(np.searchsorted(t, step))
            leads = [_line(start, slope, step, float(y[0]))]
            if 1 < cut < t.size and y[cut - 1] > max(y[0], y[cut]) and step > t[cut - 1]:
                leads.append(_held(start, slope, int(t[cut - 1]), step))
            if any(leads) and rest < t.size:
                inner = self.chains(t[rest:] - step, y[rest:], depth - 1)
                joined = ([lead, *pieces] for pieces in inner for lead in leads if lead)
                found += [pieces for pieces in joined if close(pieces, t, y, self._tol)]
            if found and t[cut] - t[cut - 1] > 1:  # the likeliest of many
                break
        return found

    def _before_tail(self, t: Values, y: Values) -> Iterator[Chain]:
        """Chains of one curve and the constant rate after its end."""
        size = smooth.flat_tail(y, self._tol)
        begin = t.size - size
        if size < 2 or begin < 3:
            return
        tail = Piece("constant", {"factor": float(np.median(y[begin:]))})
        for piece in self._whole(t[:begin], y[:begin], _CURVES):
            own, skip = piece.params.get("steps"), piece.params.get(SKIP, 0)
            end = own - skip if isinstance(own, int) and isinstance(skip, int) else 0
            if t[begin - 1] < end <= t[-1]:  # its natural end, near which it is almost constant
                yield [piece.until(end), tail]
            if not t[begin - 1] < end <= t[begin]:
                yield [piece.until(int(t[begin])), tail]

    def _after_curve(self, t: Values, y: Values, depth: int) -> Iterator[Chain]:
        """Chains that begin with a curve which is cut by the next piece."""
        for fit in _SMOOTH:
            self._budget -= _DEAR
            if self._budget < 0:
                return
            piece, size = _longest(fit, t, y, self._tol)
            if piece is not None and size < t.size:
                begin = int(t[size])
                for pieces in self.chains(t[size:] - begin, y[size:], depth - 1):
                    yield [piece.until(begin), *pieces]


def _is_short(pieces: Chain) -> bool:
    """Whether no piece lists so many drops that they may be a curve."""
    lists = (piece.params.get("milestones") for piece in pieces)
    return not any(isinstance(drops, list) and len(drops) > _DROPS for drops in lists)


def _line(start: float, slope: float, steps: int, level: float) -> Piece | None:
    end = start + slope * steps
    if steps < 1 or min(start, end) < -1e-9 * max(abs(start), abs(end)):
        return None
    if slope == 0 or start == end:
        return Piece("constant", {"factor": level}, lasts=steps)
    params = {"start": max(start, 0.0), "end": max(end, 0.0), "steps": steps}
    return Piece("linear", params, lasts=steps)


def _held(start: float, slope: float, steps: int, lasts: int) -> Piece | None:
    """A rise to the last record on its line, from which the next piece falls at once."""
    rise = _line(start, slope, steps, start)
    return None if rise is None else rise.until(lasts)


def _cuts(t: Values, y: Values, cut: int, start: float, slope: float) -> list[int]:
    """Steps at which the next piece may begin, the likeliest first."""
    before, after = int(t[cut - 1]), int(t[cut])
    if after - before == 1:
        return [before, after] if before > 0 else [after]
    steps = [before, after]
    count = min(4, t.size - cut)
    if count >= 2:  # extend the next piece backwards until it meets the line
        known = np.polyfit(t[cut : cut + count] - after, y[cut : cut + count], count - 1)
        known[-1] -= start + slope * after
        known[-2] -= slope
        meetings = np.roots(known) + after if np.isfinite(known).all() else np.empty(0)
        real = meetings[np.abs(meetings.imag) < 1e-6].real
        for meeting in real[(real >= before - 1) & (real <= after + 1)]:
            nearest = round(float(meeting))
            steps = [nearest, nearest - 1, nearest + 1, *steps]
    if after - before <= _BETWEEN:
        steps += range(before + 1, after)
    return [step for step in dict.fromkeys(steps) if before <= step <= after and step > 0]


def _fitted(fit: _Fit, t: Values, y: Values, tol: float) -> list[Piece]:
    """The pieces of one kind that are near the curve."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # polyfit's, on points that lie on no line
            return [piece for piece in fit(t, y, tol) if close([piece], t, y, tol)]
    except (ArithmeticError, ValueError):  # numbers of extremely different sizes
        return []


def _longest(fit: _Fit, t: Values, y: Values, tol: float) -> tuple[Piece | None, int]:
    """The piece that describes the most points from the beginning, and their number."""

    def fitted(size: int) -> Piece | None:
        return next(iter(_fitted(fit, t[:size], y[:size], tol)), None)

    good, piece = 8, fitted(8) if t.size > 8 else None
    if piece is None:
        return None, 0
    bad = t.size + 1
    while bad - good > 1:
        size = min(good * 2, (good + bad) // 2)
        longer = fitted(size)
        if longer is None:
            bad = size
        else:
            good, piece = size, longer
    return piece, good


def close(pieces: Chain, t: Values, y: Values, tol: float) -> bool:
    """Whether a chain is near a sample of the curve, before its text is tried on all of it."""
    return error_of(pieces, *smooth.sample(t, y)) <= 8 * tol

"""`infer_schedule()`: the schedule that recorded learning rates follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrtrack.errors import UsageError
from lrtrack.fields import JSON
from lrtrack.schedules.inference import levels
from lrtrack.schedules.inference.pieces import Piece, Values, joined, merged
from lrtrack.schedules.inference.polyline import piecewise
from lrtrack.schedules.inference.rough import rise_and_decay
from lrtrack.schedules.inference.search import chains
from lrtrack.schedules.inference.texts import distance, shortened, shortest
from lrtrack.schedules.schedule import CONSTANT, INFERRED, Schedule
from lrtrack.schedules.spec import Stage, write

#: How far a formula may be from the curve, as shares of its peak: first the error of 32-bit
#: numbers, then what inexact rates need, then as far as straight lines.
_TIGHT, _LOOSE, _ROUGH = 1e-6, 2.5e-4, 2.5e-3
#: How far rates may be from a line that they are on, as a share of the tolerance.
_FINE = 1e-4
#: How far numbers in the text may be shortened, and how far straight lines may be from a curve.
_SHORTENED, _LINES = 1e-4, 4e-3
#: Rates that are no part of the curve, as a share of its peak, and of any curve.
_NOTHING, _SMALLEST = 1e-30, 1e-300
#: How much shorter a text must be whose peak lies above all rates, between two steps.
_UNUSED = 12
#: A curve with fewer different rates is not searched for rounding, which its levels would imitate.
_MANY = 16


#: Stages, the initial learning rate, and how far shortened numbers may be from the curve.
_Spec = tuple[list[Stage], float, float]


@dataclass(frozen=True)
class InferredSchedule:
    """A schedule that describes recorded learning rates.

    Attributes:
        spec: its text, which `lrtrack.scheduler` and `lrtrack.simulate` accept.
        base_lr: the initial learning rate to build it with.
        schedule: name and parameters. The id comes from parameters rounded to 3 significant
            digits, so that recorded curves that differ by noise have the same.
        error: the largest distance from the recorded rates, as a share of their peak.
    """

    spec: str
    base_lr: float
    schedule: Schedule
    error: float


def infer_schedule(lr: ArrayLike, step: ArrayLike | None = None) -> InferredSchedule:
    """Find the schedule that recorded learning rates follow.

    Every kind that a spec can name is tried, and chains of them: the shortest text of those that
    fit is chosen. Rates that move once in k steps get `interval=k`. A curve that no kind describes
    becomes `piecewise`, straight lines between points.

    Args:
        lr: learning rates, shape (n,), at least one of them finite; others are ignored.
        step: the optimizer steps that used them, counted from 0, shape (n,); None: 0 to n - 1.

    Returns:
        The schedule. `lrtrack.simulate(found.spec, n, lr=found.base_lr)` gives the curve again:
        within 0.1 % of its peak if kinds of the catalogue describe it, else within 1 %.

    Raises:
        UsageError: the arguments differ in shape, or hold no rate, or a negative one.
    """
    curve = _Curve.of(lr, step)
    if float(np.ptp(curve.y)) <= 2 * max(1e-12 * curve.peak, curve.single):
        return _result(curve, [Stage(CONSTANT)], float(curve.y[0]))
    specs: list[_Spec] = []
    for share, noise in curve.tolerances:
        # rounding explains rates that exact formulas describe if it needs fewer pieces
        most = len(min(specs, key=curve.length)[0]) if specs else np.inf
        specs += [spec for spec in _specs(curve, share, noise) if len(spec[0]) < most]
        if specs and (noise or not curve.rounded):
            break
    stages, base, near = min(specs, key=curve.length)
    return _result(curve, shortened(stages, base, curve.t, curve.y, near), base)


def _specs(curve: _Curve, share: float, noise: float) -> list[_Spec]:
    tol = max(share * curve.peak, 2 * noise)
    near = max(_SHORTENED * curve.peak, tol)
    specs = []
    for pieces in _chains(curve, share, tol, noise):
        for form in (pieces, merged(pieces, curve.peak), joined(pieces)):
            specs += [shortest(form, curve.t, curve.y, 4 * tol, near) if form else None]
    specs += _lines(curve) if share == _ROUGH else []
    return [(*spec, near) for spec in specs if spec is not None]


def _chains(curve: _Curve, share: float, tol: float, noise: float) -> list[list[Piece]]:
    if share == _ROUGH:
        return rise_and_decay(curve.t, curve.y, tol)
    return chains(curve.t, curve.y, tol, max(_FINE * tol, 2 * noise))


def _lines(curve: _Curve) -> list[tuple[list[Stage], float]]:
    """Specs of straight lines, one of them at least."""
    tol = _LINES * curve.peak
    forms: list[Piece] = [piecewise(curve.t, curve.y, tol, curve.peak)]
    staircase = levels.reduced(curve.t, curve.y, tol)
    if staircase is not None:
        own, rates, interval = staircase
        forms.append(piecewise(own, rates, tol, curve.peak).at_intervals(interval))
    specs = (shortest([form], curve.t, curve.y, 2 * tol, 2 * tol) for form in forms)
    return [spec for spec in specs if spec is not None]


def _result(curve: _Curve, stages: Sequence[Stage], base: float) -> InferredSchedule:
    error = distance(stages, base, curve.t, curve.y) / curve.peak if curve.peak else 0.0
    return InferredSchedule(write(list(stages)), base, schedule_of(stages), error)


def schedule_of(stages: Sequence[Stage]) -> Schedule:
    """The `Schedule` of an inferred spec: its kinds and their parameters as the text has them."""
    if len(stages) == 1:
        return Schedule(stages[0].name, stages[0].params, INFERRED)
    name = " -> ".join(stage.name for stage in stages)
    parts: list[JSON] = [{"name": stage.name, **stage.params} for stage in stages]
    return Schedule(name, {"schedulers": parts}, INFERRED)


@dataclass(frozen=True)
class _Curve:
    """Recorded learning rates in the order of their steps.

    Attributes:
        t: steps, shape (n,), ascending.
        y: learning rates, shape (n,), finite, at least 0.
    """

    t: Values
    y: Values

    @classmethod
    def of(cls, lr: ArrayLike, step: ArrayLike | None) -> _Curve:
        y = np.asarray(lr, dtype=np.float64)
        t = np.arange(y.size, dtype=np.float64) if step is None else np.asarray(step, np.float64)
        if y.ndim != 1 or t.shape != y.shape:
            raise UsageError(
                f"lr and step must be lists of the same length, got shapes {y.shape} and {t.shape}"
            )
        known = np.isfinite(y) & np.isfinite(t)
        t, y = t[known], y[known]
        if not y.size:
            raise UsageError("lr has no finite learning rate")
        if (y < -1e-9 * np.abs(y).max()).any() or (t < 0).any():
            raise UsageError("learning rates and steps must be at least 0")
        # torch's recursive formulas end slightly below 0
        y = np.where(y > max(_NOTHING * y.max(), _SMALLEST), y, 0.0)
        steps, last = np.unique(np.floor(t)[::-1], return_index=True)
        return cls(steps, y[::-1][last])  # the last rate of each step

    @cached_property
    def peak(self) -> float:
        """The largest rate."""
        return float(self.y.max())

    @cached_property
    def single(self) -> float:
        """The rounding error of 32-bit rates; 0 for others."""
        return 6e-8 * self.peak if (self.y.astype(np.float32) == self.y).all() else 0.0

    @cached_property
    def rounded(self) -> float:
        """The largest rounding error of the rates if all have few digits; else 0."""
        values = np.unique(self.y[self.y > 0])
        if values.size < _MANY:
            return 0.0
        for digits in range(3, 8):
            scales = 10.0 ** (digits - 1 - np.floor(np.log10(values)))
            if _whole(values * scales):
                return float(0.5 * (1 / scales).max())
        for decimals in range(3, 10):
            if _whole(values * 10.0**decimals):
                return float(0.5 * 10.0**-decimals)
        return 0.0

    def length(self, spec: _Spec) -> int:
        """The length of a text, more where its initial rate is one that no step has used."""
        stages, base, _ = spec
        return len(write(stages)) + (_UNUSED if base > self.peak * (1 + _LOOSE) else 0)

    @property
    def tolerances(self) -> Iterator[tuple[float, float]]:
        """Shares of the peak and rounding errors to try, the strictest first.

        Exact rates may have few digits, too, so rounding is the second explanation.
        """
        yield _TIGHT, self.single
        if self.rounded:
            yield _TIGHT, self.rounded
        yield _LOOSE, self.rounded or self.single
        yield _ROUGH, self.rounded or self.single


def _whole(values: NDArray[np.float64]) -> bool:
    return bool(np.abs(values - np.round(values)).max() < 1e-6)

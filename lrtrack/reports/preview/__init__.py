"""A preview of schedules before any training, independent of the output format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.reports.downsampling import extremes
from lrtrack.schedules.catalogue import stages_of

Rates = NDArray[np.float64]
#: The most points of a curve in a chart; longer curves are downsampled, but never in CSV.
POINTS = 4000
#: Relative difference of rates that is only rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Curve:
    """One schedule.

    Attributes:
        label: the spec.
        rates: learning rates by step, shape (steps,).
    """

    label: str
    rates: Rates

    @property
    def summary(self) -> tuple[str, str, str, str]:
        """First, highest (with the first step that has it) and last rate, as text."""
        # Rounding must not decide which one of equal peaks is the first.
        peak = int(np.argmax(self.rates >= self.rates.max() * (1 - _ROUNDING)))
        first, highest, last = (float(self.rates[at]) for at in (0, peak, -1))
        return rate_text(first), rate_text(highest), str(peak), rate_text(last)


#: Titles of `Curve.summary`.
SUMMARY = ("first", "highest", "at step", "last")


@dataclass(frozen=True)
class Preview:
    """Curves over the same steps, with notes on them."""

    title: str
    curves: Sequence[Curve]
    notes: Sequence[str] = ()

    @property
    def steps(self) -> int:
        """The number of steps of each curve."""
        return len(self.curves[0].rates)


def preview_of(rates: Mapping[str, Rates], lr: float, seconds_per_step: float) -> Preview:
    """Build the preview of simulated schedules.

    Args:
        rates: for each spec its learning rates, shape (steps,), all of one length.
        lr: the initial learning rate of the simulation.
        seconds_per_step: the duration of a step in the simulation.
    """
    curves = [Curve(spec, values) for spec, values in rates.items()]
    steps = len(curves[0].rates)
    kinds = {stage.name for spec in rates for stage in stages_of(spec)}
    notes = []
    if "plateau" in kinds:
        notes.append("plateau: as for a metric that never improves, given to it at each step.")
    if "time" in kinds:
        notes.append(f"time: as at {seconds_per_step:g} s a step (--seconds-per-step).")
    counted = f"{steps:,} steps" if steps > 1 else "1 step"
    return Preview(f"Learning rate over {counted}, initial rate {lr:g}", curves, notes)


def rate_text(rate: float) -> str:
    """A learning rate with four significant digits."""
    return f"{rate:.4g}"


def thinned(rates: Rates, most: int = POINTS) -> tuple[NDArray[np.int64], Rates]:
    """Steps and rates for a chart: all, or at most `most` that keep every rise and fall visible."""
    if rates.size <= most:
        return np.arange(rates.size), rates
    indices = extremes(rates, max(2, most - 2))  # it adds the first and the last point
    return indices, rates[indices]

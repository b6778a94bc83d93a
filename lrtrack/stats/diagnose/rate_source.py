"""LR031: the learning rate was not the scheduler's own, because something else moved it too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrtrack.number_text import times
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis

#: How far a rate may be from the scheduler's, as a share of its largest: the error of 32-bit rates.
_NEAR = 1e-6


@dataclass(frozen=True)
class RateMismatch:
    """Learning rates that the scheduler has not set.

    Attributes:
        step: the first of them.
        last: the last of them.
        lr: the rate of the first; `expected`: the scheduler's at its position.
    """

    step: int
    last: int
    lr: float
    expected: float


def rate_mismatch(
    steps: NDArray[np.int64], rates: NDArray[np.float64], expected: NDArray[np.float64]
) -> RateMismatch | None:
    """Compare recorded rates with those of the scheduler, all of shape (n,); NaN is left out."""
    known = np.isfinite(rates) & np.isfinite(expected)
    largest = float(np.abs(expected[known]).max(initial=0.0))
    wrong = np.flatnonzero(known & (np.abs(rates - expected) > _NEAR * largest))
    if not wrong.size:
        return None
    first = int(wrong[0])
    last = int(steps[wrong[-1]])
    return RateMismatch(int(steps[first]), last, float(rates[first]), float(expected[first]))


def moved_otherwise(run: RunFacts) -> Diagnosis | None:
    """LR031: something else than the scheduler moved the learning rate."""
    observed = run.observations
    mismatch = None if observed is None or observed.jumps else observed.mismatch
    if mismatch is None:
        return None
    by = f", {times(mismatch.lr / mismatch.expected)} that" if mismatch.expected else ""
    message = (
        f"from step {mismatch.step:,} on, the learning rate was not {run.name}'s alone: it was "
        f"{mismatch.lr:.4g} instead of {mismatch.expected:.4g}{by}; it "
        f"differed up to step {mismatch.last:,}."
    )
    return diagnosis(
        "LR031",
        message,
        "let one scheduler set the rate; lrtrack.scheduler() builds a warm-up and the schedule "
        "after it as one. Ignore this if you set the rate by hand on purpose: the recorded rates "
        "are what the steps used",
    )


RULES = (moved_otherwise,)

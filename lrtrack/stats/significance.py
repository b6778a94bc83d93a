"""Tests whether two schedules differ by more than their seeds do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.stats.intervals import SEED
from lrtrack.stats.summary import Mode

#: Two schedules differ significantly if their p-value is below this.
LEVEL = 0.05
#: The test is exact up to this many permutations: 8 runs against 8, or 14 pairs of seeds.
PERMUTATIONS = 20_000


@dataclass(frozen=True)
class Sample:
    """One side of a test.

    Attributes:
        values: one per run; infinite or NaN if the run diverged.
        seeds: one per run.
    """

    values: tuple[float, ...]
    seeds: tuple[int | None, ...]


def paired(one: Sample, other: Sample) -> bool:
    """Whether both sides ran the same seeds, each once, so that runs can be paired."""
    return (
        None not in one.seeds
        and len(set(one.seeds)) == len(one.seeds)
        and len(one.seeds) == len(other.seeds)
        and set(one.seeds) == set(other.seeds)
    )


def p_value(one: Sample, other: Sample, mode: Mode) -> float | None:
    """Two-sided permutation test on the means, exact up to `PERMUTATIONS` permutations.

    Runs are paired by seed if both sides ran the same seeds. A diverged run counts as worse than
    every value of both sides, by the range of those values: both sides are treated alike, so the
    test stays valid.

    Returns:
        The p-value; None if either side has fewer than 2 runs.
    """
    if min(len(one.values), len(other.values)) < 2:
        return None
    pairs = paired(one, other)
    sample_values, other_values = (_ordered(sample, by_seed=pairs) for sample in (one, other))
    pooled = _without_gaps(np.concatenate((sample_values, other_values)), mode)
    result = load("scipy.stats").permutation_test(
        (pooled[: sample_values.size], pooled[sample_values.size :]),
        _difference,
        permutation_type="samples" if pairs else "independent",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=1000,
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def p_improvement(one: Sample, other: Sample, mode: Mode) -> float | None:
    """The probability that a run of `one` is better than a run of `other`; ties count half.

    The share of all pairs of runs, as in Agarwal et al., "Deep reinforcement learning at the edge
    of the statistical precipice" (2021). Diverged runs are worse than all others and tie with
    each other.

    Returns:
        A probability; None if either side has no run.
    """
    if not (one.values and other.values):
        return None
    left, right = (np.array(sample.values) for sample in (one, other))
    if mode == "min":
        left, right = -left, -right
    won = np.greater.outer(left, right)
    halves = 2 * int(won.sum()) + int(np.equal.outer(left, right).sum())
    return float(halves / (2 * won.size))


def leans_better(one: Sample, other: Sample, mode: Mode) -> bool:
    """Whether `one` has the better mean, as `p_value` compares means."""
    pooled = _without_gaps(np.array((*one.values, *other.values)), mode)
    difference = pooled[: len(one.values)].mean() - pooled[len(one.values) :].mean()
    return bool(difference < 0.0 if mode == "min" else difference > 0.0)


def smallest_p(one: Sample, other: Sample) -> float:
    """The smallest p-value that samples of these sizes can give; 1 if they cannot be tested."""
    sizes = len(one.values), len(other.values)
    if min(sizes) < 2:
        return 1.0
    return fewest_p(sizes[0], sizes[1], matched=paired(one, other))


def fewest_p(one: int, other: int, *, matched: bool) -> float:
    """The smallest two-sided p-value: the observed split and its mirror, out of all splits."""
    return min(1.0, 2.0 / (2**one if matched else math.comb(one + other, one)))


def attainable(samples: Sequence[Sample], reference: int) -> list[float | None]:
    """The smallest p-value, Holm-corrected, that any outcome could have given each sample.

    Args:
        reference: index of the sample that the others are tested against.

    Returns:
        One per sample; None for the reference, and if either side has fewer than 2 runs.
    """
    base = samples[reference]
    return holm(
        [
            None
            if index == reference or min(len(base.values), len(sample.values)) < 2
            else smallest_p(base, sample)
            for index, sample in enumerate(samples)
        ]
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for multiple tests by Holm's step-down method; None is not counted."""
    order = sorted(
        (index for index, p in enumerate(p_values) if p is not None),
        key=lambda index: p_values[index] or 0.0,
    )
    corrected: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for position, index in enumerate(order):
        floor = max(floor, min(1.0, (len(order) - position) * (p_values[index] or 0.0)))
        corrected[index] = floor
    return corrected


def _difference(one: NDArray[np.float64], other: NDArray[np.float64], axis: int) -> Any:
    return one.mean(axis=axis) - other.mean(axis=axis)


def _ordered(sample: Sample, *, by_seed: bool) -> NDArray[np.float64]:
    values = np.array(sample.values, dtype=np.float64)
    return values[np.argsort(np.array(sample.seeds))] if by_seed else np.sort(values)


def _without_gaps(pooled: NDArray[np.float64], mode: Mode) -> NDArray[np.float64]:
    """Replace diverged runs by a value beyond the worst, and centre all values around zero.

    Equal mean differences must be equal in floating point too, or an exact test miscounts them:
    around zero, rounding errors are small compared with the differences.
    """
    finite = np.isfinite(pooled)
    if not finite.any():
        return np.zeros_like(pooled)
    present = pooled[finite]
    # Scaling by a power of two is exact and keeps differences of huge values finite.
    present = np.ldexp(present, -int(np.frexp(np.abs(present).max())[1]))
    spread = float(np.ptp(present)) or max(1.0, abs(float(present[0])))
    worst = float(present.max()) + spread if mode == "min" else float(present.min()) - spread
    filled = np.full_like(pooled, worst)
    filled[finite] = present
    return np.asarray(filled - np.median(filled))

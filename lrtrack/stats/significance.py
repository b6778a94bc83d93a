"""Whether two schedules differ by more than their seeds do."""

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

#: Below this, two schedules are said to differ.
LEVEL = 0.05
#: Permutations up to which the test is exact: 8 runs against 8, or 14 seeds in pairs.
PERMUTATIONS = 20_000


@dataclass(frozen=True)
class Sample:
    """One side of a test.

    Attributes:
        values: one a run; infinite or NaN where the run diverged.
        seeds: one a run.
    """

    values: tuple[float, ...]
    seeds: tuple[int | None, ...]


def paired(one: Sample, other: Sample) -> bool:
    """Whether both sides ran the same seeds, each once, so that runs can be matched."""
    return (
        None not in one.seeds
        and len(set(one.seeds)) == len(one.seeds)
        and len(one.seeds) == len(other.seeds)
        and set(one.seeds) == set(other.seeds)
    )


def p_value(one: Sample, other: Sample, mode: Mode) -> float | None:
    """Two-sided permutation test on the means; exact while there are few enough permutations.

    Matched by seed where both sides ran the same seeds. A run that diverged counts as worse than
    every value on either side, by as much as those lie apart: both sides are treated alike, so
    the test stays valid.

    Returns:
        None where either side has under 2 runs.
    """
    if min(len(one.values), len(other.values)) < 2:
        return None
    pairs = paired(one, other)
    left, right = (_ordered(sample, by_seed=pairs) for sample in (one, other))
    pooled = _without_gaps(np.concatenate((left, right)), mode)
    result = load("scipy.stats").permutation_test(
        (pooled[: left.size], pooled[left.size :]),
        _difference,
        permutation_type="samples" if pairs else "independent",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=1000,
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def p_improvement(one: Sample, other: Sample, mode: Mode) -> float | None:
    """How probable it is that a run of `one` is better than a run of `other`; ties count half.

    The share of all pairs of runs, as in Agarwal et al., "Deep reinforcement learning at the edge
    of the statistical precipice" (2021). Runs that diverged are worse than all others and tie.

    Returns:
        None where either side has no run.
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
    """Whether the means that `p_value` compares speak for `one`."""
    pooled = _without_gaps(np.array((*one.values, *other.values)), mode)
    difference = pooled[: len(one.values)].mean() - pooled[len(one.values) :].mean()
    return bool(difference < 0.0 if mode == "min" else difference > 0.0)


def smallest_p(one: Sample, other: Sample) -> float:
    """The smallest p-value that samples of these sizes can give; 1 where there is no test."""
    sizes = len(one.values), len(other.values)
    if min(sizes) < 2:
        return 1.0
    return fewest_p(sizes[0], sizes[1], matched=paired(one, other))


def fewest_p(one: int, other: int, *, matched: bool) -> float:
    """Two-sided: the observed split and its mirror, out of all splits."""
    return min(1.0, 2.0 / (2**one if matched else math.comb(one + other, one)))


def attainable(samples: Sequence[Sample], reference: int) -> list[float | None]:
    """For each sample the smallest p-value, Holm-corrected, that any outcome could have given it.

    Args:
        reference: index of the sample that the others are tested against.

    Returns:
        None for that one, and where either side has under 2 runs.
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
    """Correct for testing many by Holm's steps; None stays None and is not counted."""
    order = sorted(
        (index for index, p in enumerate(p_values) if p is not None),
        key=lambda index: p_values[index] or 0.0,
    )
    corrected: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for done, index in enumerate(order):
        floor = max(floor, min(1.0, (len(order) - done) * (p_values[index] or 0.0)))
        corrected[index] = floor
    return corrected


def _difference(one: NDArray[np.float64], other: NDArray[np.float64], axis: int) -> Any:
    return one.mean(axis=axis) - other.mean(axis=axis)


def _ordered(sample: Sample, *, by_seed: bool) -> NDArray[np.float64]:
    values = np.array(sample.values, dtype=np.float64)
    return values[np.argsort(np.array(sample.seeds))] if by_seed else np.sort(values)


def _without_gaps(pooled: NDArray[np.float64], mode: Mode) -> NDArray[np.float64]:
    """Give diverged runs a value past the worst, and move the values to around zero.

    Equal mean differences must come out equal, or an exact test miscounts them: around zero,
    rounding is small beside the differences.
    """
    usable = np.isfinite(pooled)
    if not usable.any():
        return np.zeros_like(pooled)
    kept = pooled[usable]
    # By a power of two, which rounds nothing, so that differences of huge values stay finite
    kept = np.ldexp(kept, -int(np.frexp(np.abs(kept).max())[1]))
    reach = float(np.ptp(kept)) or max(1.0, abs(float(kept[0])))
    worst = float(kept.max()) + reach if mode == "min" else float(kept.min()) - reach
    filled = np.full_like(pooled, worst)
    filled[usable] = kept
    return np.asarray(filled - np.median(filled))

"""Rules on gradients: LR019, LR023 and LR024."""

from __future__ import annotations

import numpy as np

from lrtrack.number_text import count, times
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, share
from lrtrack.stats.diagnose.thresholds import (
    FADED,
    FASTEST_GROWTH,
    LONG_ENOUGH,
    RECOVERED,
    SLOWEST_GROWTH,
    SMOOTH,
    SMOOTH_SHARE,
    SUMMED,
    VANISHED,
)


def never_zeroed(run: RunFacts) -> Diagnosis | None:
    """LR019: gradients were added up from step to step.

    The norm of a sum of n gradients is n times that of one if they agree, and √n times if they are
    independent; and one more changes it by 1/n or less. Norms of single batches, even where they
    grow, do not begin like that.
    """
    norms = run.statistics.evidence.unclipped
    if norms.size < SUMMED or not (norms[:SUMMED] > 0.0).all():
        return None
    number = np.arange(1.0, SUMMED + 1.0)
    with np.errstate(over="ignore"):
        growth = norms[:SUMMED] / norms[0]
    start = slice(1, 11)
    grows = growth[start] >= number[start] ** SLOWEST_GROWTH
    grows &= growth[start] <= 2.0 * number[start] ** FASTEST_GROWTH
    jumps = np.abs(np.diff(np.log(norms[:SUMMED]))) * number[:-1]
    smooth = np.count_nonzero(jumps[2:] <= SMOOTH) >= SMOOTH_SHARE * jumps[2:].size
    if not (np.count_nonzero(grows) >= 0.9 * grows.size and smooth):
        return None
    # The weights have hardly changed yet, so that the first gradients are much alike.
    alike = (growth[1:4] > number[1:4] ** SLOWEST_GROWTH * 0.9) & (growth[1:4] < 1.1 * number[1:4])
    if not alike.all() or growth[start].max() < 2.0:
        return None
    at = int(np.argmax(growth))
    return diagnosis(
        "LR019",
        f"the gradient norm grew with the number of steps, from {norms[0]:.3g} in the first one to "
        f"{norms[at]:.3g} ({times(growth[at])}) {count(at, 'step')} later: gradients are added "
        "up over the steps, because nothing sets them to zero.",
        "call optimizer.zero_grad() after each optimizer.step(), on the optimizer that makes the "
        "step",
    )


def vanishing(run: RunFacts) -> Diagnosis | None:
    """LR023: hardly any gradient reaches a layer, or the network."""
    evidence = run.statistics.evidence
    typical = evidence.layers.typical(least=50)
    if typical:
        low, high = (pick(typical, key=typical.__getitem__) for pick in (min, max))
        if typical[low] < VANISHED * typical[high]:
            faded = sum(norm < VANISHED * typical[high] for norm in typical.values())
            more = f" (and {faded - 1} more)" if faded > 1 else ""
            return diagnosis(
                "LR023",
                f"the gradient vanishes on its way through the network: its norm is typically "
                f"{typical[low]:.2g} in {low}{more}, {times(typical[high] / typical[low])} less "
                f"than in {high} ({typical[high]:.2g}).",
                "use residual connections, normalization layers, ReLU-like activations instead of "
                "sigmoid or tanh, and an initialization that fits them",
            )
    return _faded(run)


def _faded(run: RunFacts) -> Diagnosis | None:
    """The whole gradient fades, although the loss has not fallen."""
    evidence = run.statistics.evidence
    losses, norms = evidence.losses, evidence.norms
    if not run.finished or min(losses.count, norms.count) < LONG_ENOUGH:
        return None
    first, start = float(losses.first[0]), float(norms.first.max())
    end = float(norms.stretches().levels(4)[-1])
    levels = losses.stretches().levels(8)
    if evidence.is_negative or not first > 0.0 or not start > 0.0:
        return None
    if not end < FADED * start or levels.min() < RECOVERED * first:
        return None
    zeros = (
        f"; it is exactly 0 in {share(evidence.zero_norms, norms.count)} of the steps"
        if evidence.zero_norms
        else ""
    )
    return diagnosis(
        "LR023",
        f"the gradient norm fell from {start:.2g} to {end:.2g}, while the loss has not fallen: "
        f"{first:.4g} in the first step, {levels[-1]:.4g} at the end{zeros}. The network may be "
        "saturated, or its units dead.",
        "lower the learning rate or warm up; check activations, normalization and initialization",
    )


def infinite_norms(run: RunFacts) -> Diagnosis | None:
    """LR024: gradients that are not finite, although the loss is."""
    evidence, bad = run.statistics.evidence, run.statistics.bad
    if not evidence.infinite:
        return None
    if evidence.infinite == 1 and bad is not None and bad.step <= evidence.infinite_at + 1:
        return None  # LR006 names it as the step before
    return diagnosis(
        "LR024",
        f"the gradient norm was not finite in {count(evidence.infinite, 'recorded step')}, first "
        f"at step {evidence.infinite_at:,}, although the loss was.",
        "look for operations whose gradient is infinite where their value is not: sqrt or norm at "
        "0, log or division near 0, torch.where around them; in 16 bits, use a GradScaler or "
        "bfloat16. clip_grad_norm_(…, error_if_nonfinite=True) stops at the first",
    )


OF_TRAINING = (never_zeroed, vanishing, infinite_norms)
#: Those that can be certain while the training runs; of LR023, the part about layers.
EARLY = (never_zeroed, vanishing, infinite_norms)

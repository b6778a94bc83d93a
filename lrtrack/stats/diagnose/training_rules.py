"""Rules on how the training went: LR004 and LR006 to LR011."""

from __future__ import annotations

import math

from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, many, share
from lrtrack.stats.diagnose.thresholds import (
    CALLS,
    CLIPPED,
    FEW,
    HANDFUL,
    HUGE,
    MISSED,
    NEAR_ZERO_SHARE,
    SPIKES,
)
from lrtrack.stats.spikes import FACTOR


def near_zero(run: RunFacts) -> Diagnosis | None:
    """LR004: many steps had a learning rate of almost 0."""
    statistics = run.statistics
    idle = statistics.near_zero()
    if statistics.recorded < FEW or idle <= NEAR_ZERO_SHARE * statistics.recorded:
        return None
    peak = (
        f"under a millionth of its peak ({statistics.peak:.4g})" if statistics.peak > 0.0 else "0"
    )
    return diagnosis(
        "LR004",
        f"the learning rate was {'0 or ' * (statistics.peak > 0.0)}{peak} in "
        f"{share(idle, statistics.recorded)} of the recorded steps "
        f"({idle} of {statistics.recorded}): these steps barely change the weights.",
        "end the training earlier, make the schedule longer, or give it a minimum learning rate "
        "(eta_min, min_lr)",
    )


def not_finite(run: RunFacts) -> Diagnosis | None:
    """LR006: the loss is not finite; reports the learning rate and norm just before."""
    bad = run.statistics.bad
    if bad is None:
        return None
    before = [
        f"{name} {value:.4g}"
        for name, value in (("learning rate", bad.lr), ("gradient norm", bad.grad_norm))
        if not math.isnan(value)
    ]
    onward = f"from step {bad.step} on" if bad.spoilt == bad.later else f"at step {bad.step}"
    others = f" and at {bad.spoilt} later steps" if 0 < bad.spoilt < bad.later else ""
    then = f"; the step before had {' and '.join(before)}" if before else "; it was the first step"
    return diagnosis(
        "LR006",
        f"the loss is {bad.value:g} {onward}{others}{then}.",
        "lower the peak learning rate or warm up longer; clip gradients; inspect the batch of that "
        "step",
    )


def clipped(run: RunFacts) -> Diagnosis | None:
    """LR007: gradient clipping was active in most steps."""
    statistics = run.statistics
    if statistics.recorded < FEW or statistics.clipped <= CLIPPED * statistics.recorded:
        return None
    return diagnosis(
        "LR007",
        f"gradient clipping was active in {share(statistics.clipped, statistics.recorded)} of the "
        f"recorded steps ({statistics.clipped} of {statistics.recorded}): "
        "clipping, not just the schedule, sets the step size.",
        "raise max_norm to the usual gradient norm (see grad_norm_preclip), or lower the learning "
        "rate",
    )


def unreached(run: RunFacts) -> Diagnosis | None:
    """LR008: the loss does not depend on some parameters, or they are not in the model."""
    observed = run.observations
    least = MISSED if run.running else HANDFUL
    if observed is None or observed.steps < least or not observed.unreached:
        return None
    names = ", ".join(observed.unreached[:5]) + ", …" * (len(observed.unreached) > 5)
    one = len(observed.unreached) == 1
    return diagnosis(
        "LR008",
        f"param group{'' if one else 's'} {names} never received a gradient in "
        f"{many(observed.steps, 'optimizer step')}.",
        "the loss does not depend on these parameters: check whether they were replaced or copied "
        "after the optimizer was created. If you freeze them on purpose, set requires_grad=False",
    )


def spiky(run: RunFacts) -> Diagnosis | None:
    """LR009: gradient norms rose far above their trailing median."""
    statistics = run.statistics
    if statistics.spikes < SPIKES and not statistics.largest >= HUGE:
        return None
    largest = (
        "infinite" if math.isinf(statistics.largest) else f"{_times(statistics.largest)} the median"
    )
    return diagnosis(
        "LR009",
        f"{many(statistics.spikes, 'gradient spike')} in {statistics.recorded} recorded steps: "
        f"gradient norms over {FACTOR:g} times their trailing median; the largest is {largest}.",
        "clip gradients, warm up longer, or lower the learning rate; look for odd batches",
    )


def no_loss(run: RunFacts) -> Diagnosis | None:
    """LR010: no loss was captured, so that runs cannot be compared by it.

    Not reported where another block has it, whose optimizer steps first after the same backward().
    """
    observed = run.observations
    least = MISSED if run.running else HANDFUL
    if observed is None or not observed.loss_wanted or observed.steps < least:
        return None
    if observed.taken:
        return None
    if run.statistics.losses or run.statistics.recorded < HANDFUL:
        return None
    return diagnosis(
        "LR010",
        f"no loss was captured in {many(observed.steps, 'optimizer step')}: backward() was never "
        "called on a single number, or it was called inside a compiled function.",
        "log it yourself after each step: run.log(loss=…)",
    )


def plateau(run: RunFacts) -> Diagnosis | None:
    """LR011: a plateau schedule never acted, or acted at every opportunity."""
    replay = run.statistics.plateau
    steps = run.statistics.recorded if run.observations is None else run.observations.total
    if replay is None or not replay.calls or steps < FEW:
        return None
    needed = replay.patience + 2
    if replay.cuts and not replay.better and replay.calls >= max(needed, HANDFUL):
        return diagnosis(
            "LR011",
            "the plateau schedule cut the learning rate as soon as it could "
            f"({many(replay.cuts, 'cut')} in {replay.calls} calls): by mode={replay.mode!r}, its "
            "metric never got better than the first value.",
            "check that mode fits this metric (mode='max' for accuracies) and that threshold is "
            "not too large",
        )
    if replay.cuts or not run.finished:
        return None
    if replay.calls < needed:
        return diagnosis(
            "LR011",
            f"the plateau schedule could not act: it takes at least {needed} calls to exceed "
            f"patience={replay.patience}, and it was given its metric "
            f"{many(replay.calls, 'time')}.",
            "lower patience, or evaluate and step it more often",
        )
    if replay.calls < CALLS:
        return None
    return diagnosis(
        "LR011",
        f"the plateau schedule never cut the learning rate in {replay.calls} calls: its metric got "
        f"better at least every {replay.patience + 1} of them.",
        "if the learning rate should have been cut, lower patience or raise threshold",
    )


def _times(ratio: float) -> str:
    """Format `40 times`, or `5.1e+09 times` for huge ratios."""
    return f"{ratio:.0f} times" if ratio < 1e5 else f"{ratio:.2g} times"


#: Rules on one optimizer, and rules on all of a training.
OF_OPTIMIZER = (near_zero, unreached, plateau)
OF_TRAINING = (not_finite, clipped, spiky, no_loss)

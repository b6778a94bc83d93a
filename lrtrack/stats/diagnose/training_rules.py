"""How the training went: LR004 and LR006 to LR011."""

from __future__ import annotations

import math

from lrtrack.stats.diagnose.rule import Case, Found, many, share, told
from lrtrack.stats.diagnose.thresholds import (
    CALLS,
    CLIPPED,
    FEW,
    HANDFUL,
    HUGE,
    NEAR_ZERO_SHARE,
    SPIKES,
)
from lrtrack.stats.spikes import FACTOR


def near_zero(case: Case) -> Found | None:
    """LR004: steps that move nothing."""
    figures = case.figures
    idle = figures.near_zero()
    if figures.recorded < FEW or idle <= NEAR_ZERO_SHARE * figures.recorded:
        return None
    peak = f"under a millionth of its peak ({figures.peak:.4g})" if figures.peak > 0.0 else "0"
    return told(
        "LR004",
        f"the learning rate was {'0 or ' * (figures.peak > 0.0)}{peak} in "
        f"{share(idle, figures.recorded)} of the recorded steps ({idle} of {figures.recorded}): "
        "they train nothing.",
        "end the training earlier, make the schedule longer, or give it a least value (eta_min, "
        "min_lr)",
    )


def not_finite(case: Case) -> Found | None:
    """LR006: the training broke, and what it was doing then."""
    bad = case.figures.bad
    if bad is None:
        return None
    before = [
        f"{name} {value:.4g}"
        for name, value in (("learning rate", bad.lr), ("gradient norm", bad.grad_norm))
        if not math.isnan(value)
    ]
    onward = f"from step {bad.step} on" if bad.spoilt == bad.later else f"at step {bad.step}"
    others = f" and at {bad.spoilt} later ones" if 0 < bad.spoilt < bad.later else ""
    then = f"; the step before had {' and '.join(before)}" if before else "; it was the first step"
    return told(
        "LR006",
        f"the loss is {bad.value:g} {onward}{others}{then}.",
        "lower the peak learning rate or warm up longer; clip gradients; look at the batch of that "
        "step",
    )


def clipped(case: Case) -> Found | None:
    """LR007: clipping decides the size of most steps."""
    figures = case.figures
    if figures.recorded < FEW or figures.clipped <= CLIPPED * figures.recorded:
        return None
    return told(
        "LR007",
        f"gradient clipping was active in {share(figures.clipped, figures.recorded)} of the "
        f"recorded steps ({figures.clipped} of {figures.recorded}): it, not the schedule alone, "
        "sets the size of the steps.",
        "raise max_norm to what the gradient norm usually is (see grad_norm_preclip), or lower the "
        "learning rate",
    )


def unreached(case: Case) -> Found | None:
    """LR008: parameters that the loss does not reach, or that are no part of the model."""
    seen = case.evidence
    if seen is None or seen.steps < HANDFUL or not seen.unreached:
        return None
    names = ", ".join(seen.unreached[:5]) + ", …" * (len(seen.unreached) > 5)
    one = len(seen.unreached) == 1
    return told(
        "LR008",
        f"param group{'' if one else 's'} {names} never received a gradient in "
        f"{many(seen.steps, 'optimizer step')}.",
        "the loss does not depend on these parameters: were they replaced or copied after the "
        "optimizer was made? If they are meant to rest, set requires_grad to False",
    )


def spiky(case: Case) -> Found | None:
    """LR009: gradient norms far above what they were just before."""
    figures = case.figures
    if figures.spikes < SPIKES and not figures.largest >= HUGE:
        return None
    largest = "infinite" if math.isinf(figures.largest) else f"{figures.largest:.0f} times it"
    return told(
        "LR009",
        f"{many(figures.spikes, 'gradient spike')} in {figures.recorded} recorded steps: norms "
        f"over {FACTOR:g} times their trailing median, the largest {largest}.",
        "clip gradients, warm up longer, or lower the learning rate; look for odd batches",
    )


def no_loss(case: Case) -> Found | None:
    """LR010: nothing to compare the run by."""
    seen = case.evidence
    if seen is None or not seen.loss_wanted or seen.steps < HANDFUL:
        return None
    if case.figures.losses or case.figures.recorded < HANDFUL:
        return None
    return told(
        "LR010",
        f"no loss was seen in {many(seen.steps, 'optimizer step')}: backward() was not called on a "
        "single number before them, or inside a compiled function.",
        "log it yourself after each step: run.log(loss=…)",
    )


def plateau(case: Case) -> Found | None:
    """LR011: a plateau schedule that never did anything, or could not but act."""
    found = case.figures.plateau
    steps = case.figures.recorded if case.evidence is None else case.evidence.total
    if found is None or not found.calls or steps < FEW:
        return None
    needed = found.patience + 2
    if found.cuts and not found.better and found.calls >= max(needed, HANDFUL):
        return told(
            "LR011",
            "the plateau schedule cut the learning rate as soon as it could "
            f"({many(found.cuts, 'cut')} in {found.calls} calls): by mode={found.mode!r}, its "
            "metric never got better than the first value.",
            "check that the mode is right for this metric (mode='max' for accuracies), and the "
            "threshold not too large",
        )
    if found.cuts or not case.finished:
        return None
    if found.calls < needed:
        return told(
            "LR011",
            f"the plateau schedule could not act: it takes at least {needed} calls to exceed "
            f"patience={found.patience}, and it was given its metric {many(found.calls, 'time')}.",
            "lower patience, or evaluate and step it more often",
        )
    if found.calls < CALLS:
        return None
    return told(
        "LR011",
        f"the plateau schedule never cut the learning rate in {found.calls} calls: its metric got "
        f"better at least every {found.patience + 1} of them.",
        "lower patience or raise threshold, if the rate should have come down",
    )


RULES = (near_zero, not_finite, clipped, unreached, spiky, no_loss, plateau)

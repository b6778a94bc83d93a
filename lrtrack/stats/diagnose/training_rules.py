"""Rules on how the training went: LR004 and LR006 to LR011.

LR006, LR009 and cuts without effect (LR011) are certain before the end; the others are not, because
they are about shares of the run, or about something that may still happen.
"""

from __future__ import annotations

import math

from lrtrack.number_text import count, times
from lrtrack.stats.diagnose.plateau import Plateau
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, share
from lrtrack.stats.diagnose.thresholds import (
    CALLS,
    CLIPPED,
    FEW,
    HANDFUL,
    HUGE,
    MISSED,
    NEAR_ZERO_SHARE,
    SPIKE_SHARE,
    SPIKES,
    STAGNANT,
)
from lrtrack.stats.spikes import FACTOR


def near_zero(run: RunFacts) -> Diagnosis | None:
    """LR004: many steps had a learning rate of almost 0, or one group's rate has vanished."""
    statistics = run.statistics
    idle = statistics.near_zero()
    if not run.ended or statistics.recorded < FEW:
        return None
    if idle <= NEAR_ZERO_SHARE * statistics.recorded:
        return _vanished(run)
    peak = (
        f"under a millionth of its peak ({statistics.peak:.4g})" if statistics.peak > 0.0 else "0"
    )
    return diagnosis(
        "LR004",
        f"the learning rate was {'0 or ' * (statistics.peak > 0.0)}{peak} in "
        f"{share(idle, statistics.recorded)} of the recorded steps "
        f"({idle:,} of {statistics.recorded:,}): these steps barely change the weights.",
        "end the training earlier, make the schedule longer, or give it a minimum learning rate "
        "(eta_min, min_lr)",
    )


def _vanished(run: RunFacts) -> Diagnosis | None:
    """LR004 of groups whose rate went to almost 0 and stayed there, while others' did not."""
    least = NEAR_ZERO_SHARE * run.statistics.recorded
    groups = run.statistics.groups.vanished()
    idle = {name: latest for name, (latest, _) in groups.items() if latest > least}
    if not idle:
        return None
    first = min(idle, key=lambda name: -idle[name])
    several = f" (and of {count(len(idle) - 1, 'other group')})" if len(idle) > 1 else ""
    return diagnosis(
        "LR004",
        f"the learning rate of param group {first}{several} was 0 or under a millionth of its peak "
        f"({groups[first][1]:.4g}) in the last {idle[first]:,} of {run.statistics.recorded:,} "
        "recorded steps, while that of other groups was not: these steps barely change its "
        "weights.",
        "check this group's part of the schedule. If it is meant to rest, set requires_grad=False, "
        "which saves its gradients, too",
    )


def not_finite(run: RunFacts) -> Diagnosis | None:
    """LR006: the loss is not finite; reports the learning rate and norm just before."""
    bad = run.statistics.bad
    if bad is None:
        return None
    if not run.ended and not bad.later:
        return None  # run.log(loss=…) may still replace it
    norm, clipping = bad.grad_norm, ""
    if not math.isnan(bad.unclipped):
        norm, clipping = bad.unclipped, " before clipping"
    before = [
        f"{text}{after}"
        for text, value, after in (
            (f"learning rate {bad.lr:.4g}", bad.lr, ""),
            (f"gradient norm {norm:.4g}" if norm < math.inf else "an infinite gradient norm", norm,
             clipping),
        )
        if not math.isnan(value)
    ]  # fmt: skip
    onward = f"from step {bad.step:,} on" if bad.spoilt == bad.later else f"at step {bad.step:,}"
    others = f" and at {bad.spoilt:,} later steps" if 0 < bad.spoilt < bad.later else ""
    then = f"; the step before had {' and '.join(before)}" if before else "; it was the first step"
    return diagnosis(
        "LR006",
        f"the loss is {bad.value:g} {onward}{others}{then}.",
        "lower the peak learning rate or warm up longer; clip gradients; inspect the batch of that "
        "step",
    )


def clipped(run: RunFacts) -> Diagnosis | None:
    """LR007: gradient clipping left less than a tenth of the norm in most steps.

    Clipping almost every step by a little is a part of many recipes, and no mistake.
    """
    statistics = run.statistics
    if not run.ended or statistics.recorded < FEW:
        return None
    if statistics.clipped <= CLIPPED * statistics.with_norm:
        return None
    return diagnosis(
        "LR007",
        f"gradient clipping left less than a tenth of the gradient norm in "
        f"{share(statistics.clipped, statistics.with_norm)} of the {_with_norm(run)}s "
        f"({statistics.clipped:,} of {statistics.with_norm:,}).",
        "with a GradScaler, call scaler.unscale_(optimizer) before clipping; check that max_norm "
        "fits the usual gradient norm (see grad_norm_preclip), and that the loss is a mean. Ignore "
        "this if the size of the gradient is not meant to matter",
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
        f"{count(observed.steps, 'optimizer step')}.",
        "the loss does not depend on these parameters: check whether they were replaced or copied "
        "after the optimizer was created. If you freeze them on purpose, set requires_grad=False",
    )


def spiky(run: RunFacts) -> Diagnosis | None:
    """LR009: gradient norms rose far above their trailing median.

    Norms that stay high count once: those of a layer that is trained from some step on, or after a
    restart.
    """
    statistics = run.statistics
    often = statistics.spikes >= max(SPIKES, SPIKE_SHARE * statistics.with_norm)
    if not often and not statistics.largest >= HUGE:
        return None
    largest = (
        "infinite" if math.isinf(statistics.largest) else f"{times(statistics.largest)} the median"
    )
    return diagnosis(
        "LR009",
        f"{count(statistics.spikes, 'gradient spike')} in "
        f"{count(statistics.with_norm, _with_norm(run))}: "
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
    if observed.by_hand:
        return diagnosis(
            "LR010",
            f"no loss was recorded: {count(observed.steps, 'call')} of run.record() had none.",
            "pass it: run.record(lr=…, loss=…)",
        )
    return diagnosis(
        "LR010",
        f"no loss was captured in {count(observed.steps, 'optimizer step')}: lrtrack saw no "
        "backward() call on a single number in the thread that makes the steps, nor a number that "
        "a closure returned.",
        "log it yourself after each step, run.log(loss=…): compiled functions, torch.autograd.grad "
        "and gradients that are set by hand show no loss",
    )


def plateau(run: RunFacts) -> Diagnosis | None:
    """LR011: a plateau schedule never acted, acted without effect, or at every opportunity."""
    replay = run.statistics.plateau
    steps = run.statistics.recorded if run.observations is None else run.observations.total
    if replay is None or not replay.calls or steps < FEW:
        return None
    if replay.judged and not replay.done:
        return _without_effect(run, replay)
    needed = replay.patience + 2
    wrong = replay.done and not replay.better and replay.calls >= max(needed, HANDFUL)
    if wrong and run.ended:
        return diagnosis(
            "LR011",
            "the plateau schedule cut the learning rate as soon as it could "
            f"({count(replay.done, 'cut')} in {replay.calls:,} calls): by mode={replay.mode!r}, "
            "its metric never got better than the first value.",
            "check that mode fits this metric (mode='max' for accuracies) and that threshold is "
            "not too large",
        )
    return None if replay.cuts or not run.finished else _never_acted(replay, needed)


def _without_effect(run: RunFacts, replay: Plateau) -> Diagnosis:
    """LR011 of cuts after which the learning rate was not lower."""
    params, peak = run.schedule.params, run.statistics.peak
    floors = params.get("min_lr")
    floors = floors if isinstance(floors, list | tuple) else [floors]
    lowest = max((floor for floor in floors if isinstance(floor, int | float)), default=0.0)
    factor, eps = params.get("factor"), params.get("eps")
    why = ""
    if lowest >= peak:
        why = f": it is not above min_lr={lowest:g}"
    elif isinstance(factor, int | float) and isinstance(eps, int | float):
        change = peak - max(peak * factor, lowest)
        why = f": the change of {change:.2g} does not exceed eps={eps:g}" if change <= eps else ""
    return diagnosis(
        "LR011",
        f"the plateau schedule was due to cut the learning rate {count(replay.judged, 'time')}, "
        f"but the rate was never lower afterwards{why}.",
        "lower min_lr or eps, or let nothing else set the rate",
    )


def _never_acted(replay: Plateau, needed: int) -> Diagnosis | None:
    """LR011 of a finished run without a cut."""
    if replay.calls < needed:
        if replay.calls < HANDFUL:
            return None
        return diagnosis(
            "LR011",
            f"the plateau schedule could not act: it takes at least {needed} calls to exceed "
            f"patience={replay.patience}, and it was given its metric "
            f"{count(replay.calls, 'time')}.",
            "lower patience, or evaluate and step it more often",
        )
    since, progress = replay.progress
    if replay.calls < CALLS or not progress < STAGNANT:
        return None
    return diagnosis(
        "LR011",
        f"the plateau schedule never cut the learning rate in {replay.calls:,} calls, although its "
        f"metric improved by only {100.0 * progress:.2g} % since call {since:,}: it got better at "
        f"least every {replay.patience + 1} calls.",
        "if the learning rate should have been cut, lower patience or raise threshold",
    )


def _with_norm(run: RunFacts) -> str:
    """What rules on norms count, which may be computed at some of the recorded steps only."""
    every = run.statistics.with_norm == run.statistics.recorded
    return "recorded step" if every else "recorded norm"


#: Rules on one optimizer, and rules on all of a training.
OF_OPTIMIZER = (near_zero, unreached, plateau)
OF_TRAINING = (not_finite, clipped, spiky, no_loss)

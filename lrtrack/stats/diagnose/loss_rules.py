"""Rules on the loss: LR020 to LR022."""

from __future__ import annotations

import numpy as np

from lrtrack.stats.diagnose.course import Course
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis
from lrtrack.stats.diagnose.thresholds import (
    ABOVE,
    EARLY_LOSSES,
    ENOUGH_LOSSES,
    FLAT,
    HANDFUL,
    LOWEST,
    NEAR_GUESS,
    NO_BETTER,
    RECOVERED,
    RISEN_LITTLE,
    SETTLED,
    THROWN,
)


def not_divided(run: RunFacts) -> Diagnosis | None:
    """LR020: the losses of an accumulation group are summed where their mean is meant.

    Known only where `config` states the number of classes and the first loss is as many times that
    of a constant guess as there were `backward()` calls. Any other sum may be meant.
    """
    evidence, guess = run.statistics.evidence, run.setup.guess
    count, first = evidence.count, evidence.losses.first
    if guess is None or count < 2 or first.size < HANDFUL or evidence.several:
        return None
    if not NEAR_GUESS[0] * count * guess <= first[0] <= NEAR_GUESS[1] * count * guess:
        return None
    return diagnosis(
        "LR020",
        f"the loss is the sum over {count} backward() calls and was not divided by {count}: it "
        f"began at {first[0]:.3g}, {count} times {guess:.3g}, which a constant guess among "
        f"{run.setup.classes} classes has. The gradients are also {count} times as large.",
        f"call (loss / {count}).backward(); ignore this if the calls are for different losses",
    )


def thrown_off(run: RunFacts) -> Diagnosis | None:
    """LR021: the first steps threw the loss far up, and it has not come back since.

    Not reported for runs with several optimizers or a prefix, whose losses may work against each
    other, nor where losses are negative.
    """
    evidence, guess = run.statistics.evidence, run.setup.guess
    losses = evidence.losses
    if losses.count < ENOUGH_LOSSES or not _is_minimized(run):
        return None
    first = float(losses.first[0])
    levels = losses.stretches().levels(8)
    known = guess is not None and NEAR_GUESS[0] <= first / guess <= NEAR_GUESS[1]
    peak = float(losses.first[1:EARLY_LOSSES].max())
    if guess is not None and known:
        is_off = levels.min() >= 0.99 * guess and max(peak, levels.max()) >= NO_BETTER * guess
    else:
        is_off = peak >= max(THROWN * first, levels.max()) and _has_not_recovered(losses, peak)
    if not is_off:
        return None
    classes = f" among {run.setup.classes} classes"
    guessed = f"; a constant guess{classes} has {guess:.3g}" if guess and known else ""
    return diagnosis(
        "LR021",
        f"the learning rate seems too high from the start: the loss rose from {first:.3g} to "
        f"{peak:.3g} within the first {EARLY_LOSSES} recorded losses, and is {levels[-1]:.3g} "
        f"after {losses.count:,} of them{guessed}.",
        "lower the learning rate to a tenth, or warm up; lrtrack.find_lr() looks for the highest "
        "rate at which the loss falls",
    )


def _has_not_recovered(losses: Course, peak: float) -> bool:
    """Whether a loss has settled no lower than it began, or has stayed above that at all records.

    Losses that rise slowly, such as those of value functions, or whose noise exceeds their level
    have done neither.

    Args:
        losses: the losses.
        peak: the largest of the early ones.
    """
    first, stretches = float(losses.first[0]), losses.stretches()
    levels = stretches.levels(8)
    spread = float(np.median(stretches.spread[-stretches.spread.size // 4 :]))
    if spread <= SETTLED * levels[-1] and levels[-1] <= NO_BETTER * first:
        return bool(levels.min() >= RECOVERED * first)
    if peak < THROWN * levels[-1]:
        return False
    low = min(float(losses.first[5:].min()), float(stretches.lows[1:].min()))
    return low >= max(ABOVE * first, LOWEST * float(levels[-1]))


def never_fell(run: RunFacts) -> Diagnosis | None:
    """LR022: the loss ended where it began, and its noise hides no fall.

    Not reported where LR021 is not, nor for a run that was continued or whose rate was always 0.
    """
    losses = run.statistics.evidence.losses
    observed = run.observations
    if not run.finished or losses.count < ENOUGH_LOSSES or not _is_minimized(run):
        return None
    if not run.statistics.peak > 0.0 or (observed is not None and observed.total > observed.steps):
        return None
    opening = losses.first[:16]
    start, error = float(opening.mean()), float(opening.std()) / 4.0
    levels = losses.stretches().levels(8)
    falls = max(start - levels.min(), 0.0) + 2.0 * error > FLAT * start
    if falls or not levels.max() <= RISEN_LITTLE * start:
        return None
    guess = run.setup.guess
    as_guess = guess is not None and abs(levels[-1] / guess - 1.0) <= 2.0 * FLAT
    like = f", as a constant guess among {run.setup.classes} classes does" if as_guess else ""
    return diagnosis(
        "LR022",
        f"the loss never fell: it began at {start:.4g} and ended at {levels[-1]:.4g}, after "
        f"{losses.count:,} recorded losses{like}.",
        "check that the optimizer has the parameters of the model that is trained, that inputs and "
        "labels belong together, and the learning rate (lrtrack.find_lr()); ignore this where the "
        "loss is not meant to fall, as in adversarial or reinforcement learning",
    )


def _is_minimized(run: RunFacts) -> bool:
    """Whether a fall of the loss is what the training is for, as far as can be known."""
    evidence = run.statistics.evidence
    positive = evidence.losses.count > 0 and float(evidence.losses.first[0]) > 0.0
    alone = run.setup.is_alone and not evidence.several
    return alone and positive and not evidence.is_negative


OF_TRAINING = (not_divided, thrown_off, never_fell)
#: Those that can be certain while the training runs.
EARLY = (not_divided, thrown_off)

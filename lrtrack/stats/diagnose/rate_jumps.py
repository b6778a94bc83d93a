"""Jumps of the learning rate where a training was continued, and LR030, which reports them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrtrack.fields import flatten
from lrtrack.schedules import CONSTANT, Schedule
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis
from lrtrack.stats.diagnose.thresholds import JUMP, USUAL

#: Parameters by which schedules multiply the rate in one step.
_FACTORS = ("gamma", "factor")
#: Schedules that return to a high rate by design.
_CYCLES = ("CosineAnnealingWarmRestarts", "CyclicLR")


@dataclass(frozen=True)
class RateJump:
    """A change of the learning rate that is larger than those before it, or a lost schedule.

    Attributes:
        step: the first step after the training was continued; `before`: the last recorded one.
        lr: the rate of `step`; `lr_before`: that of `before`.
        is_first: whether `lr` is the very first rate of the run.
        began_again: whether the scheduler's count fell there; `step` is then the first step after
            which it had moved again.
    """

    step: int
    before: int
    lr: float
    lr_before: float
    is_first: bool
    began_again: bool = False


def rate_jumps(
    steps: NDArray[np.int64],
    rates: NDArray[np.float64],
    breaks: Iterable[int],
    counts: NDArray[np.int64] | None = None,
) -> tuple[RateJump, ...]:
    """Find the jumps of the learning rate at some steps.

    A change counts if it is over `JUMP` of the largest rate, and over `USUAL` times the largest
    change between two records elsewhere. A schedule that begins again may go on from the rate that
    the optimizer had, and leave its course only then.

    Args:
        steps: shape (n,), ascending.
        rates: the learning rate of each step, shape (n,).
        breaks: the steps at which the training was continued.
        counts: the scheduler's count at each step, shape (n,); -1 where it is unknown.
    """
    at = [int(np.searchsorted(steps, step)) for step in breaks]
    at = [index for index in at if 0 < index < len(steps)]
    changes = np.abs(np.diff(rates))
    usual = np.delete(changes, [index - 1 for index in at])
    usual = usual[np.isfinite(usual)]
    finite = rates[np.isfinite(rates)]
    least = max(USUAL * usual.max(initial=0.0), JUMP * np.abs(finite).max(initial=0.0))
    jumps = []
    for index in at:
        is_large = changes[index - 1] > least
        again = counts is not None and bool(0 <= counts[index] < counts[index - 1])
        if not is_large and not (again and np.ptp(finite) > 0.0):
            continue
        jump = RateJump(
            int(steps[index]),
            int(steps[index - 1]),
            float(rates[index]),
            float(rates[index - 1]),
            bool(np.isclose(rates[index], rates[0], rtol=1e-6, atol=0.0)),
            again,
        )
        if counts is not None and again and not is_large:
            moved = index + int(np.argmax(counts[index:] > counts[index]))
            jump = replace(jump, step=int(steps[moved]), lr=float(rates[moved]))
        jumps.append(jump)
    return tuple(jumps)


def jumped(run: RunFacts) -> Diagnosis | None:
    """LR030: the learning rate jumped where the training was continued."""
    observed = run.observations
    jumps = () if observed is None else observed.jumps
    jumps = tuple(jump for jump in jumps if jump.began_again or not _is_meant(jump, run.schedule))
    if not jumps:
        return None
    jump = jumps[0]
    more = f", and at {len(jumps) - 1} later places" if len(jumps) > 1 else ""
    message = (
        f"the learning rate jumped from {jump.lr_before:.4g} (step {jump.before:,}) to "
        f"{jump.lr:.4g} (step {jump.step:,}), where the training was continued{more}"
    )
    if run.name != CONSTANT and (jump.is_first or jump.began_again):
        return diagnosis(
            "LR030",
            f"{message}: the schedule began again.",
            "save scheduler.state_dict() in the checkpoint and load it after the optimizer's state",
        )
    return diagnosis(
        "LR030",
        f"{message}; the schedule's own changes are smaller.",
        "load the states of optimizer and scheduler, both from the same checkpoint; do not rely on "
        "last_epoch=…, with which SequentialLR computes other rates. Ignore this if you changed "
        "the rate on purpose",
    )


def _is_meant(jump: RateJump, schedule: Schedule) -> bool:
    """Whether the schedule itself makes such a change, perhaps for the first time."""
    params = flatten(schedule.to_dict(), lists=True)  # those of its parts, too
    names = {str(value) for name, value in params.items() if name.rpartition(".")[2] == "name"}
    if jump.lr > jump.lr_before and names & set(_CYCLES):
        return True
    factors = [
        value
        for name, value in params.items()
        if name.rpartition(".")[2] in _FACTORS and isinstance(value, float | int)
    ]
    return any(np.isclose(jump.lr, jump.lr_before * factor, rtol=1e-3) for factor in factors)


RULES = (jumped,)

"""Rules on how the scheduler was stepped: LR001, LR002, LR003, LR005, LR012 and LR026.

LR003, and LR012 of a schedule without a length, are certain before the end; all others are not.
"""

from __future__ import annotations

from lrtrack.number_text import count
from lrtrack.schedules import CONSTANT
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, share
from lrtrack.stats.diagnose.schedule_length import After, Length
from lrtrack.stats.diagnose.thresholds import (
    FEW,
    HANDFUL,
    NEAR,
    OVER,
    OVER_STEPS,
    REPEATED,
    RISEN,
    SKIPPED,
    USED,
    USED_WHOLLY,
)


def never_stepped(run: RunFacts) -> Diagnosis | None:
    """LR001: the scheduler never moved.

    Not reported after an exception, if something else moved the learning rate, or if the scheduler
    was stepped before the block: a resumed run may step it between its blocks.
    """
    observed = run.observations
    if observed is None or not run.finished or run.name == CONSTANT or observed.steps < HANDFUL:
        return None
    unmoved = (
        observed.moves == 0 and observed.begun is not None and observed.position == observed.begun
    )
    if not (unmoved and (observed.begun or 0) <= 0 and run.statistics.still):
        return None
    return diagnosis(
        "LR001",
        f"{run.name} was never stepped: the learning rate stayed at {run.statistics.peak:.4g} for "
        f"all {count(observed.steps, 'optimizer step')}.",
        "call scheduler.step() after optimizer.step(), or once per epoch if the schedule counts "
        "epochs",
    )


def hardly_used(run: RunFacts) -> Diagnosis | None:
    """LR002: the run ended before half of its schedule was used.

    Not reported of `CosineAnnealingWarmRestarts` whose cycle seems to be in epochs: its `step()`
    takes fractions of an epoch, so that its count does not tell how far it got.
    """
    observed, length = run.observations, run.length
    if observed is None or length is None or not run.finished or observed.total < FEW:
        return None
    if not observed.position or observed.position >= USED * length.steps:
        return None
    made = observed.position - (observed.begun or 0)
    used = f"{share(observed.position, length.steps)} of its length ({length.named})"
    if made > 0 and observed.steps >= 2 * made:
        return _by_epoch(run, length, used, observed.steps / made)
    return diagnosis(
        "LR002",
        f"{run.name} used {used}: its count reached {observed.position:,} in "
        f"{count(observed.total, 'optimizer step')}.",
        "make the schedule as long as the training: scheduler steps, not batches or samples, with "
        "gradient accumulation and several processes counted; ignore this if you will resume this "
        "run",
    )


def _by_epoch(run: RunFacts, length: Length, used: str, pace: float) -> Diagnosis | None:
    """LR002 of a scheduler that was not stepped at every optimizer step."""
    observed = run.observations
    assert observed is not None
    steps = observed.total
    every = f"was stepped only every {pace:.0f} optimizer steps, as if per epoch"
    if steps / NEAR <= length.steps <= NEAR * steps:
        return diagnosis(
            "LR002",
            f"{run.name} {every}, but its length is about the number of optimizer steps: it used "
            f"{used} in {count(steps, 'optimizer step')}.",
            "call scheduler.step() after every optimizer.step(), or give the schedule's length in "
            "epochs",
        )
    if run.name == "CosineAnnealingWarmRestarts":
        return None
    hint = (
        "if its length is in epochs, train for as many, or make it shorter "
        f"({observed.position:,} for this run)"
    )
    if length.steps > steps:
        hint += "; if it is in optimizer steps, step it after each of them"
    return diagnosis(
        "LR002",
        f"{run.name} used {used}: it {every}, and its count reached {observed.position:,}.",
        f"{hint}; ignore this if you will resume this run",
    )


def past_its_end(run: RunFacts) -> Diagnosis | None:
    """LR003: a cosine ran past its minimum, or a one-cycle schedule ran out."""
    length = run.length
    if length is None or length.after is After.STAYS:
        return None
    if length.after is After.ENDS:
        return _used_up(run, length)
    observed = run.observations
    if observed is not None and observed.position is not None:
        over = _beyond(observed.used, length)
        where = f"step {observed.used:,} of {length.steps:,} ({length.named})"
    else:
        span = run.statistics.peak - length.floor
        over = span > 0.0 and run.statistics.risen > RISEN * span
        where = f"its length is {length.named}"
    if not over:
        return None
    return diagnosis(
        "LR003",
        f"{run.name} ran past its end, where a cosine rises again: {where}.",
        "make it as long as the training, stop stepping it at its end, or use "
        "CosineAnnealingWarmRestarts if you want restarts",
    )


def _used_up(run: RunFacts, length: Length) -> Diagnosis | None:
    observed = run.observations
    if observed is None or observed.position is None:
        return None
    hint = f"give it the number of times it will be stepped ({length.named} now)"
    if observed.position > length.steps:
        return diagnosis(
            "LR003",
            f"{run.name} was stepped past its end ({length.named}), after {observed.total:,} "
            "optimizer steps; torch raises an error there.",
            hint,
        )
    ended = observed.position >= length.steps - 1
    if not ended or observed.rested <= max(HANDFUL, OVER * length.steps):
        return None
    return diagnosis(
        "LR003",
        f"{run.name} ran out (step {observed.position:,} of {length.steps:,}): the last "
        f"{observed.rested:,} of {observed.total:,} optimizer steps ran at its final learning "
        "rate.",
        hint,
    )


def _beyond(position: int, length: Length) -> bool:
    return position > length.steps + max(OVER_STEPS, OVER * length.steps)


def stepped_first(run: RunFacts) -> Diagnosis | None:
    """LR005: the first learning rate of the schedule was never used.

    A larger jump means that a checkpoint was loaded. A plateau schedule has no first value. A loop
    in the right order also steps the scheduler after the last optimizer step; where it does, the
    first value was skipped on purpose, such as a rate of 0.
    """
    observed = run.observations
    if observed is None or not observed.early or run.statistics.plateau is not None:
        return None
    if observed.early > observed.factor or observed.steps < 2:
        return None
    if not run.finished or observed.position != observed.used:
        return None
    return diagnosis(
        "LR005",
        f"{run.name} was stepped before the first optimizer step, so its first value was skipped.",
        "call optimizer.step() first, then scheduler.step()",
    )


def stepped_often(run: RunFacts) -> Diagnosis | None:
    """LR012: several scheduler steps for each optimizer step.

    Not reported where the schedule ends about where it is used up: then its length counts batches,
    and not optimizer steps. Steps that a gradient scaler skipped do not count.
    """
    observed, length = run.observations, run.length
    if observed is None or observed.steps < (HANDFUL if run.ended else FEW):
        return None
    if observed.repeated - observed.skipped <= REPEATED * observed.steps:
        return None
    by_processes = observed.world_size > 1 and observed.factor == observed.world_size
    if _meant(run, USED if by_processes else USED_WHOLLY):
        return None
    message = f"{run.name} was stepped {observed.factor} times for each optimizer step"
    if by_processes:
        return diagnosis(
            "LR012",
            f"{message}, once per process: accelerate does this to a scheduler that "
            "went through prepare().",
            "ignore this if the schedule's length counts the batches of a single process; "
            "otherwise step it once per optimizer step: use "
            "Accelerator(step_scheduler_with_optimizer=False)",
        )
    batches = "" if length is None else ". Ignore this if its length counts batches"
    return diagnosis(
        "LR012",
        f"{message}: the schedule runs {observed.factor} times too fast.",
        "call scheduler.step() once after optimizer.step(), not for each accumulated batch or "
        f"param group{batches}",
    )


def _meant(run: RunFacts, part: float) -> bool:
    """Whether the length counts batches, or those of all processes, or may still turn out to.

    Args:
        part: how much of the length is used at least if it does.
    """
    observed, length = run.observations, run.length
    if observed is None or observed.position is None or length is None:
        return False
    if _beyond(observed.used, length):
        return False
    return not run.ended or observed.position >= part * length.steps


def skipped(run: RunFacts) -> Diagnosis | None:
    """LR026: a gradient scaler skipped many steps, or all of them.

    The first few do not count: the scaler looks for its scale.
    """
    observed = run.observations
    if observed is None or not run.ended:
        return None
    tried = observed.steps + observed.skipped
    if observed.skipped <= max(HANDFUL, SKIPPED * tried):
        return None
    times = "all" if not observed.steps else f"{observed.skipped:,} of"
    return diagnosis(
        "LR026",
        f"the gradient scaler skipped {times} {count(tried, 'step')}, because their gradients were "
        "infinite or NaN.",
        "look for the operation that overflows, and run it in float32; use bfloat16; or lower "
        "init_scale. Step the scheduler only if the optimizer has stepped",
    )


RULES = (never_stepped, hardly_used, past_its_end, stepped_first, stepped_often)
OF_TRAINING = (skipped,)

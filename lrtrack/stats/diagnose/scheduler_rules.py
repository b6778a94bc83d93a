"""Rules on how the scheduler was stepped: LR001, LR002, LR003, LR005 and LR012."""

from __future__ import annotations

from lrtrack.schedules import CONSTANT
from lrtrack.stats.diagnose.observations import Observations
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, many, share
from lrtrack.stats.diagnose.schedule_length import After, Length
from lrtrack.stats.diagnose.thresholds import (
    FEW,
    HANDFUL,
    OVER,
    OVER_STEPS,
    REPEATED,
    RISEN,
    USED,
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
        f"all {many(observed.steps, 'optimizer step')}.",
        "call scheduler.step() after optimizer.step(), or once per epoch if the schedule counts "
        "epochs",
    )


def hardly_used(run: RunFacts) -> Diagnosis | None:
    """LR002: the run ended before half of its schedule was used."""
    observed, length = run.observations, run.length
    if observed is None or length is None or not run.finished or observed.total < FEW:
        return None
    if not observed.position or observed.position >= USED * length.steps:
        return None
    used = f"{share(observed.position, length.steps)} of its length ({length.named})"
    pace = observed.steps / max(1, observed.moves)
    if observed.moves and pace >= 2.0 and observed.total >= USED * length.steps:
        return diagnosis(
            "LR002",
            f"{run.name} was stepped only every {pace:.0f} optimizer steps, as if per epoch, but "
            f"its length is in optimizer steps: it used {used} in "
            f"{many(observed.total, 'optimizer step')}.",
            "call scheduler.step() after every optimizer.step(), or give the schedule's length in "
            "epochs",
        )
    return diagnosis(
        "LR002",
        f"{run.name} used {used}: it was stepped {many(observed.position, 'time')} in "
        f"{many(observed.total, 'optimizer step')}.",
        "make the schedule as long as the training: scheduler steps, not batches or samples, with "
        "gradient accumulation and several processes counted; ignore this if you will resume this "
        "run",
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
        where = f"step {observed.used} of {length.steps} ({length.named})"
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
            f"{run.name} was stepped past its end ({length.named}), after {observed.total} "
            "optimizer steps; torch raises an error there.",
            hint,
        )
    ended = observed.position >= length.steps - 1
    if not ended or observed.rested <= max(HANDFUL, OVER * length.steps):
        return None
    return diagnosis(
        "LR003",
        f"{run.name} ran out (step {observed.position} of {length.steps}): the last "
        f"{observed.rested} of {observed.total} optimizer steps ran at its final learning rate.",
        hint,
    )


def _beyond(position: int, length: Length) -> bool:
    return position > length.steps + max(OVER_STEPS, OVER * length.steps)


def stepped_first(run: RunFacts) -> Diagnosis | None:
    """LR005: the first learning rate of the schedule was never used.

    A larger jump means that a checkpoint was loaded. A plateau schedule has no first value.
    """
    observed = run.observations
    if observed is None or not observed.early or run.statistics.plateau is not None:
        return None
    if observed.early > observed.factor or observed.steps < 2:
        return None
    return diagnosis(
        "LR005",
        f"{run.name} was stepped before the first optimizer step, so its first value was skipped.",
        "call optimizer.step() first, then scheduler.step()",
    )


def stepped_often(run: RunFacts) -> Diagnosis | None:
    """LR012: several scheduler steps for each optimizer step."""
    observed = run.observations
    if (
        observed is None
        or observed.steps < HANDFUL
        or observed.repeated <= REPEATED * observed.steps
    ):
        return None
    by_processes = observed.world_size > 1 and observed.factor == observed.world_size
    if by_processes and _meant(observed, run.length):
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
    return diagnosis(
        "LR012",
        f"{message}: the schedule runs {observed.factor} times too fast.",
        "call scheduler.step() once after optimizer.step(), not for each accumulated batch or "
        "param group",
    )


def _meant(observed: Observations, length: Length | None) -> bool:
    """Whether the length counts the batches of all processes, as accelerate expects."""
    if length is None or observed.position is None:
        return False
    return observed.position >= USED * length.steps and not _beyond(observed.used, length)


RULES = (never_stepped, hardly_used, past_its_end, stepped_first, stepped_often)

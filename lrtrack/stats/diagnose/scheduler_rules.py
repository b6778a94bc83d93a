"""How the scheduler was stepped: LR001, LR002, LR003, LR005 and LR012."""

from __future__ import annotations

from lrtrack.schedules import CONSTANT
from lrtrack.stats.diagnose.observations import Evidence
from lrtrack.stats.diagnose.rule import Case, Found, many, share, told
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


def never_stepped(case: Case) -> Found | None:
    """LR001: the schedule stood still. Not where an exception came first, or others moved the rate.

    A run that goes on with a scheduler stepped before may take the steps between its blocks.
    """
    seen = case.evidence
    if seen is None or not case.finished or case.name == CONSTANT or seen.steps < HANDFUL:
        return None
    unmoved = seen.moves == 0 and seen.begun is not None and seen.position == seen.begun
    if not (unmoved and (seen.begun or 0) <= 0 and case.figures.still):
        return None
    return told(
        "LR001",
        f"{case.name} was never stepped: the learning rate stayed at {case.figures.peak:.4g} for "
        f"all {many(seen.steps, 'optimizer step')}.",
        "call scheduler.step() after optimizer.step() (once an epoch where the schedule counts "
        "epochs)",
    )


def hardly_used(case: Case) -> Found | None:
    """LR002: the run ended with most of the schedule to come."""
    seen, length = case.evidence, case.length
    if seen is None or length is None or not case.finished or seen.total < FEW:
        return None
    if not seen.position or seen.position >= USED * length.steps:
        return None
    used = f"{share(seen.position, length.steps)} of its length ({length.named})"
    pace = seen.steps / max(1, seen.moves)
    if seen.moves and pace >= 2.0 and seen.total >= USED * length.steps:
        return told(
            "LR002",
            f"{case.name} was stepped only every {pace:.0f} optimizer steps, as if per epoch, but "
            f"is made for steps: it used {used} in {many(seen.total, 'optimizer step')}.",
            "call scheduler.step() after every optimizer.step(), or give the schedule's length in "
            "epochs",
        )
    return told(
        "LR002",
        f"{case.name} used {used}: it was stepped {many(seen.position, 'time')} in "
        f"{many(seen.total, 'optimizer step')}.",
        "make the schedule as long as the training: scheduler steps, not batches or samples, with "
        "gradient accumulation and several processes counted; ignore this if the run is to go on",
    )


def past_its_end(case: Case) -> Found | None:
    """LR003: a cosine that rises again, a one-cycle that is used up."""
    length = case.length
    if length is None or length.after is After.STAYS:
        return None
    if length.after is After.ENDS:
        return _used_up(case, length)
    seen = case.evidence
    if seen is not None and seen.position is not None:
        over = _beyond(seen.used, length)
        where = f"step {seen.used} of {length.steps} ({length.named})"
    else:
        span = case.figures.peak - length.floor
        over = span > 0.0 and case.figures.risen > RISEN * span
        where = f"it is made for {length.named}"
    if not over:
        return None
    return told(
        "LR003",
        f"{case.name} ran past its end, where a cosine rises again: {where}.",
        "make it as long as the training, stop stepping it at its end, or use "
        "CosineAnnealingWarmRestarts if it is to rise",
    )


def _used_up(case: Case, length: Length) -> Found | None:
    seen = case.evidence
    if seen is None or seen.position is None:
        return None
    hint = f"give it the number of times it will be stepped ({length.named} now)"
    if seen.position > length.steps:
        return told(
            "LR003",
            f"{case.name} was stepped past its end ({length.named}), after {seen.total} optimizer "
            "steps; torch raises an error there.",
            hint,
        )
    ended = seen.position >= length.steps - 1
    if not ended or seen.rested <= max(HANDFUL, OVER * length.steps):
        return None
    return told(
        "LR003",
        f"{case.name} was used up (step {seen.position} of {length.steps}): the last "
        f"{seen.rested} of {seen.total} optimizer steps ran at its final learning rate.",
        hint,
    )


def _beyond(position: int, length: Length) -> bool:
    return position > length.steps + max(OVER_STEPS, OVER * length.steps)


def stepped_first(case: Case) -> Found | None:
    """LR005: the first learning rate of the schedule was never used.

    A jump is a checkpoint that was loaded; a plateau schedule has no first value.
    """
    seen = case.evidence
    if seen is None or not seen.early or case.figures.plateau is not None:
        return None
    if seen.early > seen.factor or seen.steps < 2:
        return None
    return told(
        "LR005",
        f"{case.name} was stepped before the first optimizer step, so its first value was skipped.",
        "call optimizer.step() first, then scheduler.step()",
    )


def stepped_often(case: Case) -> Found | None:
    """LR012: several scheduler steps for each optimizer step."""
    seen = case.evidence
    if seen is None or seen.steps < HANDFUL or seen.repeated <= REPEATED * seen.steps:
        return None
    by_processes = seen.world_size > 1 and seen.factor == seen.world_size
    if by_processes and _meant(seen, case.length):
        return None
    message = f"{case.name} was stepped {seen.factor} times for each optimizer step"
    if by_processes:
        return told(
            "LR012",
            f"{message}, as many as there are processes: accelerate does so with a scheduler that "
            "went through prepare().",
            "right if its length counts the batches of a single process; else divide, or use "
            "Accelerator(step_scheduler_with_optimizer=False) and step it once",
        )
    return told(
        "LR012",
        f"{message}: it runs {seen.factor} times as fast as written.",
        "call scheduler.step() once after optimizer.step(): not for each batch that is accumulated "
        "or each param group",
    )


def _meant(seen: Evidence, length: Length | None) -> bool:
    """Whether a length counts all processes' batches, which is how accelerate means it."""
    if length is None or seen.position is None:
        return False
    return seen.position >= USED * length.steps and not _beyond(seen.used, length)


RULES = (never_stepped, hardly_used, past_its_end, stepped_first, stepped_often)

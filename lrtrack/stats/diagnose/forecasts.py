"""LR027, LR028 and the early form of LR002: schedules that will not fit the training.

They need to know how many steps the training will make, and hold while it runs: a schedule that is
over at an eighth of the training is known after a few steps. At the end, the steps that were made
take the place of those that were planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrack.fields import JSON
from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, share
from lrtrack.stats.diagnose.thresholds import ENDS_EARLY, FEW, PACED, STEPWISE, USED

#: Schedules whose length is meant to be that of the training.
_WHOLE = ("OneCycleLR", "CosineAnnealingLR", "PolynomialLR")


def ends_early(run: RunFacts) -> Diagnosis | None:
    """LR028: the schedule is over long before the training."""
    length, planned, pace = run.length, _planned(run), _pace(run)
    if length is None or planned is None or pace is None or not _is_whole(run.schedule.to_dict()):
        return None
    observed = run.observations
    assert observed is not None  # else there is no pace
    before = observed.total - observed.steps
    end = before + (length.steps - (observed.begun or 0)) / pace
    if end >= ENDS_EARLY * planned:
        return None
    often = ""
    if pace > 1.5:
        often = f" ({pace:.3g} scheduler steps per optimizer step"
        often += f"; {observed.world_size} processes" if observed.world_size > 1 else ""
        often += ")"
    verb = "at this pace, {} ends" if run.running else "{} ended"
    return diagnosis(
        "LR028",
        f"{verb.format(run.name)} at step {max(0, round(end)):,} of {planned:,}{often}; its length "
        f"is {length.named}.",
        "step it once per optimizer step, or make it as long as the training; with several "
        "processes, accelerate steps it once for each of them",
    )


def will_hardly_be_used(run: RunFacts) -> Diagnosis | None:
    """LR002, before the end: the training will end before half of its schedule is used."""
    length, planned, pace = run.length, _planned(run), _pace(run)
    if not run.running or length is None or planned is None or pace is None:
        return None
    observed = run.observations
    assert observed is not None
    left = planned - observed.total
    used = (observed.position or 0) + pace * left
    if used >= USED * length.steps or not _is_whole(run.schedule.to_dict()):
        return None
    return diagnosis(
        "LR002",
        f"at this pace, {run.name} will have used {share(round(used), length.steps)} of its length "
        f"({length.named}) at the end of the training, step {planned:,}.",
        "make the schedule as long as the training: scheduler steps, not batches or samples, with "
        "gradient accumulation and several processes counted",
    )


def warms_up_too_long(run: RunFacts) -> Diagnosis | None:
    """LR027: the warm-up is longer than the training."""
    planned, pace, warmup = _planned(run), _pace(run), _warmup(run.schedule.to_dict())
    if planned is None or pace is None or warmup is None or warmup <= pace * planned:
        return None
    if pace < STEPWISE:  # it may count epochs: LR002 says so
        return None
    return diagnosis(
        "LR027",
        f"the warm-up of {warmup:,} scheduler steps is longer than the training, which makes "
        f"{max(1, round(pace * planned)):,}: the learning rate never reaches its peak.",
        "shorten the warm-up, usually to a few percent of the training",
    )


def _planned(run: RunFacts) -> int | None:
    """How many steps the training will make, or has made."""
    observed = run.observations
    if observed is None or observed.total < FEW:
        return None
    if run.running:
        return run.total_steps
    return observed.total if run.finished else None


def _pace(run: RunFacts) -> float | None:
    """Scheduler steps per optimizer step; None if that is not clear.

    The counts may be those of a moment between a step of the one and the steps of the other, so a
    pace that such a moment explains is a whole number.
    """
    observed = run.observations
    if observed is None or observed.position is None or observed.moves < PACED:
        return None
    moved_in = observed.steps - observed.rested
    moved = observed.position - (observed.begun or 0)  # not above 0 if an earlier state was loaded
    if moved <= 0 or moved_in <= 0:
        return None
    whole = round(moved / moved_in)
    return float(whole) if abs(moved - whole * moved_in) <= whole else moved / moved_in


def _is_whole(data: Mapping[str, JSON]) -> bool:
    """Whether a schedule's length is meant to be that of the training: not one of its cycles."""
    if data["name"] == "SequentialLR":
        parts: Any = data.get("schedulers")
        return bool(parts) and isinstance(parts[-1], Mapping) and _is_whole(parts[-1])
    return data["name"] in _WHOLE or "num_training_steps" in data


def _warmup(data: Mapping[str, Any]) -> int | None:
    """The scheduler steps of a schedule's warm-up; None if it has none that can be read."""
    try:
        if data["name"] == "SequentialLR":
            return int(data["milestones"][0]) if _rises(data["schedulers"][0]) else None
        if "num_warmup_steps" in data:
            return int(data["num_warmup_steps"])
        return int(data["total_iters"]) if _rises(data) else None
    except (KeyError, TypeError, ValueError, IndexError):
        return None  # not torch's parameters, or not in torch's form


def _rises(data: Mapping[str, Any]) -> bool:
    return data["name"] == "LinearLR" and float(data["start_factor"]) < float(data["end_factor"])


RULES = (ends_early, will_hardly_be_used, warms_up_too_long)

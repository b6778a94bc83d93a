"""The length of a schedule, if its parameters state it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from lrtrack.schedules import Schedule


class After(Enum):
    """What happens after a schedule's last step."""

    RISES = "rises"
    """A cosine goes up again."""
    ENDS = "ends"
    """torch refuses another step."""
    STAYS = "stays"
    """The rate stays, or goes on as before."""


@dataclass(frozen=True)
class Length:
    """A schedule's length in scheduler steps.

    Attributes:
        named: the parameter that states it, for people: `T_max=100`.
        floor: the rate at its end, for a cosine.
    """

    steps: int
    named: str
    after: After
    floor: float = 0.0


def length_of(schedule: Schedule) -> Length | None:
    """Return the length of `schedule`, or of one cycle; None if no parameter states it.

    The length of a schedule that cuts the rate at certain steps is its last cut. A run under half
    of that has missed most of the schedule.
    """
    try:
        return _length(schedule.to_dict())
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return None  # not torch's parameters, or not in torch's form


#: Class name → parameter that holds the length.
_PARAMETERS = {
    "OneCycleLR": "total_steps",
    "CosineAnnealingLR": "T_max",
    "CosineAnnealingWarmRestarts": "T_0",
    "LinearLR": "total_iters",
    "PolynomialLR": "total_iters",
    "ConstantLR": "total_iters",
    "StepLR": "step_size",
}
_AFTER = {"OneCycleLR": After.ENDS, "CosineAnnealingLR": After.RISES}


def _length(data: Mapping[str, Any]) -> Length | None:
    name = data["name"]
    if name in _PARAMETERS:
        key = _PARAMETERS[name]
        floor = data.get("eta_min") if name == "CosineAnnealingLR" else None
        floor = float(floor) if isinstance(floor, int | float) else 0.0
        after = _AFTER.get(name, After.STAYS)
        return Length(int(data[key]), f"{key}={data[key]}", after, floor)
    if name == "MultiStepLR":
        last = max(data["milestones"])
        return Length(int(last), f"milestones up to {last}", After.STAYS)
    if name == "CyclicLR":
        cycle = data["step_size_up"] + data["step_size_down"]
        return Length(int(cycle), f"a cycle of {cycle:g} steps", After.STAYS)
    if name == "SequentialLR":
        return _of_sequence(data["schedulers"], data["milestones"])
    if name == "ChainedScheduler":  # a part that runs past its end does not affect the whole
        lengths = [_length(part) for part in data["schedulers"]]
        stated = [length for length in lengths if length is not None]
        longest = max(stated, key=lambda length: length.steps, default=None)
        return None if longest is None else replace(longest, after=After.STAYS)
    is_function = name == "LambdaLR" or "lr_lambda" in data
    if is_function and "num_training_steps" in data:  # a schedule of transformers
        steps = int(data["num_training_steps"])
        rises = "cosine" in str(data.get("lr_lambda")) and data.get("num_cycles") == 0.5
        after = After.RISES if rises else After.STAYS
        return Length(steps, f"num_training_steps={steps}", after)
    return None


def _of_sequence(parts: Any, milestones: Any) -> Length | None:
    """Return the last part's length plus the last milestone; the milestone alone if it has none."""
    begins = int(milestones[-1]) if milestones else 0
    last = _length(parts[-1])
    if last is None:
        return Length(begins, f"milestones up to {begins}", After.STAYS) if begins else None
    steps = begins + last.steps
    return replace(last, steps=steps, named=f"{steps} steps with {last.named}")

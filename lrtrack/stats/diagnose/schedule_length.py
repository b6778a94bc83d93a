"""How long a schedule is, where its parameters say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from lrtrack.schedules import Schedule


class After(Enum):
    """What comes after a schedule's last step."""

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
        named: the parameter that says so, for people: `T_max=100`.
        floor: the rate at its end, where it is a cosine.
    """

    steps: int
    named: str
    after: After
    floor: float = 0.0


def length_of(schedule: Schedule) -> Length | None:
    """The length of `schedule`, of a cycle where it has cycles; None where nothing says it.

    Of one that cuts the rate at certain steps it is the last cut that its parameters name: under
    half of that, most of the schedule has not happened.
    """
    try:
        return _length(schedule.to_dict())
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return None  # not torch's parameters, or not as torch has them


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
    if name == "ChainedScheduler":  # one past its end is no mistake of the whole
        lengths = [_length(part) for part in data["schedulers"]]
        known = [length for length in lengths if length is not None]
        longest = max(known, key=lambda length: length.steps, default=None)
        return None if longest is None else replace(longest, after=After.STAYS)
    if name == "LambdaLR" and "num_training_steps" in data:  # transformers'
        steps = int(data["num_training_steps"])
        rises = "cosine" in str(data.get("lr_lambda")) and data.get("num_cycles") == 0.5
        after = After.RISES if rises else After.STAYS
        return Length(steps, f"num_training_steps={steps}", after)
    return None


def _of_sequence(parts: Any, milestones: Any) -> Length | None:
    """The last part's length after the last milestone; that alone where it has none."""
    begins = int(milestones[-1]) if milestones else 0
    last = _length(parts[-1])
    if last is None:
        return Length(begins, f"milestones up to {begins}", After.STAYS) if begins else None
    steps = begins + last.steps
    return replace(last, steps=steps, named=f"{steps} steps with {last.named}")

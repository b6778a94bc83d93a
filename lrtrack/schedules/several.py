"""The schedules of several optimizers as one schedule, which holds that of each by its name."""

from __future__ import annotations

from collections.abc import Mapping

from lrtrack.schedules.schedule import CONSTANT, DECLARED, INFERRED, Schedule

#: What joins the names of schedules that run side by side.
SIGN = " + "


def side_by_side(schedules: Mapping[str, Schedule]) -> Schedule:
    """Join schedules that run at the same time, sorted by name, so that equal ones stay equal.

    Args:
        schedules: the name of each optimizer to its schedule, not empty.

    Returns:
        `Schedule("StepLR + CosineAnnealingLR", {"adamw": {"name": "StepLR", …}, "muon": …})`; a
        constant schedule if all of them are constant. Its source is `"inferred"` if that of any
        of them is.
    """
    if all(schedule == Schedule(CONSTANT) for schedule in schedules.values()):
        return Schedule(CONSTANT)
    ordered = {name: schedules[name] for name in sorted(schedules)}
    joined = SIGN.join(schedule.name for schedule in ordered.values())
    inferred = any(schedule.source == INFERRED for schedule in ordered.values())
    params = {name: schedule.to_dict() for name, schedule in ordered.items()}
    return Schedule(joined, params, INFERRED if inferred else DECLARED)


def parts_of(schedule: Schedule) -> dict[str, Schedule]:
    """Return the schedules that `side_by_side` joined, by name; empty for any other schedule."""
    if SIGN not in schedule.name:
        return {}
    try:
        parts = {name: Schedule.from_dict(schedule.params[name]) for name in schedule.params}
    except (AttributeError, TypeError, ValueError):
        return {}
    joined = SIGN.join(parts[name].name for name in sorted(parts))
    return parts if joined == schedule.name else {}

"""Descriptions of Ignite's own schedulers, which `describe()` can read once this is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrtrack._optional import load
from lrtrack.capture.argument_readers import READERS
from lrtrack.capture.describe import OPENERS, describe

_schedulers: Any = load(
    "ignite.handlers.param_scheduler", extra="ignite", package="pytorch-ignite", at_least="0.5.2"
)


def for_track(scheduler: Any) -> Any:
    """A scheduler as `track()` takes it: Ignite does not call `step()` of its own ones."""
    if isinstance(scheduler, _schedulers.ReduceLROnPlateauScheduler):
        return scheduler.scheduler
    ignite_classes = (_schedulers.BaseParamScheduler, _schedulers.ParamGroupScheduler)
    return describe(scheduler) if isinstance(scheduler, ignite_classes) else scheduler


def _first_cycle(name: str, factor: str) -> Callable[[Any], Any]:
    """Reads a value as it was in the first cycle: Ignite multiplies it in place after each one."""

    def read(scheduler: Any) -> Any:
        value, cycles = getattr(scheduler, name), scheduler.cycle
        # The start is multiplied before the warm-up that ends a cycle, the rest after it.
        cycles += name == "start_value" and scheduler.event_index > scheduler.cycle_size
        first = float(f"{value / getattr(scheduler, factor) ** cycles:.12g}")
        return round(first) if isinstance(value, int) else first

    return read


# CosineAnnealingWarmRestarts has one more wrapper.
OPENERS[_schedulers.LRScheduler] = lambda s: getattr(
    s.lr_scheduler, "_lr_scheduler", s.lr_scheduler
)
READERS[_schedulers.BaseParamScheduler] = {}
READERS[_schedulers.ParamGroupScheduler] = {}
READERS[_schedulers.PiecewiseLinear] = {
    "milestones_values": lambda s: [list(pair) for pair in zip(s.milestones, s.values, strict=True)]
}
READERS[_schedulers.CyclicalScheduler] = {
    "start_value": _first_cycle("start_value", "start_value_mult"),
    "end_value": _first_cycle("end_value", "end_value_mult"),
    "cycle_size": _first_cycle("cycle_size", "cycle_mult"),
    "warmup_duration": _first_cycle("warmup_duration", "cycle_mult"),
}

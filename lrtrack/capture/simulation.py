"""Steps copies of schedulers to learn the rates that they are going to set."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import (
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

from lrtrack.capture.inverse_sqrt import InverseSqrtLR
from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.own_schedulers import ConstantLR, LinearLR, OneMinusSqrtLR, PiecewiseLR
from lrtrack.capture.scheduler_copy import stand_in
from lrtrack.capture.step_arguments import stepper
from lrtrack.capture.time_decay import TimeDecayLR
from lrtrack.errors import UsageError

#: Classes of lrtrack whose steps only set the rates that `get_lr()` computes.
_OWN = (ConstantLR, InverseSqrtLR, LinearLR, OneMinusSqrtLR, PiecewiseLR, TimeDecayLR)


def number(value: Any) -> float:
    """A learning rate that may be a tensor, as a float."""
    return float(value.item()) if isinstance(value, torch.Tensor) else float(value)


class SimulatedClock:
    """A clock that advances with each step."""

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0:
            raise UsageError(f"seconds_per_step must be at least 0, got {seconds!r}")
        self._seconds = seconds
        self.steps = 0

    def __call__(self) -> float:
        """Seconds since the first step."""
        return self.steps * self._seconds


class Stepper:
    """Steps schedulers, and appends each group's rate to its list after each step."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        found: list[list[float]],
        clock: SimulatedClock,
        metrics: Sequence[float],
    ) -> None:
        self._groups = groups
        self._found = found
        self._clock = clock
        self._metrics = metrics
        # a tensor is written in place, which is slow in any case
        self._plain = all(isinstance(group["lr"], int | float) for group in groups)

    def advance(self, scheduler: Any, steps: int) -> None:
        """Step a scheduler `steps` times in the fastest way that is exact for it."""
        if type(scheduler) is SequentialLR:
            self._chain(scheduler, steps)
        elif self._plain and _is_simple(scheduler):
            self._tight(scheduler, steps)
        else:
            self._whole(stepper(scheduler, self._metrics, steps), steps)

    def _whole(self, step: Callable[[int], Any], steps: int) -> None:
        pairs = list(zip(self._groups, self._found, strict=True))
        clock, convert = self._clock, float if self._plain else number
        for _ in range(steps):
            clock.steps += 1
            step(clock.steps)
            for group, rates in pairs:
                rates.append(convert(group["lr"]))

    def _chain(self, chain: Any, steps: int) -> None:
        """Step the parts in turn; the chain itself makes the step that switches parts."""
        while steps:
            ends = chain._milestones
            at = bisect_right(ends, chain.last_epoch)
            inner = steps if at == len(ends) else min(steps, ends[at] - 1 - chain.last_epoch)
            if inner > 0:
                self.advance(chain._schedulers[at], inner)
                chain.last_epoch += inner
            elif steps:
                inner = 1
                self._whole(lambda count: chain.step(), 1)
            steps -= inner

    def _tight(self, scheduler: Any, steps: int) -> None:
        """Do what `LRScheduler.step` does, except for state that nothing reads in a simulation."""
        epochs = range(scheduler.last_epoch + 1, scheduler.last_epoch + steps + 1)
        scheduler._step_count += min(steps, 1)  # tells the first step from the others
        if isinstance(scheduler, OneCycleLR | CyclicLR):
            scheduler.cycle_momentum = False  # no learning rate depends on it
        timed = isinstance(scheduler, TimeDecayLR)
        self._clock.steps += 0 if timed else steps
        scheduler._get_lr_called_within_step = True
        try:
            if type(scheduler) is CosineAnnealingWarmRestarts:
                self._restarts(scheduler, epochs)
            elif len(self._groups) == 1 and not timed:
                self._tight_for_one(scheduler, epochs)
            else:
                self._tight_for_all(scheduler, epochs, timed)
        finally:
            scheduler._get_lr_called_within_step = False
        scheduler._step_count += steps - min(steps, 1)

    def _tight_for_one(self, scheduler: Any, epochs: range) -> None:
        compute, group, add = scheduler.get_lr, self._groups[0], self._found[0].append
        for scheduler.last_epoch in epochs:
            (rate,) = compute()
            group["lr"] = rate
            add(rate)

    def _restarts(self, scheduler: Any, epochs: range) -> None:
        for scheduler.last_epoch in epochs:  # the only class of torch whose `step` keeps state
            scheduler.T_cur += 1
            if scheduler.T_cur >= scheduler.T_i:
                scheduler.T_cur %= scheduler.T_i
                scheduler.T_i *= scheduler.T_mult
            rates = scheduler.get_lr()
            for group, found, rate in zip(self._groups, self._found, rates, strict=True):
                group["lr"] = rate
                found.append(rate)

    def _tight_for_all(self, scheduler: Any, epochs: range, timed: bool) -> None:
        compute, clock = scheduler.get_lr, self._clock
        pairs = list(zip(self._groups, self._found, strict=True))
        for scheduler.last_epoch in epochs:
            clock.steps += timed
            for (group, rates), rate in zip(pairs, compute(), strict=True):
                group["lr"] = rate
                rates.append(rate)


def copy_of(scheduler: Any, clock: SimulatedClock) -> tuple[Any, list[dict[str, Any]]]:
    """A copy of a scheduler, and the param groups whose rates it sets."""
    moving, groups = stand_in(scheduler)
    for part in nested(moving):
        if isinstance(part, TimeDecayLR):
            part.use_clock(clock)
    return moving, groups


class Simulation:
    """The rates that a scheduler's first param group is going to have, as far as they are needed.

    Unlike `simulate()`, it can go on where it stopped, so that each call takes little time.

    Args:
        scheduler: stays unchanged; a copy is stepped.
    """

    def __init__(self, scheduler: Any) -> None:
        clock = SimulatedClock(1.0)
        self._scheduler, groups = copy_of(scheduler, clock)
        self._rates = [[number(group["lr"])] for group in groups]
        self._run = Stepper(groups, self._rates, clock, ())
        self._has_ended = False
        self._known = np.array(self._rates[0])

    @property
    def size(self) -> int:
        """How many rates there are so far."""
        return len(self._rates[0])

    def extend(self, size: int) -> None:
        """Compute rates until there are `size`, or until the scheduler cannot be stepped further.

        1,000 of them take about 3 ms.
        """
        if self._has_ended or size <= self.size:
            return
        try:
            self._run.advance(self._scheduler, size - self.size)
        except Exception:  # whatever a third-party step() may raise: the schedule ends here
            self._has_ended = True
        self._known = np.array(self._rates[0])

    def rates(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """The rates after `counts` steps of the scheduler; NaN where they are not known.

        Args:
            counts: shape (n,).

        Returns:
            Shape (n,).
        """
        rates = np.full(counts.shape, np.nan)
        known = (counts >= 0) & (counts < self.size)
        rates[known] = self._known[counts[known]]
        return rates


def _is_simple(scheduler: Any) -> bool:
    """Whether a step only sets the rates that `get_lr()` computes."""
    cls = type(scheduler)
    if cls is CosineAnnealingWarmRestarts:
        return True
    if cls not in _OWN and cls.__module__ != lr_scheduler.__name__:
        return False
    return cls.step is LRScheduler.step and "step" not in vars(scheduler)

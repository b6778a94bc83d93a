"""Computes learning rates before a training, exactly as the training will use them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
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

from lrtrack.capture.from_spec import scheduler as build
from lrtrack.capture.inverse_sqrt import InverseSqrtLR
from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.own_schedulers import ConstantLR, LinearLR, OneMinusSqrtLR, PiecewiseLR
from lrtrack.capture.scheduler_copy import stand_in
from lrtrack.capture.step_arguments import stepper
from lrtrack.capture.time_decay import TimeDecayLR
from lrtrack.errors import UsageError

#: Momentum of the simulated optimizer.
LR, MOMENTUM = 0.1, 0.9
#: The most learning rates of a simulation, steps × param groups. While they are collected, each
#: takes 32 bytes (a float and its place in a list) and then 8 more in the array: 0.4 GB in all.
MOST = 10_000_000
#: Classes of lrtrack whose steps only set the rates that `get_lr()` computes.
_OWN = (ConstantLR, InverseSqrtLR, LinearLR, OneMinusSqrtLR, PiecewiseLR, TimeDecayLR)


def simulate(
    schedule: Any,
    steps: int,
    *,
    lr: float = LR,
    total_steps: int | None = None,
    metrics: Iterable[float] | None = None,
    seconds_per_step: float = 1.0,
) -> NDArray[np.float64]:
    """Return the learning rates that the next `steps` optimizer steps use.

    Each rate is read right before a step, and the scheduler moves after it. Rates equal those of a
    training exactly, because torch's own classes compute them. A scheduler that is passed in stays
    unchanged, and so does its optimizer: a copy without parameters or optimizer state is stepped.

    The names of the parameters of its `step()` say what it needs: nothing, a metric (`metrics`,
    `loss`, …), or the epoch (`epoch`, `num_updates`, …), as timm's schedulers do, which are given
    `last_epoch` + 1, + 2, …, or 1, 2, … if they do not have it; `step_update()` is called too.

    1,000,000 steps take 0.4 to 1.5 s of CPU time with the classes of torch and lrtrack and with
    chains of them, whose `get_lr()` is called without the rest of `step()`. Any other class is
    stepped in full, because its `step()` may do more: 4 s for a `ChainedScheduler` of two.
    (Measured with torch 2.13 on a 2-core machine.)

    Args:
        schedule: a spec in any form that `lrtrack.scheduler` accepts, or a scheduler.
        steps: the number of optimizer steps; with it, steps × param groups is at most 10,000,000.
        lr: initial learning rate for a spec; a scheduler has its own.
        total_steps: length for a spec that leaves it open; None means `steps`.
        metrics: values for a schedule that takes a metric, one after each step. None: torch's
            plateau schedule gets one that never improves, and any other that needs one is refused.
        seconds_per_step: seconds that a step takes, for schedules that decay with time.

    Returns:
        Learning rates, shape (steps, param groups).

    Raises:
        UsageError: the spec cannot be read, ends before `steps`, or the scheduler cannot be
            stepped without more information.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(
            f"steps must be a whole number of optimizer steps, at least 1; got {steps!r}"
        )
    _check_size(steps, 1)
    clock = _Clock(seconds_per_step)
    if callable(getattr(schedule, "step", None)):
        moving, groups = stand_in(schedule)
        for part in nested(moving):
            if isinstance(part, TimeDecayLR):
                part.use_clock(clock)
    else:
        optimizer = _dummy(lr)
        total = steps if total_steps is None else total_steps
        moving, groups = build(optimizer, schedule, total, clock=clock), optimizer.param_groups
        optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch warns
    _check_size(steps, len(groups))
    rates = [[_number(group["lr"])] for group in groups]
    values = [] if metrics is None else [float(value) for value in islice(metrics, steps)]
    if metrics is not None and len(values) < steps - 1:
        raise UsageError(
            f"{steps} steps need {steps - 1} metric values, one after each step but the last; "
            f"got {len(values)}"
        )
    try:
        _Run(groups, rates, clock, values).advance(moving, steps - 1)
    except UsageError:
        raise
    except Exception as error:  # whatever a third-party step() may raise
        name = type(moving).__name__
        raise UsageError(f"{name} cannot be simulated for {steps} steps: {error}") from error
    return np.array(rates, dtype=np.float64).T


def _check_size(steps: int, groups: int) -> None:
    if steps * groups > MOST:
        times = "" if groups == 1 else f" for {groups} param groups"
        raise UsageError(
            f"{steps:,} steps{times} are too many to simulate: their learning rates would take "
            f"{steps * groups * 40 / 1e9:.1f} GB of memory. Fix: simulate at most "
            f"{MOST // groups:,} steps, or a schedule with all lengths divided by the same number."
        )


def _dummy(lr: float) -> torch.optim.Optimizer:
    if not lr >= 0:
        raise UsageError(f"lr must be at least 0, got {lr!r}")
    parameter = torch.nn.Parameter(torch.zeros(()))
    return torch.optim.SGD([parameter], lr=lr, momentum=MOMENTUM)


def _number(value: Any) -> float:
    return float(value.item()) if isinstance(value, torch.Tensor) else float(value)


class _Clock:
    """A clock that advances with each step."""

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0:
            raise UsageError(f"seconds_per_step must be at least 0, got {seconds!r}")
        self._seconds = seconds
        self.steps = 0

    def __call__(self) -> float:
        return self.steps * self._seconds


class _Run:
    """Steps schedulers, and appends each group's rate to its list after each step."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        found: list[list[float]],
        clock: _Clock,
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
        clock, number = self._clock, float if self._plain else _number
        for _ in range(steps):
            clock.steps += 1
            step(clock.steps)
            for group, rates in pairs:
                rates.append(number(group["lr"]))

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


def _is_simple(scheduler: Any) -> bool:
    """Whether a step only sets the rates that `get_lr()` computes."""
    cls = type(scheduler)
    if cls is CosineAnnealingWarmRestarts:
        return True
    if cls not in _OWN and cls.__module__ != lr_scheduler.__name__:
        return False
    return cls.step is LRScheduler.step and "step" not in vars(scheduler)

"""Computes learning rates before a training, exactly as the training will use them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtrack.capture.from_spec import scheduler as build
from lrtrack.capture.simulation import SimulatedClock, Stepper, copy_of, number
from lrtrack.errors import UsageError

#: Momentum of the simulated optimizer.
LR, MOMENTUM = 0.1, 0.9
#: The most learning rates of a simulation, steps × param groups. While they are collected, each
#: takes 32 bytes (a float and its place in a list) and then 8 more in the array: 0.4 GB in all.
MOST = 10_000_000


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
    clock = SimulatedClock(seconds_per_step)
    if callable(getattr(schedule, "step", None)):
        moving, groups = copy_of(schedule, clock)
    else:
        optimizer = _dummy(lr)
        total = steps if total_steps is None else total_steps
        moving, groups = build(optimizer, schedule, total, clock=clock), optimizer.param_groups
        optimizer._opt_called = True  # type: ignore[attr-defined]  # else torch warns
    _check_size(steps, len(groups))
    rates = [[number(group["lr"])] for group in groups]
    values = [] if metrics is None else [float(value) for value in islice(metrics, steps)]
    if metrics is not None and len(values) < steps - 1:
        raise UsageError(
            f"{steps} steps need {steps - 1} metric values, one after each step but the last; "
            f"got {len(values)}"
        )
    try:
        Stepper(groups, rates, clock, values).advance(moving, steps - 1)
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

"""Schedulers that torch lacks, and torch's own without limits that specs do not have."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler


class LinearLR(lr_scheduler.LinearLR):
    """torch's `LinearLR`, which may also start at 0.

    torch multiplies the rate by a ratio at each step, which cannot leave 0. This class computes
    each rate from the initial one.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        for name, factor in (("start_factor", start_factor), ("end_factor", end_factor)):
            if not 0 <= factor <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {factor!r}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        LRScheduler.__init__(self, optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the rate of each param group at `last_epoch`."""
        share = min(1.0, self.last_epoch / self.total_iters) if self.total_iters else 1.0
        factor = self.start_factor + (self.end_factor - self.start_factor) * share
        return [base * factor for base in self.base_lrs]


class ConstantLR(lr_scheduler.ConstantLR):
    """torch's `ConstantLR`, which may also be 0 and last forever (`total_iters=inf`)."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        factor: float = 1.0 / 3,
        total_iters: float = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be from 0 to 1, got {factor!r}")
        self.factor = factor
        self.total_iters = total_iters  # type: ignore[assignment]
        LRScheduler.__init__(self, optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the rate of each param group at `last_epoch`."""
        factor = self.factor if self.last_epoch < self.total_iters else 1.0
        return [base * factor for base in self.base_lrs]


class OneMinusSqrtLR(LRScheduler):
    """Falls as one minus the square root: `lr · (1 - (1 - end_factor) · √(step / total_iters))`.

    The cooldown that Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
    Training Durations" (2024), find best after a constant rate.

    Args:
        optimizer: the optimizer whose learning rates are set.
        total_iters: the number of steps until the rate is `lr · end_factor`, where it stays.
        end_factor: the last factor, from 0 to 1.
        last_epoch: as in torch.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        total_iters: int,
        end_factor: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not total_iters >= 1:
            raise ValueError(f"total_iters must be at least 1, got {total_iters!r}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"end_factor must be from 0 to 1, got {end_factor!r}")
        self.total_iters = total_iters
        self.end_factor = end_factor
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the rate of each param group at `last_epoch`."""
        share = min(1.0, self.last_epoch / self.total_iters)
        factor = 1.0 - (1.0 - self.end_factor) * math.sqrt(share)
        return [base * factor for base in self.base_lrs]


class PiecewiseLR(LRScheduler):
    """Straight lines between points: for curves that no formula describes.

    Args:
        optimizer: the optimizer whose learning rates are set.
        steps: the steps of the points, increasing, the first at least 0.
        factors: the factor of the initial learning rate at each of them; before the first point
            and after the last one, the factor stays the same.
        last_epoch: as in torch.

    Raises:
        ValueError: the lists are empty, differ in length, or hold invalid numbers.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        steps: Sequence[int],
        factors: Sequence[float],
        last_epoch: int = -1,
    ) -> None:
        if not steps or len(steps) != len(factors):
            what = f"got {len(steps)} steps and {len(factors)} factors"
            raise ValueError(f"each point needs a step and a factor, {what}")
        if steps[0] < 0 or any(a >= b for a, b in pairwise(steps)):
            raise ValueError("steps must increase, from 0 or more")
        if not all(0 <= factor < math.inf for factor in factors):
            raise ValueError("factors must be finite numbers, at least 0")
        self.steps = list(steps)
        self.factors = [float(factor) for factor in factors]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the rate of each param group at `last_epoch`."""
        factor = self._factor(self.last_epoch)
        return [base * factor for base in self.base_lrs]

    def _factor(self, step: int) -> float:
        after = bisect_right(self.steps, step)
        if not 0 < after < len(self.steps):
            return self.factors[min(after, len(self.steps) - 1)]
        start, end = self.steps[after - 1], self.steps[after]
        low, high = self.factors[after - 1], self.factors[after]
        return low + (high - low) * (step - start) / (end - start)

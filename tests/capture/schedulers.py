"""Schedulers, optimizers and learning-rate functions for the tests of `describe()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler as ls

HERE = __name__


def sgd(seed: int = 0, groups: int = 1, **options: Any) -> torch.optim.SGD:
    torch.manual_seed(seed)
    parameters = [{"params": [torch.nn.Parameter(torch.randn(2))]} for _ in range(groups)]
    return torch.optim.SGD(parameters, **{"lr": 0.1, "momentum": 0.9, **options})


def train(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> None:
    for step in range(steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        plateau = isinstance(scheduler, ls.ReduceLROnPlateau)
        scheduler.step(float(step)) if plateau else scheduler.step()


def halved(epoch: int) -> float:
    return 0.5**epoch


def ramp(epoch: int, warmup: int, shape: Any = None, power: float = 1.0) -> float:
    return min(1.0, (epoch + 1) / warmup) ** power


class Decay:
    def __init__(self, rate: float, names: list[str]) -> None:
        self.rate = rate
        self.names = names
        self.where = object()
        self._calls = 0

    def __call__(self, epoch: float) -> float:
        self._calls += 1
        return self.rate**epoch


class Halving(ls.LRScheduler):
    def __init__(self, optimizer: Any, period: int, last_epoch: int = -1) -> None:
        self.period = period
        self.halvings = 0
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self.halvings = self.last_epoch // self.period
        return [base * 0.5**self.halvings for base in self.base_lrs]


class ShortSteps(ls.StepLR):
    def __init__(self, optimizer: Any, size: int, note: str = "short") -> None:
        self.note = note
        super().__init__(optimizer, step_size=size)


class Foreign:
    """A scheduler that is not torch's and whose constructor names no parameters."""

    def __init__(self, optimizer: Any, **options: Any) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        self.step_count = 0
        self.base_lrs = [0.1]
        self.__dict__.update(options)
        self._secret = 1

    def step(self) -> None:
        self.last_epoch += 1
        self.step_count += 1


class Wrapper:
    """A wrapper like the one of accelerate."""

    def __init__(self, scheduler: Any, optimizers: Any, split_batches: bool = False) -> None:
        self.scheduler = scheduler
        self.optimizers = optimizers
        self.split_batches = split_batches

    def step(self) -> None:
        self.scheduler.step()


Build = Callable[[torch.optim.Optimizer], Any]

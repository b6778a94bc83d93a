"""Schedulers that are built with one setting, to compare with those with another."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler as ls

from .function_forms import FORMS, with_closure

HERE = __name__
Build = Callable[[torch.optim.Optimizer, Any], Any]


def multiplied(function: Callable[[int], Any]) -> Build:
    return lambda optimizer, setting: ls.LambdaLR(optimizer, function(setting))


class Renamed:
    """Keeps its arguments under names of its own, and changes copies of them."""

    def __init__(self, optimizer: Any, t_max: int, peak: float = 1.0, floor: float = 0.0) -> None:
        self.optimizer = optimizer
        self.total = t_max
        self.peak = self.base_peak = peak
        self._Floor = floor
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.count = 0

    def step(self) -> None:
        self.count += 1
        self.peak *= 0.9
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = max(rate * self.peak * (1 - self.count / self.total), self._Floor)


class Computed(ls.LRScheduler):
    """Keeps only what it computes from its arguments."""

    def __init__(self, optimizer: Any, total: int, **others: Any) -> None:
        steps = max(1, total // 5)
        self.warmup_steps = steps
        self._power = others.get("power", 1)
        self.slopes = [group["lr"] / steps for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        share = min(1.0, (self.last_epoch + 1) / self.warmup_steps) ** self._power
        return [rate * share for rate in self.base_lrs]


class Configured:
    """Reads its settings from one object."""

    def __init__(self, optimizer: Any, config: Any) -> None:
        self.optimizer = optimizer
        self.config = config
        self.last = 0

    def step(self) -> None:
        self.last += 1
        for group in self.optimizer.param_groups:
            group["lr"] = 0.1 / (1 + self.last / self.config.width)


class Mixed:
    """Keeps some of a config's settings itself, and computes several from another argument."""

    def __init__(self, opt: Any, config: Any, total: int = 100) -> None:
        self.opt = opt
        self.base = opt.param_groups[0]["lr"]
        self.config = config
        self.width = config.width * 2
        self.begin, self.end = total // 50, total - 10
        self.last = 0

    @property
    def total(self) -> int:
        raise AssertionError("not asked for")

    def step(self) -> None:
        self.last += 1
        for group in self.opt.param_groups:
            group["lr"] = self.base / (1 + self.last / self.config.power)


class Popping:
    """Takes the steps at which it cuts the rate from a list."""

    def __init__(self, optimizer: Any, cuts: list[int]) -> None:
        self.optimizer = optimizer
        self.cuts = list(cuts)
        self.waiting = list(cuts)
        self.last = 0

    def step(self) -> None:
        self.last += 1
        if self.waiting and self.waiting[0] == self.last:
            self.waiting.pop(0)
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.5


def cosine_like_diffusers(optimizer: Any, width: int) -> ls.LambdaLR:
    """The shape of diffusers' and torchtune's schedules."""
    num_warmup_steps, num_training_steps, num_cycles = width, 40, 0.5

    def lr_lambda(current_step: int) -> float:
        if current_step < num_warmup_steps:
            return float(current_step) / float(max(1, num_warmup_steps))
        progress = (current_step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * float(num_cycles) * 2.0 * progress)))

    return ls.LambdaLR(optimizer, lr_lambda)


def polynomial_like_diffusers(optimizer: Any, power: float) -> ls.LambdaLR:
    """A function with the optimizer's rate in its closure."""
    lr_init, lr_end, num_training_steps = optimizer.defaults["lr"], 1e-7, 40

    def lr_lambda(current_step: int) -> float:
        remaining = max(0.0, 1 - current_step / num_training_steps)
        return float(((lr_init - lr_end) * remaining**power + lr_end) / lr_init)

    return ls.LambdaLR(optimizer, lr_lambda)


class Wrapping(torch.optim.Optimizer):
    """A wrapper like the one of accelerate."""

    _opt_called = True  # for torch's check of the order

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    @property
    def defaults(self) -> Any:  # type: ignore[override]
        return self.optimizer.defaults

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


def namespace(width: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(width=width, power=3, seed=width)


BUILT: dict[str, tuple[Build, Any, Any]] = {
    **{name: (multiplied(function), 5, 9) for name, (function, _) in FORMS.items()},
    "torch StepLR": (ls.StepLR, 5, 9),
    "torch CosineAnnealingLR": (ls.CosineAnnealingLR, 50, 90),
    "torch MultiplicativeLR": (
        lambda o, n: ls.MultiplicativeLR(o, lambda step, n=n: 1 - 1 / (n * 100)), 5, 9,
    ),
    "torch SequentialLR": (
        lambda o, n: ls.SequentialLR(
            o, [ls.LambdaLR(o, with_closure(n)), ls.ExponentialLR(o, 0.9)], [3]
        ),
        5, 9,
    ),
    "torch CyclicLR": (
        lambda o, n: ls.CyclicLR(o, 0.01, 0.1, scale_fn=lambda x: 1 / (1 + n * x)), 5, 9,
    ),
    "renamed": (Renamed, 50, 90),
    "renamed and changed": (lambda o, peak: Renamed(o, 50, peak), 1.0, 0.5),
    "renamed in another case": (lambda o, floor: Renamed(o, 50, floor=floor), 0.0, 0.01),
    "computed": (Computed, 50, 90),
    "computed from keywords": (lambda o, power: Computed(o, 50, power=power), 1, 2),
    "configured": (lambda o, n: Configured(o, namespace(n)), 5, 9),
    "mixed, of its config": (lambda o, n: Mixed(o, namespace(n)), 5, 9),
    "mixed, of its total": (lambda o, n: Mixed(o, namespace(5), n), 101, 102),
    "popping": (Popping, [5, 9], [5, 8]),
    "over a wrapped optimizer": (
        lambda o, power: polynomial_like_diffusers(Wrapping(o), power), 1.0, 2.0,
    ),
    "like diffusers": (cosine_like_diffusers, 5, 9),
    "like diffusers with the rate": (polynomial_like_diffusers, 1.0, 2.0),
}  # fmt: skip


def run(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int = 30) -> None:
    for _ in range(steps):
        optimizer.step()
        scheduler.step()

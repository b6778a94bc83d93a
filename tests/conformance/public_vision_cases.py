"""The shapes of public vision loops, which move the rate per epoch, or per batch in the warm-up.

Each is written anew after how the named project moves its learning rate.
"""

from __future__ import annotations

import bisect
import math
from typing import Any

import numpy as np
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
    StepLR,
)

from .cases import LOCAL, add, case
from .public_loops import half_cosine, per_epoch, set_rate, update
from .tasks import Task
from .third_party_cases import timm_schedulers
from .truth import Truth

EPOCHS, BATCHES = 25, 8


#: The label of a schedule after a warm-up of five epochs.
WARM = (
    "SequentialLR(milestones=[5], schedulers=["
    "LinearLR(end_factor=1.0, start_factor=0.01, total_iters=5), {}])"
)


def torchvision(optimizer: Optimizer, main: LRScheduler) -> SequentialLR:
    """The reference scripts' schedule: a linear warm-up of five epochs before the main one."""
    warmup = LinearLR(optimizer, start_factor=0.01, total_iters=5)
    return SequentialLR(optimizer, [warmup, main], milestones=[5])


add(
    "public loop: torchvision references, cosine",
    lambda truth: per_epoch(
        truth,
        lambda o: torchvision(o, CosineAnnealingLR(o, T_max=20)),
        EPOCHS,
        BATCHES,
        WARM.format("CosineAnnealingLR(T_max=20, eta_min=0.0)"),
    ),
    trackers=LOCAL,
)
add(
    "public loop: torchvision references, steps",
    lambda truth: per_epoch(
        truth,
        lambda o: torchvision(o, StepLR(o, step_size=8, gamma=0.1)),
        EPOCHS,
        BATCHES,
        WARM.format("StepLR(gamma=0.1, step_size=8)"),
    ),
    trackers=LOCAL,
)


def timm(truth: Truth, scheduler: Any, optimizer: Any, tracked: Any, task: Task) -> None:
    """timm's training script: `step(epoch)` after each epoch."""
    with truth.track(optimizer, tracked):
        for epoch in range(EPOCHS):
            for _ in range(BATCHES):
                update(truth, task, optimizer)
            scheduler.step(epoch + 1)


@case("public loop: timm", needs="timm", trackers=LOCAL)
def timm_declared(truth: Truth) -> None:
    """A cosine with warm-up, per epoch, whose scheduler is given."""
    truth.schedule = (
        "CosineLRScheduler(cycle_decay=1.0, cycle_limit=1, cycle_mul=1.0, k_decay=1.0, "
        "lr_min=1e-05, noise_pct=0.67, noise_range_t=null, noise_seed=42, noise_std=1.0, "
        "noise_type=normal, param_group_field=lr, t_in_epochs=true, t_initial=25, "
        "warmup_lr_init=1e-06, warmup_prefix=false, warmup_t=5)"
    )
    task = Task()
    optimizer = AdamW(task.model.parameters(), lr=0.05)
    settings = {"lr_min": 1e-5, "warmup_t": 5, "warmup_lr_init": 1e-6}
    with timm_schedulers() as module:
        scheduler = module.CosineLRScheduler(optimizer, t_initial=EPOCHS, **settings)
        timm(truth, scheduler, optimizer, scheduler, task)


@case("public loop: timm, whose scheduler is not given", needs="timm", trackers=LOCAL)
def timm_inferred(truth: Truth) -> None:
    """The same curve: the cosine counts the epochs of the warm-up."""
    truth.schedule = (
        "≈ warmup(interval=8, start=2e-05, steps=5) → "
        "cosine(interval=8, min_lr=1e-05, skip=5, steps=25)"
    )
    task = Task()
    optimizer = AdamW(task.model.parameters(), lr=0.05)
    settings = {"lr_min": 1e-5, "warmup_t": 5, "warmup_lr_init": 1e-6}
    with timm_schedulers() as module:
        scheduler = module.CosineLRScheduler(optimizer, t_initial=EPOCHS, **settings)
        timm(truth, scheduler, optimizer, None, task)


class WarmupMultiStepLR(LRScheduler):
    """Drops at milestones after a linear warm-up, as maskrcnn-benchmark and Detectron2 have it."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: list[int],
        gamma: float = 0.1,
        warmup_factor: float = 1 / 3,
        warmup_iters: int = 500,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = milestones
        self.gamma = gamma
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Returns the rate of each group at `last_epoch`."""
        share = min(1.0, self.last_epoch / self.warmup_iters)
        factor = self.warmup_factor * (1 - share) + share
        drops = self.gamma ** bisect.bisect_right(self.milestones, self.last_epoch)
        return [base * factor * drops for base in self.base_lrs]


def detectron(truth: Truth, given: bool) -> None:
    """A step of the scheduler after each iteration."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    scheduler = WarmupMultiStepLR(optimizer, [120, 160], warmup_factor=0.001, warmup_iters=40)
    with truth.track(optimizer, scheduler if given else None):
        for _ in range(200):
            update(truth, task, optimizer)
            scheduler.step()


@case("public loop: Detectron2", trackers=LOCAL)
def detectron_declared(truth: Truth) -> None:
    """A scheduler class of the project's own, which is given."""
    truth.schedule = (
        "WarmupMultiStepLR(gamma=0.1, milestones=[120, 160], warmup_factor=0.001, warmup_iters=40)"
    )
    detectron(truth, given=True)


@case("public loop: Detectron2, whose scheduler is not given", trackers=LOCAL)
def detectron_inferred(truth: Truth) -> None:
    """The drops count from the end of the warm-up."""
    truth.schedule = "≈ warmup(start=0.001, steps=40) → multistep(milestones=[80, 120])"
    detectron(truth, given=False)


@case("public loop: fastai", trackers=LOCAL)
def fastai(truth: Truth) -> None:
    """One cycle by hand: the rate up and down in cosines, the momentum the other way round."""
    truth.schedule = "≈ onecycle(final_div_factor=4000, max_lr=0.01, pct_start=0.253731, steps=201)"
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=1e-2, momentum=0.95)
    (group,) = optimizer.param_groups
    steps, rise, high = 200, 0.25, 1e-2

    def between(start: float, end: float, share: float) -> float:
        return end + (start - end) * half_cosine(share)

    with truth.track(optimizer):
        for step in range(steps):
            share = step / steps
            if share < rise:
                group["lr"] = between(high / 25, high, share / rise)
                group["momentum"] = between(0.95, 0.85, share / rise)
            else:
                group["lr"] = between(high, high / 1e5, (share - rise) / (1 - rise))
                group["momentum"] = between(0.85, 0.95, (share - rise) / (1 - rise))
            if step:  # recorded once it has moved
                truth.put(momentum=group["momentum"])
            update(truth, task, optimizer)


@case("public loop: Ultralytics YOLO", trackers=LOCAL)
def ultralytics(truth: Truth) -> None:
    """The warm-up interpolates per batch: biases fall from 0.1, the others rise from 0.

    Afterwards a `LambdaLR` moves all three groups per epoch, and is not given.
    """
    truth.schedule = (
        "≈ linear(end=0.7, start=1, steps=6) → linear(end=0.3987, start=0.6993, steps=6) → "
        "linear(end=0.096, start=0.3974, steps=6) → "
        "linear(end=0.001, interval=6, start=0.0941, steps=47)"
    )
    task = Task()
    first, second = task.model[0], task.model[2]
    optimizer = SGD([first.bias, second.bias], lr=0.01, momentum=0.9, nesterov=True)
    optimizer.add_param_group({"params": [first.weight], "weight_decay": 5e-4})
    optimizer.add_param_group({"params": [second.weight], "weight_decay": 0.0})
    epochs, batches, warmup = 50, 6, 18

    def factor(epoch: int) -> float:
        return max(1 - epoch / epochs, 0) * (1.0 - 0.01) + 0.01

    scheduler = LambdaLR(optimizer, factor)
    with truth.track(optimizer):
        for epoch in range(epochs):
            for batch in range(batches):
                done = batch + batches * epoch
                if done <= warmup:
                    for index, group in enumerate(optimizer.param_groups):
                        start = 0.1 if index == 0 else 0.0
                        ends = [start, group["initial_lr"] * factor(epoch)]
                        group["lr"] = float(np.interp(done, [0, warmup], ends))
                update(truth, task, optimizer)
            scheduler.step()


@case("public loop: WideResNet", trackers=LOCAL)
def wide_resnet(truth: Truth) -> None:
    """The rate is dropped by hand at three epochs of 200."""
    truth.schedule = "≈ multistep(gamma=0.2, milestones=[120, 240, 320])"
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    with truth.track(optimizer):
        for epoch in range(200):
            drops = (epoch >= 60) + (epoch >= 120) + (epoch >= 160)
            set_rate(optimizer, 0.1 * math.pow(0.2, drops))
            for _ in range(2):
                update(truth, task, optimizer)

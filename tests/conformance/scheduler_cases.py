"""Every torch scheduler, stepped each step and each epoch, nested, and in unusual ways."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer, lr_scheduler, swa_utils
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR

from .cases import STEPS, TABLE_TRACKERS, add, case
from .tasks import Task, train
from .truth import Truth

Build = Callable[[Optimizer], Any]

#: Steps in an epoch, where schedulers are stepped once an epoch.
EPOCH = 2


def halved(step: int) -> float:
    """A function for schedules that take one."""
    return 0.5**step


def chained(optimizer: Optimizer) -> ChainedScheduler:
    """Two schedules whose factors multiply."""
    parts = [ConstantLR(optimizer, 0.1, total_iters=3), ExponentialLR(optimizer, 0.9)]
    return ChainedScheduler(parts, optimizer=optimizer)


def sequence(optimizer: Optimizer) -> SequentialLR:
    """A warm-up, then a cosine."""
    parts = [LinearLR(optimizer, 0.1, total_iters=2), CosineAnnealingLR(optimizer, T_max=4)]
    return SequentialLR(optimizer, parts, [2])


#: Class name → how to build it.
ROWS: dict[str, Build] = {
    "LambdaLR": lambda o: LambdaLR(o, halved),
    "MultiplicativeLR": lambda o: MultiplicativeLR(o, lambda step: 0.9),
    "StepLR": lambda o: StepLR(o, 2, gamma=0.3),
    "MultiStepLR": lambda o: MultiStepLR(o, [1, 3], gamma=0.3),
    "ConstantLR": lambda o: ConstantLR(o, 0.25, total_iters=3),
    "LinearLR": lambda o: LinearLR(o, 0.25, total_iters=3),
    "ExponentialLR": lambda o: ExponentialLR(o, 0.7),
    "PolynomialLR": lambda o: PolynomialLR(o, total_iters=5, power=2.0),
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, T_max=5, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, T_0=2, T_mult=2),
    "CyclicLR": lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=2),
    "OneCycleLR": lambda o: OneCycleLR(o, 0.2, total_steps=STEPS + 2),
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o, patience=0, threshold=10.0),
    "SequentialLR": sequence,
    "ChainedScheduler": chained,
    "SWALR": lambda o: SWALR(o, swa_lr=0.01, anneal_epochs=3),
}


def known() -> list[str]:
    """Returns the names of all schedulers of this torch."""
    base = lr_scheduler.LRScheduler
    found = [c for room in (lr_scheduler, swa_utils) for c in vars(room).values()]
    classes = {c for c in found if isinstance(c, type) and issubclass(c, base)}
    own = {c for c in classes if c is not base and not c.__name__.startswith("_")}
    return sorted(c.__name__ for c in own)


def advance(truth: Truth, scheduler: Any) -> None:
    """Steps the scheduler, with a metric where it takes one."""
    if isinstance(scheduler, ReduceLROnPlateau):
        value = 1.0 / truth.steps
        scheduler.step(value)
        truth.after(plateau_metric=value)
    else:
        scheduler.step()


def loop(build: Build, period: int, truth: Truth) -> None:
    """Trains, and steps the scheduler after every `period` steps."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
    with warnings.catch_warnings():  # a sequence restarts its parts, and a chain warns about that
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        scheduler = build(optimizer)
    cycles = getattr(scheduler, "cycle_momentum", False)

    def after(step: int) -> None:
        if (step + 1) % period == 0:
            advance(truth, scheduler)

    def loss() -> torch.Tensor:
        if cycles:
            truth.put(momentum=optimizer.param_groups[0]["momentum"])
        return task.loss()

    with truth.track(optimizer, scheduler):
        train(truth, optimizer, loss, after)


for _name, _build in ROWS.items():
    add(f"{_name} each step", partial(loop, _build, 1), trackers=TABLE_TRACKERS)
    add(f"{_name} each epoch", partial(loop, _build, EPOCH), trackers=TABLE_TRACKERS)

NESTED: dict[str, Build] = {
    "a chain of a sequence": lambda o: ChainedScheduler(
        [sequence(o), ExponentialLR(o, 0.9)], optimizer=o
    ),
    "a sequence of a chain": lambda o: SequentialLR(o, [chained(o), StepLR(o, 1)], [3]),
    "a sequence of a sequence": lambda o: SequentialLR(o, [sequence(o), StepLR(o, 1)], [4]),
    "a chain of two": lambda o: ChainedScheduler(
        [ConstantLR(o, 0.5, total_iters=2), CosineAnnealingLR(o, 4)], optimizer=o
    ),
    "three in a sequence": lambda o: SequentialLR(
        o, [LinearLR(o, 0.1, total_iters=2), ConstantLR(o, 1.0), StepLR(o, 1)], [2, 4]
    ),
}
for _name, _build in NESTED.items():
    add(f"nested: {_name}", partial(loop, _build, 1), trackers=TABLE_TRACKERS)


@case("SWALR after a cosine")
def swa(truth: Truth) -> None:
    """Two schedulers take turns while an averaged model is updated."""
    truth.told = ("LR031",)
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(task.model)
    first, second = CosineAnnealingLR(optimizer, 5), SWALR(optimizer, 0.05, anneal_epochs=2)

    def after(step: int) -> None:
        if step < STEPS // 2:
            first.step()
        else:
            averaged.update_parameters(task.model)
            second.step()

    with truth.track(optimizer, first):
        train(truth, optimizer, task.loss, after)


@case("OneCycleLR moves the betas")
def cycled_betas(truth: Truth) -> None:
    """With Adam, the momentum is the first of the betas."""
    task = Task()
    optimizer = Adam(task.model.parameters())
    scheduler = OneCycleLR(optimizer, 0.01, total_steps=STEPS)

    def loss() -> torch.Tensor:
        truth.put(momentum=optimizer.param_groups[0]["betas"][0])
        return task.loss()

    with truth.track(optimizer, scheduler):
        train(truth, optimizer, loss, lambda step: step < STEPS - 1 and scheduler.step())


@case("OneCycleLR that leaves the momentum")
def onecycle_without_momentum(truth: Truth) -> None:
    """A momentum that no scheduler moves is not recorded."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.2, total_steps=STEPS + 1, cycle_momentum=False)
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, lambda step: scheduler.step())


@case("a tensor lr under a schedule")
def tensor_lr(truth: Truth) -> None:
    """The scheduler updates the tensor in place; each record keeps the value that its step used."""
    task = Task()
    optimizer = Adam(task.model.parameters(), lr=torch.tensor(0.01))
    scheduler = ExponentialLR(optimizer, 0.5)
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, lambda step: scheduler.step())


@case("a function a group")
def lambda_of_groups(truth: Truth) -> None:
    """LambdaLR with a function for each of two groups."""
    task = Task()
    optimizer = SGD([{"params": [p]} for p in task.model.parameters()][:2], lr=0.1)
    scheduler = LambdaLR(optimizer, [halved, lambda step: 1.0 / (1 + step)])
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, lambda step: scheduler.step())


@case("restarts stepped in fractions of an epoch")
def fractions(truth: Truth) -> None:
    """`step(epoch + i / n)`, as in the documentation of warm restarts."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, lambda step: scheduler.step((step + 1) / 3))


@case("plateau inside a block of several groups")
def plateau_of_groups(truth: Truth) -> None:
    """Two groups with different bounds; the metric is a tensor, passed by name."""
    task = Task()
    layers = [task.model[0], task.model[2]]
    optimizer = SGD([{"params": list(layer.parameters())} for layer in layers], lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, patience=0, threshold=9.0, min_lr=[0.05, 1e-3])

    def after(step: int) -> None:
        value = torch.tensor(1.0 + step)
        scheduler.step(metrics=value)
        truth.after(plateau_metric=value)

    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, after)


@case("scheduler stepped before the optimizer", told="LR005")
def scheduler_first(truth: Truth) -> None:
    """With the scheduler stepped first, torch warns, and the record has what each step used."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    with truth.track(optimizer, scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for _ in range(STEPS):
            scheduler.step()
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()


@case("scheduler never stepped", told="LR001")
def never_stepped(truth: Truth) -> None:
    """A scheduler that is never stepped leaves the rate where its constructor put it."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = LinearLR(optimizer, 0.1)
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss)


@case("scheduler stepped several times a step", told="LR012")
def several_times(truth: Truth) -> None:
    """A scheduler stepped several times a step, as with several processes or doubly counted
    epochs.
    """
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, lambda step: [scheduler.step() for _ in range(3)])


@case("learning rate set by hand")
def by_hand(truth: Truth) -> None:
    """Without a scheduler, the loop writes into the groups."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)

    def after(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 2)

    with truth.track(optimizer):
        train(truth, optimizer, task.loss, after)

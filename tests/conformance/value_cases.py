"""What is recorded and what is not: norms, `every`, `run.log`, prefixes, NaN and Inf."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from .cases import STEPS, add, case
from .tasks import SparseTask, Task, layers, train, train_by_closure
from .truth import Truth


def recorded(truth: Truth, **options: Any) -> None:
    """Two groups on a schedule, with the given options."""
    task = Task()
    first, second = layers(task)
    optimizer = SGD([{"params": first, "name": "body"}, {"params": second, "lr": 0.3}], lr=0.1)
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    if options.get("norms") == "layer":
        options["model"] = task.model
    with truth.track(optimizer, scheduler, **options):
        train(truth, optimizer, task.loss, lambda step: scheduler.step())


add("norms of groups", partial(recorded, norms="group"))
add("norms of layers", partial(recorded, norms="layer"))
add("no norms", partial(recorded, norms="off"))
add("every second step", partial(recorded, every=2))
add("every fifth step, norms of groups", partial(recorded, every=5, norms="group"))
add("a prefix", partial(recorded, prefix="student/"))
add("a prefix and norms of layers", partial(recorded, prefix="student/", norms="layer"))


@case("norms of layers, sparse")
def sparse_layers(truth: Truth) -> None:
    """The norm of a sparse embedding's gradient is that of its summed rows."""
    task = SparseTask()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer, norms="layer", model=task.model):
        train(truth, optimizer, task.loss)


@case("every third step, by closure")
def every_closure(truth: Truth) -> None:
    """The loss of a step that `every` skips counts in no other step."""
    task = Task()
    optimizer = Adam(task.model.parameters())
    with truth.track(optimizer, every=3):
        train_by_closure(truth, optimizer, task.loss)


@case("losses left alone")
def no_loss(truth: Truth) -> None:
    """With `capture_loss=False`, only what the user logs is recorded."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer, capture_loss=False) as run:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer)
            optimizer.step()
            if step == 4:
                run.log(loss=loss)
                truth.after(loss=loss)


@case("run.log(loss=…)")
def given_loss(truth: Truth) -> None:
    """A loss logged after the step replaces the captured one."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer) as run:

        def after(step: int) -> None:
            if step % 2:
                run.log(loss=10.0 + step)
                truth.after(loss=10.0 + step)

        train(truth, optimizer, task.loss, after)


@case("run.log of other things")
def logged(truth: Truth) -> None:
    """Values logged before the first step are at 0, and the later of two values wins."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer) as run:
        run.log(start=True)
        truth.after(start=1.0)

        def after(step: int) -> None:
            run.log({"val/accuracy": step / 7})
            run.log({"val/accuracy": torch.tensor(step / 8)}, count=step)
            truth.after({"val/accuracy": step / 8}, count=step)

        train(truth, optimizer, task.loss, after)


@case("run.log at steps that are left out")
def logged_between(truth: Truth) -> None:
    """With `every=4`, an evaluation is still recorded at its own step."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer, every=4) as run:

        def after(step: int) -> None:
            run.log(accuracy=step)
            truth.after(accuracy=step)

        train(truth, optimizer, task.loss, after)


@case("losses that are not finite", told="LR006")
def odd_losses(truth: Truth) -> None:
    """NaN and infinite losses are recorded as such, and so are the norms that follow."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([weight], lr=0.0)
    factors = iter([1.0, math.nan, math.inf, -math.inf, 2.0, 3.0])
    with truth.track(optimizer):
        train(truth, optimizer, lambda: (weight * next(factors)).sum())


@case("gradients that are not finite", told="LR006")
def odd_gradients(truth: Truth) -> None:
    """The loss is finite and the gradient is not."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = SGD([weight], lr=0.0)
    with truth.track(optimizer, norms="group"):
        train(truth, optimizer, lambda: weight.abs().sqrt().sum() + 1)


@case("gradients very large and very small")
def odd_sizes(truth: Truth) -> None:
    """Squares of float64 gradients neither overflow nor vanish for usual numbers."""
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = SGD([weight], lr=0.0)
    factors = iter([1e100, 1e-100, 1e30, 1e-30, 1e10, 1e-10])
    with truth.track(optimizer):
        train(truth, optimizer, lambda: (weight * next(factors)).sum())


@case("a plateau's metric that is not finite")
def odd_plateau(truth: Truth) -> None:
    """The value given to the plateau scheduler is recorded at the step just done."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, patience=0)
    values = iter([1.0, math.inf, math.nan, 0.5, 0.7, 0.7])

    def after(step: int) -> None:
        value = next(values)
        scheduler.step(value)
        truth.after(plateau_metric=value)

    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, after)


@case("a block that raises")
def raises(truth: Truth) -> None:
    """When the block raises, everything recorded until then arrives."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    try:
        with truth.track(optimizer):
            train(truth, optimizer, task.loss)
            raise KeyError("mine")
    except KeyError:
        pass


@case("many steps")
def many(truth: Truth) -> None:
    """A run with more steps than any delivery batch arrives complete."""
    weight = torch.nn.Parameter(torch.randn(4))
    optimizer = SGD([weight], lr=1e-3)
    scheduler = StepLR(optimizer, 100, gamma=0.9)
    with truth.track(optimizer, scheduler):
        for _ in range(2100):
            optimizer.zero_grad()
            loss = weight.square().sum()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()
            scheduler.step()

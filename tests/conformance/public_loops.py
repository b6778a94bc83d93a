"""What the loops of public training scripts share: rates set by hand, rounds of optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from .tasks import Task, layers
from .truth import Truth, norm, number

Rate = Callable[[int], float]


def half_cosine(share: float) -> float:
    """Returns the factor of a half cosine wave, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Sets the rate of every param group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def two_groups(task: Task, lr: float) -> AdamW:
    """An AdamW whose matrices decay and whose biases do not."""
    parameters = list(task.model.parameters())
    decaying = [p for p in parameters if p.dim() >= 2]
    others = [p for p in parameters if p.dim() < 2]
    groups = [{"params": decaying, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=(0.9, 0.95))


def update(truth: Truth, task: Task, optimizer: Optimizer) -> None:
    """One ordinary step: backward, then the optimizer."""
    optimizer.zero_grad(set_to_none=True)
    loss = task.loss()
    loss.backward()
    truth.step(optimizer, loss)
    optimizer.step()


def by_hand(truth: Truth, rate: Rate, steps: int, label: str, peak: float = 1e-3) -> None:
    """A loop over iterations that writes the rate into two groups before each step."""
    truth.schedule = label
    task = Task()
    optimizer = two_groups(task, peak)
    with truth.track(optimizer):
        for step in range(steps):
            set_rate(optimizer, rate(step))
            assert [group["lr"] for group in optimizer.param_groups] == [rate(step)] * 2
            update(truth, task, optimizer)


def per_epoch(
    truth: Truth, scheduler_of: Callable[[Optimizer], Any], epochs: int, batches: int, label: str
) -> None:
    """A loop over epochs, whose scheduler is stepped after each."""
    truth.schedule = label
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = scheduler_of(optimizer)
    with truth.track(optimizer, scheduler):
        for _ in range(epochs):
            for _ in range(batches):
                update(truth, task, optimizer)
            scheduler.step()


def split(task: Task) -> tuple[list[Any], list[Any]]:
    """The parameters of the first and of the second layer."""
    first, second = layers(task)
    return first, second


class Rounds:
    """The expected values of rounds of several optimizers.

    Args:
        truth: the run.
        shared: whether losses belong to the round alone, because one `backward()` serves all.
    """

    def __init__(self, truth: Truth, shared: bool = False) -> None:
        self._truth = truth
        self._shared = shared
        self._first = ""
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._counting = False

    def step(self, name: str, optimizer: Optimizer, losses: Sequence[Any] = ()) -> None:
        """Notes the step of one optimizer, right before it; `losses` are those since the last."""
        groups = optimizer.param_groups
        self._first = self._first or name
        values: dict[str, float] = {f"lr/{name}": float(groups[0]["lr"])}
        if name == self._first:
            values["lr"] = float(groups[0]["lr"])
        own = norm(p.grad for group in groups for p in group["params"] if p.grad is not None)
        values[f"grad_norm/{name}"] = own
        self._norms.append(own)
        if losses and not self._shared:
            values[f"loss/{name}"] = sum(map(number, losses))
        self._losses += map(number, losses)
        self._truth.put(values)

    def end(self) -> None:
        """Notes the end of the round."""
        truth = self._truth
        truth.put(grad_norm=math.hypot(*self._norms), loss=sum(self._losses))
        self._counting = self._counting or len(self._losses) != 1
        if self._counting:  # from the first round on that has several
            truth.put(loss_count=len(self._losses))
        truth.steps += 1
        self._losses.clear()
        self._norms.clear()


def side_by_side(labels: Mapping[str, str]) -> str:
    """The label of several optimizers' schedules, in the order of their names."""
    names = " + ".join(labels[name].partition("(")[0] for name in sorted(labels))
    return f"{names}({', '.join(f'{name}={labels[name]}' for name in sorted(labels))})"

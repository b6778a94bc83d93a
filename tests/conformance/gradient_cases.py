"""Gradients that the optimizer receives: clipped ones, param groups, frozen parameters."""

from __future__ import annotations

import math
from typing import Any

from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LambdaLR

from .cases import STEPS, add, case
from .tasks import Task, layers, train
from .truth import Truth, norm


def clipped(truth: Truth, max_norm: float, **options: Any) -> None:
    """Clips every second step: `grad_norm_preclip` exists only for steps with clipping."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    kind = options.get("norm_type", 2.0)
    with truth.track(optimizer):
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            if step % 2 == 0:
                grads = [p.grad for p in task.model.parameters()]
                most = max(float(g.abs().max()) for g in grads)
                truth.put(grad_norm_preclip=most if kind == math.inf else norm(grads))
                clip_grad_norm_(task.model.parameters(), max_norm, **options)
            truth.step(optimizer, loss)
            optimizer.step()


add("clip_grad_norm_", lambda truth: clipped(truth, 0.05))
add("clip_grad_norm_ that has nothing to do", lambda truth: clipped(truth, 1e6))
add("clip_grad_norm_ one by one", lambda truth: clipped(truth, 0.05, foreach=False))
add("clip_grad_norm_ by the largest", lambda truth: clipped(truth, 0.05, norm_type=math.inf))


@case("clip_grad_value_")
def clipped_values(truth: Truth) -> None:
    """With clipping by value, the norm is that of the clipped gradients, without a pre-clip
    norm.
    """
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            clip_grad_value_(task.model.parameters(), 0.01)
            truth.step(optimizer, loss)
            optimizer.step()


@case("several groups without names")
def unnamed(truth: Truth) -> None:
    """Each unnamed group's learning rate is recorded under its index, on its own schedule."""
    task = Task()
    first, second = layers(task)
    optimizer = SGD([{"params": first}, {"params": second, "lr": 0.5}], lr=0.1)
    scheduler = LambdaLR(optimizer, [lambda step: 0.9**step, lambda step: 0.5**step])
    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, lambda step: scheduler.step())


@case("several groups, some with names")
def named(truth: Truth) -> None:
    """A group's rate is recorded under its name, or under its index without one."""
    task = Task()
    first, second = layers(task)
    groups = [
        {"params": first, "name": "body"},
        {"params": second[:1], "lr": 0.5},
        {"params": second[1:], "lr": 0.25, "name": "bias"},
    ]
    optimizer = Adam(groups, lr=0.01)
    with truth.track(optimizer, norms="group"):
        train(truth, optimizer, task.loss)


@case("parameters given with their names")
def named_parameters(truth: Truth) -> None:
    """`SGD(model.named_parameters())` makes torch store parameter names in the groups."""
    task = Task()
    optimizer = SGD(task.model.named_parameters(), lr=0.1)
    with truth.track(optimizer):
        train(truth, optimizer, task.loss)


@case("a group added in mid-training")
def group_added(truth: Truth) -> None:
    """A group added in mid-training counts from the next step on."""
    task = Task()
    first, second = layers(task)
    optimizer = SGD(first, lr=0.1)

    def after(step: int) -> None:
        if step == 2:
            optimizer.add_param_group({"params": second, "lr": 0.5, "name": "late"})

    with truth.track(optimizer, norms="group"):
        train(truth, optimizer, task.loss, after)


@case("frozen parameters")
def frozen(truth: Truth) -> None:
    """Frozen parameters have no gradients; one is unfrozen in mid-training, another is frozen."""
    task = Task()
    first, second = layers(task)
    for parameter in first:
        parameter.requires_grad_(False)
    optimizer = SGD(task.model.parameters(), lr=0.1)

    def after(step: int) -> None:
        if step == 1:
            first[0].requires_grad_(True)
        if step == 3:
            second[1].requires_grad_(False)

    with truth.track(optimizer):
        train(truth, optimizer, task.loss, after)

"""Loops whose steps no hook sees: without an optimizer, and at the top level of a script."""

from __future__ import annotations

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

import lrtrack

from .cases import LOCAL, STEPS, case
from .public_loops import half_cosine, set_rate
from .tasks import Task
from .truth import EXPERIMENT, Truth, norm, number


@case("loop without an optimizer")
def without_optimizer(truth: Truth) -> None:
    """Gradient descent by hand, as textbooks write it: the rate is a variable of the loop."""
    truth.schedule = "≈ cosine(steps=60)"
    task = Task()
    parameters = list(task.model.parameters())
    with truth.track(None) as run:
        for step in range(60):
            rate = 0.1 * half_cosine(step / 60)
            loss = task.loss()
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= rate * gradient
            truth.put(lr=rate, loss=number(loss), grad_norm=norm(gradients), tokens=16.0)
            truth.steps += 1
            grad_norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
            run.record(lr=rate, loss=loss.detach(), grad_norm=grad_norm, tokens=16)


@case("engine that steps by itself", trackers=LOCAL)
def engine(truth: Truth) -> None:
    """An engine changes the weights itself and reports the norm; the rates are the optimizer's."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer) as run:
        for step in range(STEPS):
            set_rate(optimizer, 0.1 * half_cosine(step / STEPS))
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            grad_norm = norm(parameter.grad for parameter in task.model.parameters())
            run.record(grad_norm=grad_norm)


@case("loop at the top level of a script")
def top_level(truth: Truth) -> None:
    """`start()` before the loop and `end()` after it, with no line of the loop indented."""
    truth.schedule = "StepLR(gamma=0.1, step_size=2)"
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 2)
    run = lrtrack.start(
        optimizer, scheduler, name=truth.name, experiment=EXPERIMENT, flush_timeout=0.0
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()
        truth.step(optimizer, loss)
        optimizer.step()
        scheduler.step()
    run.end()

"""Engines that step their optimizer themselves, and optimizers that return what they have done."""

from __future__ import annotations

from typing import Any

import torch
from fixtures.engine import Engine
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from .cases import LOCAL, STEPS, case
from .tasks import Task
from .truth import Truth, norm, number


@case("engine with the methods of DeepSpeed's", trackers=LOCAL)
def engine(truth: Truth) -> None:
    """An engine that accumulates two micro-batches and clips is recorded by its own figures."""
    truth.schedule = "StepLR(gamma=0.5, step_size=2)"
    task = Task()
    trained = Engine(task.model, batches=2, limit=0.5)
    with truth.track(trained):
        for _ in range(STEPS):
            rates, total = trained.get_lr(), 0.0
            for _ in range(2):
                loss = task.loss()
                total += number(loss)
                trained.backward(loss)
                trained.step()
            truth.put({f"lr/{at}": rate for at, rate in enumerate(rates)})
            before = trained.get_global_grad_norm()
            assert before is not None
            after = before * min(1.0, 0.5 / (before + 1e-6))
            truth.put(lr=rates[0], loss=total / 2, grad_norm_preclip=before, grad_norm=after)
            truth.steps += 1


class MixedPrecision:
    """Steps copies of the parameters and returns whether it did, as Megatron's optimizers do."""

    def __init__(self, parameters: Any, lr: float) -> None:
        self.parameters = list(parameters)
        self.copies = [p.detach().clone() for p in self.parameters]
        self.optimizer = SGD(self.copies, lr=lr)
        self.calls = 0

    def step(self) -> tuple[bool, float | None, int | None]:
        """Returns whether it has stepped, the norm, and the number of zeros in the gradients."""
        self.calls += 1
        if self.calls == 3:  # an overflow, after which the loss scale is lowered
            return False, None, None
        for parameter, copied in zip(self.parameters, self.copies, strict=True):
            copied.grad, parameter.grad = parameter.grad, None
        grad_norm = norm(copied.grad for copied in self.copies)
        self.optimizer.step()
        for parameter, copied in zip(self.parameters, self.copies, strict=True):
            parameter.data.copy_(copied)
        return True, grad_norm, None


@case("optimizer that returns success and norm", trackers=LOCAL)
def megatron(truth: Truth) -> None:
    """The loop records each step that was successful; others are no steps."""
    truth.schedule = "StepLR(gamma=0.5, step_size=2)"
    task = Task()
    optimizer = MixedPrecision(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer.optimizer, 2, gamma=0.5)

    def train_step() -> tuple[torch.Tensor, bool, float | None]:
        loss = task.loss()
        loss.backward()
        success, grad_norm, _ = optimizer.step()
        for parameter in task.model.parameters():
            parameter.grad = None
        return loss.detach(), success, grad_norm

    with truth.track(None, scheduler) as run:
        for _ in range(STEPS):
            loss, success, grad_norm = train_step()
            lr = optimizer.optimizer.param_groups[0]["lr"]
            if success:
                assert grad_norm is not None
                truth.put(lr=lr, loss=number(loss), grad_norm=grad_norm)
                truth.steps += 1
                run.record(lr=lr, loss=loss, grad_norm=grad_norm)
                scheduler.step()
    assert truth.steps == STEPS - 1

"""Loops as people write them: accumulation, several losses, unusual backward passes, evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR
from torch.utils.checkpoint import checkpoint

from .cases import STEPS, add, case
from .tasks import Task, train
from .truth import Truth, number


@case("gradient accumulation")
def accumulation(truth: Truth) -> None:
    """With loss/k, the losses of the micro-batches add up to their mean."""
    task, parts = Task(), 4
    optimizer = SGD(task.model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, 2)
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            total = 0.0
            for _ in range(parts):
                loss = task.loss() / parts
                loss.backward()
                total += loss.item()
            truth.step(optimizer, total, calls=parts)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()


@case("accumulation that ends in the middle")
def accumulation_torso(truth: Truth) -> None:
    """Losses accumulated after the last step belong to no step."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    total = 0.0
    with truth.track(optimizer):
        for batch in range(8):
            loss = task.loss() / 3
            loss.backward()
            total += loss.item()
            if batch % 3 == 2:
                truth.step(optimizer, total, calls=3)
                optimizer.step()
                optimizer.zero_grad()
                total = 0.0


@case("zero_grad(set_to_none=False)")
def zeros(truth: Truth) -> None:
    """Zero gradients, of a layer that the loss does not reach, count as zeros."""
    task = Task()
    idle = torch.nn.Parameter(torch.ones(3))
    idle.grad = torch.zeros(3)
    optimizer = SGD([*task.model.parameters(), idle], lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=False)
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()


@case("zero_grad never called")
def never_zeroed(truth: Truth) -> None:
    """When gradients are never zeroed they add up, while each step has only its own loss."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.01)
    with truth.track(optimizer):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()


@case("two losses with retain_graph")
def two_losses(truth: Truth) -> None:
    """Two calls of backward before a step: the losses add up."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            penalty = 1e-3 * loss.square()
            loss.backward(retain_graph=True)
            penalty.backward()
            truth.step(optimizer, number(loss) + number(penalty), calls=2)
            optimizer.step()


@case("accumulation whose last group is incomplete")
def accumulation_rest(truth: Truth) -> None:
    """Two epochs of five batches in groups of three: the loss is a sum, and its count is
    recorded.
    """
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for group in (3, 2, 3, 2):
            total = 0.0
            for _ in range(group):
                loss = task.loss() / 3
                loss.backward()
                total += loss.item()
            truth.step(optimizer, total, calls=group)
            optimizer.step()
            optimizer.zero_grad()


@case("two losses in one call")
def two_at_once(truth: Truth) -> None:
    """`torch.autograd.backward` of a list adds up its losses."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = [task.loss(), 0.5 * task.loss()]
            torch.autograd.backward(losses)
            truth.step(optimizer, number(losses[0]) + number(losses[1]))
            optimizer.step()


@case("a loss with one element in a list")
def one_element(truth: Truth) -> None:
    """A loss of shape (1,) counts as a scalar."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        train(truth, optimizer, lambda: task.loss().reshape(1))


@case("a loss of many elements", told="LR010")
def vector_loss(truth: Truth) -> None:
    """`backward(gradient=…)` of a vector has no single loss, so none is recorded."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            errors = task.model(task.batch()[0])
            errors.backward(gradient=torch.ones_like(errors))
            truth.step(optimizer)
            optimizer.step()


@case("gradients by torch.autograd.grad")
def by_grad(truth: Truth) -> None:
    """Without a call of backward, only the loss that the user logs is recorded."""
    task = Task()
    weights = list(task.model.parameters())
    optimizer = SGD(weights, lr=0.1)
    with truth.track(optimizer) as run:
        for _ in range(STEPS):
            loss = task.loss()
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            truth.step(optimizer, loss)
            optimizer.step()
            run.log(loss=loss.detach())


@case("a gradient penalty")
def penalty(truth: Truth) -> None:
    """With second derivatives, `autograd.grad` within the loss adds no loss."""
    task = Task()
    weights = list(task.model.parameters())
    optimizer = Adam(weights)

    def loss() -> torch.Tensor:
        first = task.loss()
        slopes = torch.autograd.grad(first, weights, create_graph=True)
        return first + 0.1 * sum(slope.square().sum() for slope in slopes)

    with truth.track(optimizer):
        train(truth, optimizer, loss)


def checkpointed(truth: Truth, reentrant: bool) -> None:
    """Activation checkpointing recomputes in the backward pass and may call backward again."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)

    def model(inputs: torch.Tensor) -> Any:
        return checkpoint(task.model, inputs.requires_grad_(), use_reentrant=reentrant)

    with truth.track(optimizer):
        train(truth, optimizer, lambda: task.loss(model))


add("checkpointing", lambda truth: checkpointed(truth, False))
add("checkpointing that enters backward again", lambda truth: checkpointed(truth, True))


@case("a step without gradients", told=("LR008", "LR010"))
def nothing(truth: Truth) -> None:
    """A step without gradients has a learning rate, but neither norm nor loss."""
    optimizer = SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    with truth.track(optimizer):
        for _ in range(STEPS):
            truth.step(optimizer)
            optimizer.step()


@case("evaluation in between")
def evaluation(truth: Truth) -> None:
    """Forward passes without backward add nothing, and what is logged in evaluation is recorded."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with truth.track(optimizer) as run:

        def after(step: int) -> None:
            with torch.no_grad():
                quiet = task.loss()
            loud = task.loss()
            if step % 2:
                run.log({"val/loss": quiet}, train_loss_again=loud)
                truth.after({"val/loss": quiet}, train_loss_again=loud)

        train(truth, optimizer, task.loss, after)


@case("a backward pass that fails")
def failed_backward(truth: Truth) -> None:
    """The loss and the discarded gradients of a failed backward are in no record."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)

    def fail(gradient: torch.Tensor) -> None:
        raise MemoryError

    with truth.track(optimizer):
        for step in range(STEPS):
            if step == 2:
                loss = task.loss() * 1.0
                loss.register_hook(fail)
                try:
                    loss.backward()
                except MemoryError:
                    optimizer.zero_grad()
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            truth.step(optimizer, loss)
            optimizer.step()


@case("a step inside backward")
def inside_backward(truth: Truth) -> None:
    """With the optimizer in backward, each gradient is used and freed at once; the loss is
    recorded.
    """
    weight = torch.nn.Parameter(torch.randn(5))
    optimizer = SGD([weight], lr=0.1)
    loss: Any = None

    def step(parameter: torch.Tensor) -> None:
        truth.step(optimizer, loss)
        optimizer.step()
        optimizer.zero_grad()

    weight.register_post_accumulate_grad_hook(step)
    with truth.track(optimizer):
        for scale in range(STEPS):
            loss = (weight * (1 + scale)).square().sum()
            loss.backward()


@case("optimizer state loaded in the block")
def state_loaded(truth: Truth) -> None:
    """Loading a checkpoint into the optimizer leaves the hooks in place."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1, momentum=0.9)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    saved = optimizer.state_dict(), scheduler.state_dict()

    def after(step: int) -> None:
        scheduler.step()
        if step == 3:
            optimizer.load_state_dict(saved[0])
            scheduler.load_state_dict(saved[1])

    with truth.track(optimizer, scheduler):
        train(truth, optimizer, task.loss, after)

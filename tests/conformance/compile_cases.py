"""`torch.compile` of the model, of the backward pass, and of the step.

Inside a compiled function torch runs neither hooks nor Python, so compiled calls are invisible, and
the loop records them itself. The same holds for what a CUDA graph replays; that needs a GPU and has
no case.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from .cases import LOCAL, STEPS, add, case
from .tasks import Task, train
from .truth import Truth, norm, number


@contextmanager
def compiler() -> Iterator[Callable[..., Any]]:
    """`torch.compile`, cleaned up afterwards; its internal warnings are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch._dynamo.reset()
        yield torch.compile
        torch._dynamo.reset()
        from torch._inductor import async_compile  # imported only here, because it takes seconds

        async_compile.shutdown_compile_workers()  # inductor's own, which never ends


def compiled_model(backend: str, truth: Truth) -> None:
    """With a compiled model, everything is recorded: the forward pass is not observed anyway."""
    task = Task()
    optimizer = Adam(task.model.parameters())
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    with compiler() as compile_, truth.track(optimizer, scheduler):
        model = compile_(task.model, backend=backend)
        train(truth, optimizer, lambda: task.loss(model), lambda step: scheduler.step())


add("torch.compile of the model", partial(compiled_model, "eager"))
add("torch.compile of the model, autograd too", partial(compiled_model, "aot_eager"))
add("torch.compile of the model, by inductor", partial(compiled_model, "inductor"), needs="g++")


@case("torch.compile of the loss")
def compiled_loss(truth: Truth) -> None:
    """With a compiled loss function, backward and step are ordinary."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    with compiler() as compile_, truth.track(optimizer):
        error = compile_(lambda x, y: (task.model(x) - y).square().mean(), backend="eager")
        train(truth, optimizer, lambda: error(*task.batch()))


@case("torch.compile of the backward pass")
def compiled_backward(truth: Truth) -> None:
    """`backward()` inside a compiled function is invisible, so only a given loss is recorded."""
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    inputs, targets = task.batch()
    with compiler() as compile_, truth.track(optimizer) as run:

        @partial(compile_, backend="eager")
        def forward_and_back() -> torch.Tensor:
            loss = (task.model(inputs) - targets).square().mean()
            loss.backward()
            return loss.detach()

        for step in range(STEPS):
            optimizer.zero_grad()
            loss = forward_and_back()
            truth.step(optimizer)
            optimizer.step()
            if step == 3:
                run.log(loss=loss)
                truth.after(loss=loss)


@case("torch.compile of the step", told="LR013")
def compiled_step(truth: Truth) -> None:
    """A compiled step is invisible: it is not recorded, and it works as without lrtrack."""
    task, twin = Task(), Task()
    twin.model.load_state_dict(task.model.state_dict())
    optimizer, bare = (SGD(problem.model.parameters(), lr=0.1) for problem in (task, twin))
    with compiler() as compile_, truth.track(optimizer):
        step = compile_(lambda: optimizer.step(), backend="eager")
        for _ in range(STEPS):
            optimizer.zero_grad()
            task.loss().backward()
            step()
    for _ in range(STEPS):
        bare.zero_grad()
        twin.loss().backward()
        bare.step()
    pairs = zip(task.model.parameters(), twin.model.parameters(), strict=True)
    assert all(torch.equal(tracked_weight, his) for tracked_weight, his in pairs)


@case("torch.compile of the step, recorded", trackers=LOCAL)
def recorded_compiled_step(truth: Truth) -> None:
    """After each compiled step the loop calls `record()`; the rates are the optimizer's."""
    truth.schedule = "StepLR(gamma=0.5, step_size=2)"
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=torch.tensor(0.1))
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    with compiler() as compile_, truth.track(optimizer, scheduler) as run:
        step = compile_(optimizer.step, backend="eager")
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            grad_norm = norm(p.grad for p in task.model.parameters() if p.grad is not None)
            truth.step(optimizer, loss)
            step()
            run.record(grad_norm=grad_norm)
            scheduler.step()


@case("torch.compile of the whole training step, recorded", trackers=LOCAL)
def recorded_training_step(truth: Truth) -> None:
    """Forward, backward and step are one compiled function; its loss goes to `record()`.

    Two ordinary steps come before.
    """
    truth.schedule = "StepLR(gamma=0.5, step_size=2)"
    task = Task()
    optimizer = SGD(task.model.parameters(), lr=torch.tensor(0.1))
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    inputs, targets = task.batch()
    with compiler() as compile_, truth.track(optimizer, scheduler) as run:

        def training_step() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (task.model(inputs) - targets).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        compiled = compile_(training_step, backend="eager")
        for step in range(STEPS):
            rate = optimizer.param_groups[0]["lr"].item()
            loss = compiled() if step >= 2 else training_step()
            truth.put(lr=rate, loss=number(loss))
            if step < 2:
                truth.put(grad_norm=norm(p.grad for p in task.model.parameters()))
            truth.steps += 1
            if step >= 2:
                run.record(loss=loss)
            scheduler.step()

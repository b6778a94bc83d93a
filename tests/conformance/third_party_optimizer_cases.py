"""Third-party optimizers, and wrappers around optimizers, used as their documentation shows."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR

from .cases import STEPS, TABLE_TRACKERS, add, case
from .tasks import Task
from .third_party_cases import iterate
from .truth import Truth, norm


def bent(truth: Truth, optimizer: Any, task: Task, used: Callable[[], float]) -> None:
    """A loop with an optimizer that changes its effective rate; `used` returns it after a step."""
    with truth.track(optimizer):
        for _ in range(STEPS):
            iterate(truth, task, optimizer)
            truth.after(lr_effective=used())


def with_schedule_free(package: str, name: str, arguments: dict[str, Any], truth: Truth) -> None:
    """The effective rate is the one by which the fast iterate z follows the gradient."""
    task = Task(bias=False)
    optimizer = getattr(importlib.import_module(package), name)(
        task.model.parameters(), lr=0.1, **arguments
    )
    optimizer.train()
    parameter = next(task.model.parameters())
    with truth.track(optimizer):
        for at in range(STEPS):
            before = optimizer.state[parameter].get("z", parameter).detach().clone()
            iterate(truth, task, optimizer)
            # these optimizers replace their gradients by the direction of the step
            moved, along = before - optimizer.state[parameter]["z"], parameter.grad
            measured = float((moved * along).sum() / (along * along).sum())
            rate = optimizer.param_groups[0].get("scheduled_lr")
            rate = 0.1 * min(1.0, (at + 1) / arguments["warmup_steps"]) if rate is None else rate
            truth.after(lr_effective=rate)

            assert pytest.approx(rate, rel=1e-3, abs=1e-9) == measured
    optimizer.eval()


for _name, _given in (
    ("SGDScheduleFree", {"warmup_steps": 4}),
    ("AdamWScheduleFree", {"warmup_steps": 4}),
    ("AdamWScheduleFree", {"warmup_steps": 4, "foreach": False}),
    ("RAdamScheduleFree", {}),
    ("RAdamScheduleFree", {"silent_sgd_phase": False}),
):
    _which = " ".join([_name, *(f"{key}={value}" for key, value in _given.items())])
    _loop = partial(with_schedule_free, "schedulefree", _name, _given)
    add(f"schedule-free {_which}", _loop, needs="schedulefree", trackers=TABLE_TRACKERS)
for _name in ("ScheduleFreeSGD", "ScheduleFreeAdamW"):
    _loop = partial(with_schedule_free, "pytorch_optimizer", _name, {"warmup_steps": 4})
    add(f"pytorch-optimizer {_name}", _loop, needs="pytorch_optimizer", trackers=TABLE_TRACKERS)


@case("schedule-free with a closure", needs="schedulefree")
def schedule_free_closure(truth: Truth) -> None:
    """The first evaluation gives loss and norm, and the step has its own warm-up."""
    module, task = importlib.import_module("schedulefree"), Task()
    optimizer = module.AdamWScheduleFreeClosure(task.model.parameters(), lr=0.1, warmup_steps=4)
    with truth.track(optimizer):
        for at in range(STEPS):

            def closure() -> torch.Tensor:
                optimizer.zero_grad()
                loss = task.loss()
                loss.backward()
                truth.step(optimizer, loss)
                return loss

            optimizer.step(closure)
            truth.after(lr_effective=0.1 * min(1.0, (at + 1) / 4))


@case("schedule-free wrapper", needs="schedulefree")
def schedule_free_wrapper(truth: Truth) -> None:
    """A wrapper that is no optimizer and holds one in `.base`, with a torch schedule."""
    module, task = importlib.import_module("schedulefree"), Task()
    base = SGD(task.model.parameters(), lr=0.1)
    optimizer, scheduler = module.ScheduleFreeWrapper(base), StepLR(base, 2, gamma=0.5)
    optimizer.train()
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            iterate(truth, task, optimizer)
            scheduler.step()


def with_wrapper(wrap: str, truth: Truth) -> None:
    """A pytorch-optimizer wrapper around a torch optimizer has one record a step."""
    module, task = importlib.import_module("pytorch_optimizer"), Task(bias=False)
    optimizer = getattr(module, wrap)(AdamW(task.model.parameters(), lr=0.1))
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    getattr(optimizer, "train", bool)()
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            iterate(truth, task, optimizer)
            scheduler.step()


for _name in ("Lookahead", "OrthoGrad", "TRAC", "ScheduleFreeWrapper"):
    add(
        f"pytorch-optimizer {_name}",
        partial(with_wrapper, _name),
        needs="pytorch_optimizer",
        trackers=TABLE_TRACKERS,
    )


@case("pytorch-optimizer Ranger", needs="pytorch_optimizer")
def ranger(truth: Truth) -> None:
    """RAdam and Lookahead in one optimizer."""
    task = Task()
    module = importlib.import_module("pytorch_optimizer")
    optimizer = module.Ranger(task.model.parameters(), lr=0.1, k=2)
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            iterate(truth, task, optimizer)
            scheduler.step()


@case("pytorch-optimizer Ranger21", needs="pytorch_optimizer")
def ranger21(truth: Truth) -> None:
    """Ranger21 warms up and cools down by itself, whatever its groups say."""
    task, rate, floor = Task(), 0.1, 0.001
    optimizer = importlib.import_module("pytorch_optimizer").Ranger21(
        task.model.parameters(), num_iterations=STEPS, lr=rate,
        num_warm_up_iterations=2, num_warm_down_iterations=2, warm_down_min_lr=floor,
    )  # fmt: skip
    counter = iter(range(1, STEPS + 1))

    def used() -> float:
        step = next(counter)
        used_rate = rate * min(1.0, step / 2)
        if step >= STEPS - 2:
            used_rate = max(rate - (rate - floor) * min((step + 1 - (STEPS - 2)) / 3, 1.0), floor)

        assert used_rate == optimizer.current_lr
        return used_rate

    bent(truth, optimizer, task, used)


@case("pytorch-optimizer Ranger21 with a scheduler", needs="pytorch_optimizer")
def ranger21_scheduled(truth: Truth) -> None:
    """With its own schedule off, Ranger21 uses the groups' learning rates."""
    module, task = importlib.import_module("pytorch_optimizer"), Task()
    optimizer = module.Ranger21(
        task.model.parameters(), num_iterations=STEPS, lr=0.1, disable_lr_scheduler=True
    )
    scheduler = StepLR(optimizer, 2, gamma=0.5)
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            iterate(truth, task, optimizer)
            scheduler.step()


def with_distance(name: str, arguments: dict[str, Any], truth: Truth) -> None:
    """The effective rate of a learning-rate-free optimizer is the one by which weights move."""
    module, task = importlib.import_module("pytorch_optimizer"), Task(bias=False)
    optimizer = getattr(module, name)(task.model.parameters(), lr=0.5, **arguments)
    parameter, group = next(task.model.parameters()), optimizer.param_groups[0]
    with truth.track(optimizer):
        for _ in range(STEPS):
            before, rate = parameter.detach().clone(), group["d"] * group["lr"]
            if "bias_correction" in arguments:
                beta1, beta2 = group["betas"]
                count = group["step"] + (name != "Prodigy")  # as the packages count
                rate = rate * math.sqrt(1 - beta2**count) / (1 - beta1**count)
            iterate(truth, task, optimizer)
            truth.after(lr_effective=rate)
            state, moved = optimizer.state[parameter], before - parameter.detach()
            along = state["exp_avg"] / state["exp_avg_sq"].sqrt()
            measured = float((moved * along).sum() / (along * along).sum())

            # D-Adaptation has its rate in the mean of gradients already
            assert pytest.approx(rate, rel=2e-2) == measured or name != "Prodigy"


for _name, _given in (
    ("Prodigy", {"eps": 1e-12}),
    ("Prodigy", {"eps": 1e-12, "bias_correction": True}),
    ("DAdaptAdam", {"eps": 1e-12, "bias_correction": True}),
):
    _which = " ".join([_name, *(f"{key}={value}" for key, value in _given.items())])
    _loop = partial(with_distance, _name, _given)
    add(f"pytorch-optimizer {_which}", _loop, needs="pytorch_optimizer", trackers=TABLE_TRACKERS)


@case("transformers Adafactor", needs="transformers")
def relative_step(truth: Truth) -> None:
    """Adafactor without a learning rate has the effective rate of its relative step alone."""
    task = Task()
    module = importlib.import_module("transformers.optimization")
    optimizer = module.Adafactor(
        task.model.parameters(), scale_parameter=False, relative_step=True, warmup_init=True
    )
    with truth.track(optimizer):
        for at in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss()
            loss.backward()
            gradients = [p.grad for p in task.model.parameters()]
            truth.put(loss=float(loss.detach()), grad_norm=norm(gradients))
            truth.steps += 1
            optimizer.step()
            truth.after(lr_effective=1e-6 * (at + 1))


@case("pytorch-optimizer SAM", needs="pytorch_optimizer")
def sam(truth: Truth) -> None:
    """SAM evaluates twice a step and has one record, with the gradients of the step."""
    module, task = importlib.import_module("pytorch_optimizer"), Task()
    optimizer = module.SAM(task.model.parameters(), SGD, lr=0.1)
    scheduler = StepLR(optimizer, 2, gamma=0.5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()
        truth.put(
            loss=float(loss.detach()), grad_norm=norm([p.grad for p in task.model.parameters()])
        )
        return loss

    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            closure()
            truth.put(lr=optimizer.param_groups[0]["lr"])
            optimizer.step(closure)
            truth.steps += 1
            scheduler.step()


@contextmanager
def accelerated(**arguments: Any) -> Iterator[Any]:
    """An `Accelerator` for the CPU; its state, one per process, is restored."""
    accelerate = importlib.import_module("accelerate")
    state = importlib.import_module("accelerate.state")
    with warnings.catch_warnings():
        try:
            yield accelerate.Accelerator(cpu=True, **arguments)
        finally:
            state.AcceleratorState._reset_state(reset_partial_state=True)
            state.GradientState._reset_state()


@case("accelerate", needs="accelerate")
def with_accelerate(truth: Truth) -> None:
    """Everything that `prepare` returns is a wrapper."""
    task = Task()
    inner = AdamW(task.model.parameters(), lr=0.1)
    with accelerated() as accelerator:
        model, optimizer, scheduler = accelerator.prepare(task.model, inner, StepLR(inner, 2))
        with truth.track(optimizer, scheduler):
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss = task.loss(model)
                accelerator.backward(loss)
                truth.step(inner, loss)
                optimizer.step()
                scheduler.step()


@case("accelerate with accumulation and clipping", needs="accelerate")
def accelerate_accumulates(truth: Truth) -> None:
    """Optimizer and scheduler do nothing in three of four calls, which are no steps."""
    task, every = Task(), 4
    inner = SGD(task.model.parameters(), lr=0.1)
    with accelerated(gradient_accumulation_steps=every) as accelerator:
        model, optimizer, scheduler = accelerator.prepare(task.model, inner, StepLR(inner, 1))
        with truth.track(optimizer, scheduler):
            losses: list[float] = []
            for _ in range(STEPS * every):
                with accelerator.accumulate(model):
                    loss = task.loss(model)
                    accelerator.backward(loss)
                    losses.append(float(loss.detach() / every))
                    if accelerator.sync_gradients:
                        preclip_norm = accelerator.clip_grad_norm_(model.parameters(), 0.1)
                        truth.put(grad_norm_preclip=float(preclip_norm))
                        truth.step(inner, sum(losses), calls=every)
                        losses.clear()
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()

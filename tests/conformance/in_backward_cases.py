"""Optimizers of single parameters, most of which step inside `backward()`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, StepLR

from .cases import LOCAL, STEPS, add, case
from .tasks import Task
from .truth import Truth, norm

Inner = dict[torch.nn.Parameter, Optimizer]


class Passes:
    """The expected values of rounds in which each parameter's optimizer steps by itself."""

    def __init__(self, truth: Truth, inner: Mapping[Any, Optimizer]) -> None:
        self._truth = truth
        self._inner = list(inner.values())
        self._norms: list[float] = []

    def step(self, optimizer: Optimizer) -> None:
        """Notes one optimizer's step, right before it; the first optimizer has the rate."""
        grads = (p.grad for group in optimizer.param_groups for p in group["params"])
        self._norms.append(norm(grad for grad in grads if grad is not None))
        if optimizer is self._inner[0]:
            self._truth.put(lr=optimizer.param_groups[0]["lr"])

    def end(self, loss: torch.Tensor) -> None:
        """Notes the end of `backward()`."""
        self._truth.put(loss=float(loss.detach()), grad_norm=math.hypot(*self._norms))
        self._truth.steps += 1
        self._norms.clear()


def hooked(task: Task, passes: Passes, inner: Inner, schedulers: Mapping[Any, Any]) -> None:
    """Lets each optimizer step as soon as its parameter's gradient is complete."""

    def step(parameter: torch.nn.Parameter) -> None:
        passes.step(inner[parameter])
        inner[parameter].step()
        inner[parameter].zero_grad()
        if parameter in schedulers:
            schedulers[parameter].step()

    for parameter in task.model.parameters():
        parameter.register_post_accumulate_grad_hook(step)  # type: ignore[arg-type]


def each(task: Task, lr: float = 0.1) -> Inner:
    """Returns an optimizer for each parameter."""
    return {p: SGD([p], lr=lr, momentum=0.9) for p in task.model.parameters()}


@case("in backward: mappings of parameters")
def mappings(truth: Truth) -> None:
    """GaLore's form: an optimizer and a scheduler for each parameter."""
    truth.schedule = "StepLR(gamma=0.1, step_size=2)"
    task = Task()
    inner = each(task)
    schedulers = {p: StepLR(optimizer, 2) for p, optimizer in inner.items()}
    passes = Passes(truth, inner)
    hooked(task, passes, inner, schedulers)
    with truth.track(inner, schedulers):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)


@case("in backward: hooks of the graph's nodes", trackers=LOCAL)
def of_nodes(truth: Truth) -> None:
    """The form before torch 2.1: hooks of the nodes that accumulate, behind an optimizer of all."""
    truth.schedule = "StepLR(gamma=0.1, step_size=2)"
    task = Task()
    inner = each(task)
    passes, nodes = Passes(truth, inner), []

    def step(parameter: torch.nn.Parameter, *_: Any) -> None:
        passes.step(inner[parameter])
        inner[parameter].step()
        inner[parameter].zero_grad()

    for parameter in task.model.parameters():
        nodes.append(parameter.expand_as(parameter).grad_fn.next_functions[0][0])
        nodes[-1].register_hook(partial(step, parameter))
    outer = InBackward(task.model.parameters(), {"lr": 0.1})
    outer._opt_called = True  # type: ignore[attr-defined]  # torch would warn that it never steps
    scheduler = StepLR(outer, 2)
    with truth.track(outer, scheduler):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)
            scheduler.step()
            for optimizer in inner.values():
                optimizer.param_groups[0]["lr"] = outer.param_groups[0]["lr"]


class ByName:
    """Keeps optimizers by their parameters' names, and steps none, as torchtune's wrapper does."""

    def __init__(self, optim_map: dict[str, Optimizer]) -> None:
        self.optim_map = optim_map
        self.lr_scheduler: Any = None

    def step_lr_scheduler(self) -> None:
        """Moves the first optimizer's rate, and sets that of all others to it."""
        self.lr_scheduler.step()
        for optimizer in self.optim_map.values():
            optimizer.param_groups[0]["lr"] = self.lr_scheduler.get_last_lr()[0]


@case("in backward: a wrapper by name", trackers=LOCAL)
def by_name(truth: Truth) -> None:
    """torchtune's form: one scheduler, made with one of the optimizers, for all of them."""
    truth.schedule = "StepLR(gamma=0.1, step_size=2)"
    task = Task()
    inner = each(task)
    names = {name: inner[p] for name, p in task.model.named_parameters()}
    wrapper, passes = ByName(names), Passes(truth, inner)
    wrapper.lr_scheduler = StepLR(next(iter(names.values())), 2)
    hooked(task, passes, inner, {})
    with truth.track(wrapper, wrapper.lr_scheduler):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)
            wrapper.step_lr_scheduler()


class InBackward(Optimizer):
    """Stands for the optimizers in the hooks; its own step does nothing."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Does nothing."""


def stand_in(truth: Truth, *, steps_itself: bool) -> None:
    """A loop over an optimizer that others step for, whose rate they follow."""
    truth.schedule = "StepLR(gamma=0.1, step_size=2)"
    task = Task()
    inner = each(task)
    outer = InBackward(task.model.parameters(), {"lr": 0.1})
    outer._opt_called = True  # type: ignore[attr-defined]  # torch would warn that it never steps
    scheduler = StepLR(outer, 2)
    passes = Passes(truth, inner)
    hooked(task, passes, inner, {})
    with truth.track(outer, scheduler):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)
            if steps_itself:
                outer.step()
            scheduler.step()
            for optimizer in inner.values():
                optimizer.param_groups[0]["lr"] = outer.param_groups[0]["lr"]


for name, value in (("that is stepped", True), ("that never steps", False)):
    case(f"in backward: an optimizer {name}", trackers=LOCAL)(partial(stand_in, steps_itself=value))


@case("in backward: torch.distributed.optim", trackers=LOCAL)
def of_torch(truth: Truth) -> None:
    """What torch's own function has attached to the parameters is found behind an optimizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's other optimizers there
        from torch.distributed.optim import _apply_optimizer_in_backward

    task = Task()
    parameters = list(task.model.parameters())
    _apply_optimizer_in_backward(SGD, parameters, {"lr": 0.1})
    inner = {p: p._in_backward_optimizers[0] for p in parameters}  # type: ignore[attr-defined]
    passes = Passes(truth, inner)
    for optimizer in inner.values():
        optimizer.register_step_pre_hook(lambda own, *_: passes.step(own))
    with truth.track(InBackward(parameters, {"lr": 0.1})):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)


@case("in backward: parameters without a gradient in some passes", trackers=LOCAL)
def some(truth: Truth) -> None:
    """Each pass is a round, whichever parameters it reaches."""
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(3)]
    inner: Inner = {weight: SGD([weight], lr=0.1) for weight in weights}
    passes = Passes(truth, inner)

    def step(weight: torch.Tensor) -> None:
        passes.step(inner[weight])  # type: ignore[index]
        inner[weight].step()  # type: ignore[index]
        inner[weight].zero_grad()  # type: ignore[index]

    for weight in weights:
        weight.register_post_accumulate_grad_hook(step)
    with truth.track(inner):
        for reached in ((0,), (1, 2), (2,), (0, 1), (0, 1, 2), (1,)):
            truth.put(lr=0.1)
            loss = sum((weights[at] * (at + 1)).square().sum() for at in reached)
            assert isinstance(loss, torch.Tensor)
            loss.backward()
            passes.end(loss)


@case("in backward: transformers' stand-ins", needs="transformers", trackers=LOCAL)
def of_transformers(truth: Truth) -> None:
    """The Trainer has an optimizer and a scheduler that stand for those of all parameters."""
    from transformers.trainer_pt_utils import LayerWiseDummyOptimizer, LayerWiseDummyScheduler

    task = Task()
    inner = each(task)
    schedulers = {p: StepLR(optimizer, 2) for p, optimizer in inner.items()}
    passes = Passes(truth, inner)
    hooked(task, passes, inner, schedulers)

    class Scheduler(LayerWiseDummyScheduler):  # type: ignore[misc]
        """Has one rate for its one group, as torch expects by now."""

        def get_lr(self) -> list[float]:
            """Returns the first optimizer's rate."""
            rates: list[float] = super().get_lr()
            return rates[:1]

    optimizer = LayerWiseDummyOptimizer(optimizer_dict=inner, lr=0.1)
    scheduler = Scheduler(optimizer_dict=inner, lr=0.1)
    scheduler.optimizer._opt_called = True  # it never steps, of which torch would warn
    with truth.track(SimpleNamespace(optimizer=optimizer, step=optimizer.step), scheduler):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            passes.end(loss)
            optimizer.step()
            scheduler.step()


class Offloaded(Optimizer):
    """Steps copies of the large parameters, as torchao's offloading to the CPU does.

    One optimizer steps all small parameters where they are.
    """

    def __init__(self, parameters: Any, minimal_size: int = 0, **options: Any) -> None:
        self.copies = {p: p.detach().clone() for p in parameters if p.numel() >= minimal_size}
        self.optim_dict = {p: Adam([copied], **options) for p, copied in self.copies.items()}
        small = [p for p in parameters if p.numel() < minimal_size]
        self.d_opt = Adam(small, **options) if small else None
        self.defaults = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A group for each parameter that has an optimizer of its own, after that of the others."""
        groups = [] if self.d_opt is None else list(self.d_opt.param_groups)
        return groups + [g for own in self.optim_dict.values() for g in own.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Moves gradients to the copies, steps there, and moves the result back."""
        if self.d_opt is not None:
            self.d_opt.step()
        for parameter, copied in self.copies.items():
            copied.grad, parameter.grad = parameter.grad, None
            self.optim_dict[parameter].step()
            parameter.data.copy_(copied)


def offloaded(minimal_size: int, truth: Truth) -> None:
    """torchao's form: all optimizers step in one `step()`, and share one scheduler."""
    task = Task()
    optimizer = Offloaded(list(task.model.parameters()), minimal_size, lr=0.01)
    scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    with truth.track(optimizer, scheduler):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
            truth.put(lr=optimizer.param_groups[0]["lr"], loss=float(loss.detach()))
            truth.put(grad_norm=norm(gradients))
            truth.steps += 1
            optimizer.step()
            scheduler.step()


add("offloading to one optimizer for each parameter", partial(offloaded, 0), trackers=LOCAL)
add("offloading without the small parameters", partial(offloaded, 16), trackers=LOCAL)
add("offloading of small parameters alone", partial(offloaded, 10_000), trackers=LOCAL)

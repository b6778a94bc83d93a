"""Norms of updates and of weights, beside those of gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import LBFGS, SGD, AdamW

from .cases import LOCAL, STEPS, case
from .in_backward_cases import Passes, each, hooked
from .tasks import ComplexTask, Task, layers, train_by_closure
from .truth import Truth, norm


class Moves:
    """The expected values of updates.

    Args:
        truth: gets them.
        parts: the parameters of each part, under what follows the metrics' names; `""` for all.
        every: the number of steps from one that is measured to the next.
    """

    def __init__(self, truth: Truth, parts: Mapping[str, Sequence[Any]], every: int = 1) -> None:
        self._truth, self._parts, self._every = truth, parts, every
        self._before: dict[str, list[torch.Tensor]] = {}

    def begin(self) -> None:
        """Notes the weights before a step."""
        self._before = {
            part: [p.detach().clone() for p in weights] for part, weights in self._parts.items()
        }

    def end(self) -> None:
        """Notes the metrics of the step just made."""
        if (self._truth.steps - 1) % self._every:
            return
        for part, before in self._before.items():
            pairs = zip(before, self._parts[part], strict=True)
            update = norm(_wide(new.detach()) - _wide(old) for old, new in pairs)
            weight = norm(before)
            metrics = {
                "update_norm": update,
                "weight_norm": weight,
                "update_ratio": update / weight,
            }
            self._truth.after({f"{name}{part}": value for name, value in metrics.items()})


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def train(truth: Truth, optimizer: Any, task: Task, moves: Moves) -> None:
    """The usual loop."""
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()
        truth.step(optimizer, loss)
        moves.begin()
        optimizer.step()
        moves.end()


@case("updates: each second step, by parameter")
def by_layer(truth: Truth) -> None:
    """Every parameter has its own norms and its own ratio, at each second step."""
    task = Task()
    optimizer = AdamW(task.model.parameters(), lr=0.01)
    parts: dict[str, list[Any]] = {"": list(task.model.parameters())}
    parts |= {f"/{name}": [parameter] for name, parameter in task.model.named_parameters()}
    moves = Moves(truth, parts, every=2)
    with truth.track(optimizer, norms="layer", model=task.model, updates=2):
        train(truth, optimizer, task, moves)


@case("updates: by param group", trackers=LOCAL)
def by_group(truth: Truth) -> None:
    """Every param group has its own norms, under its name or its index."""
    task = Task()
    first, second = layers(task)
    optimizer = SGD([{"params": first, "name": "body"}, {"params": second, "lr": 0.5}], lr=0.1)
    moves = Moves(truth, {"": [*first, *second], "/body": first, "/1": second})
    with truth.track(optimizer, norms="group", updates=1):
        train(truth, optimizer, task, moves)


@case("updates: bfloat16 weights, which round", trackers=LOCAL)
def half(truth: Truth) -> None:
    """The update is what the rounded weights really did, with a rate at which most of them stay."""
    task = Task(dtype=torch.bfloat16)
    optimizer = SGD(task.model.parameters(), lr=0.003, weight_decay=0.1)
    moves = Moves(truth, {"": list(task.model.parameters())})
    with truth.track(optimizer, updates=1):
        train(truth, optimizer, task, moves)


@case("updates: complex weights", trackers=LOCAL)
def complex_weights(truth: Truth) -> None:
    """Complex weights count by their absolute values."""
    task = ComplexTask()
    optimizer = SGD(task.model.parameters(), lr=0.1)
    moves = Moves(truth, {"": list(task.model.parameters())})
    with truth.track(optimizer, updates=1):
        train(truth, optimizer, task, moves)


@case("updates: a closure", trackers=LOCAL)
def closure(truth: Truth) -> None:
    """With a line search, the update is that of the whole step."""
    task = Task(one_batch=True)
    optimizer = LBFGS(task.model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    moves = Moves(truth, {"": list(task.model.parameters())})
    optimizer.register_step_pre_hook(lambda *_: moves.begin())
    optimizer.register_step_post_hook(lambda *_: moves.end())
    with truth.track(optimizer, updates=1):
        train_by_closure(truth, optimizer, task.loss)


@case("updates: optimizers that step in backward", trackers=LOCAL)
def in_backward(truth: Truth) -> None:
    """Each pass is one update, of all parameters together."""
    task = Task()
    inner = each(task)
    passes = Passes(truth, inner)
    moves = Moves(truth, {"": list(task.model.parameters())}, every=2)
    hooked(task, passes, inner, {})
    with truth.track(inner, updates=2):
        for _ in range(STEPS):
            moves.begin()
            loss = task.loss()
            loss.backward()
            passes.end(loss)
            moves.end()


@case("updates: two optimizers", trackers=LOCAL)
def two_optimizers(truth: Truth) -> None:
    """Each optimizer has its own norms under its name, beside those over both."""
    task = Task()
    first, second = layers(task)
    both = {"a": SGD(first, lr=0.1), "b": AdamW(second, lr=0.01)}
    moves = Moves(truth, {"": [*first, *second], "/a": first, "/b": second})
    with truth.track(both, updates=1):
        for _ in range(STEPS):
            loss = task.loss()
            loss.backward()
            norms = {name: norm(p.grad for p in weights if p.grad is not None)
                     for name, weights in (("a", first), ("b", second))}  # fmt: skip
            truth.put({f"grad_norm/{name}": value for name, value in norms.items()})
            truth.put({"lr/a": 0.1, "lr/b": 0.01})
            truth.put(lr=0.1, loss=float(loss.detach()), grad_norm=math.hypot(*norms.values()))
            truth.steps += 1
            moves.begin()
            for optimizer in both.values():
                optimizer.step()
                optimizer.zero_grad()
            moves.end()

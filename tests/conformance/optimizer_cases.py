"""Every torch optimizer that runs on the CPU, in its variants.

`capturable=True` is missing: torch refuses it for parameters in host memory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import optim

from .cases import STEPS, TABLE_TRACKERS, add, case
from .tasks import ComplexTask, SparseTask, Task, train, train_by_closure
from .truth import Truth


@dataclass(frozen=True)
class Row:
    """One variant of an optimizer: its arguments, and what it trains."""

    options: dict[str, Any]
    task: Callable[[], Task] = Task
    closure: bool = False


def tensor(value: float) -> torch.Tensor:
    """A learning rate as a tensor, which schedulers update in place."""
    return torch.tensor(value, dtype=torch.float32)


PLAIN = Row({})
ONE_BATCH = partial(Task, one_batch=True)
MATRICES = partial(Task, bias=False)
HALF = partial(Task, dtype=torch.bfloat16)
DOUBLE = partial(Task, dtype=torch.float64)

#: Class name → variant → row.
ROWS: dict[str, dict[str, Row]] = {
    "SGD": {
        "plain": Row({"lr": 0.1}),
        "nesterov": Row({"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        "foreach": Row({"lr": 0.1, "foreach": True}),
        "fused": Row({"lr": 0.1, "fused": True}),
        "tensor lr": Row({"lr": tensor(0.1)}),
        "complex": Row({"lr": 0.1}, ComplexTask),
        "sparse": Row({"lr": 0.1}, SparseTask),
        "bfloat16": Row({"lr": 0.1}, HALF),
        "maximize": Row({"lr": 1e-3, "maximize": True}),
        "closure": Row({"lr": 0.1}, closure=True),
    },
    "Adam": {
        "plain": PLAIN,
        "for loop": Row({"foreach": False}),
        "foreach": Row({"foreach": True}),
        "fused": Row({"fused": True}),
        "tensor lr": Row({"lr": tensor(0.01)}),
        "fused tensor lr": Row({"lr": tensor(0.01), "fused": True}),
        "amsgrad": Row({"amsgrad": True}),
        "complex": Row({}, ComplexTask),
        "float64": Row({}, DOUBLE),
        "closure": Row({}, closure=True),
    },
    "AdamW": {
        "plain": PLAIN,
        "fused": Row({"fused": True}),
        "foreach": Row({"foreach": True, "weight_decay": 0.1}),
    },
    "Adagrad": {"plain": PLAIN, "fused": Row({"fused": True}), "sparse": Row({}, SparseTask)},
    "Adadelta": {"plain": PLAIN, "foreach complex": Row({"foreach": True}, ComplexTask)},
    "Adamax": {"plain": PLAIN, "foreach": Row({"foreach": True})},
    "NAdam": {"plain": PLAIN, "foreach": Row({"foreach": True})},
    "RAdam": {"plain": PLAIN, "tensor lr": Row({"lr": tensor(0.01)})},
    "RMSprop": {"plain": Row({"momentum": 0.9}), "centered": Row({"centered": True})},
    "Rprop": {"plain": PLAIN, "foreach": Row({"foreach": True})},
    "ASGD": {"plain": PLAIN, "foreach": Row({"foreach": True})},
    "Adafactor": {"plain": PLAIN, "foreach": Row({"foreach": True})},
    "Muon": {"plain": Row({}, MATRICES), "nesterov off": Row({"nesterov": False}, MATRICES)},
    "SparseAdam": {"plain": Row({}, SparseTask), "closure": Row({}, SparseTask, closure=True)},
    "LBFGS": {
        "plain": Row({"lr": 0.5}, ONE_BATCH, closure=True),
        "line search": Row({"line_search_fn": "strong_wolfe"}, ONE_BATCH, closure=True),
        "complex": Row({"lr": 0.1, "max_iter": 5}, ComplexTask, closure=True),
    },
}


def known() -> list[str]:
    """Returns the names of all optimizers of this torch."""
    classes = [c for c in vars(optim).values() if isinstance(c, type)]
    return sorted(c.__name__ for c in classes if issubclass(c, optim.Optimizer))


def loop(name: str, row: Row, truth: Truth) -> None:
    """Trains with one optimizer, with a closure where the row asks for one."""
    task = row.task()
    optimizer = getattr(optim, name)(task.model.parameters(), **row.options)
    with truth.track(optimizer), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse invariant checks")  # Adagrad's own
        if not row.closure:
            train(truth, optimizer, task.loss)
            if name == "Adafactor":  # its relative step size
                rates = {at: min(1e-2, 1 / math.sqrt(at + 1)) for at in range(truth.steps)}
                truth.points["lr_effective"] = rates
            return
        evaluations = train_by_closure(truth, optimizer, task.loss)
    if name == "LBFGS":
        assert evaluations > 2 * STEPS


for _name, _variants in ROWS.items():
    if hasattr(optim, _name):  # Muon came with torch 2.9
        for _variant, _row in _variants.items():
            add(f"{_name} {_variant}", partial(loop, _name, _row), trackers=TABLE_TRACKERS)


@case("closure given by its name")
def closure_by_name(truth: Truth) -> None:
    """`step(closure=…)` records the returned loss, which is not the one of backward."""
    task = Task()
    optimizer = optim.SGD(task.model.parameters(), lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = task.loss()
        (3 * loss).backward()
        truth.step(optimizer, loss)
        return loss.item()

    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.step(closure=closure)


@case("closure that returns nothing")
def closure_returns_nothing(truth: Truth) -> None:
    """If the closure returns nothing, the loss is the one of backward."""
    task = Task()
    optimizer = optim.Adam(task.model.parameters())

    def closure() -> None:
        optimizer.zero_grad()
        loss = task.loss()
        loss.backward()
        truth.step(optimizer, loss)

    with truth.track(optimizer):
        for _ in range(STEPS):
            optimizer.step(closure)  # type: ignore[call-overload]


@case("subclass that calls its parent's step")
def subclass(truth: Truth) -> None:
    """A user's subclass has one record a step, although torch runs the hooks twice."""

    class Noisy(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["params"][0].grad.mul_(1.0)
            return super().step(closure)

    task = Task()
    optimizer = Noisy(task.model.parameters(), lr=0.1)
    with truth.track(optimizer):
        train(truth, optimizer, task.loss)


@case("parameters of several types")
def several_types(truth: Truth) -> None:
    """Gradients in float32, float64 and bfloat16 add up to one norm."""
    weights = [
        torch.nn.Parameter(torch.randn(5).to(dtype))
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    ]
    optimizer = optim.SGD(weights, lr=0.01)
    with truth.track(optimizer):
        train(truth, optimizer, lambda: sum((w.double() ** 2).sum() for w in weights))

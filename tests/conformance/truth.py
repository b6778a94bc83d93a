"""The expected values of a loop's steps, computed independently of lrtrack."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

import lrtrack

EXPERIMENT = "conformance"
#: Metrics of the whole run, which belong to no step.
RUN_LEVEL = ("loss_final", "loss_best")


class Truth:
    """One tracked run.

    Attributes:
        name: the run's name in the trackers.
        points: metric name → step → value.
        steps: how many steps were made.
        others: further runs and blocks of the same case.
        told: codes of the diagnoses that the run must have.
        schedule: the label that the run's schedule must have; None: any.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.points: dict[str, dict[int, float]] = {}
        self.steps = 0
        self.others: list[Truth] = []
        self.told: tuple[str, ...] = ()
        self.schedule: str | None = None
        self.prefix = ""
        self._norms = "global"
        self._every = 1
        self._layers: dict[int, str] = {}

    def track(self, optimizer: Any, scheduler: Any = None, **options: Any) -> Any:
        """`lrtrack.track` with the run's name, delivered later; its options decide what is
        expected.
        """
        self._norms = options.get("norms", "global")
        self._every = options.get("every", 1)
        self.prefix = options.get("prefix", "")
        model = options.get("model")
        self._layers = {id(p): name for name, p in model.named_parameters()} if model else {}
        return lrtrack.track(optimizer, scheduler, **{**self.options(), **options})

    def options(self) -> dict[str, Any]:
        """The options by which every run of the suite is found, and delivered later."""
        return {"name": self.name, "experiment": EXPERIMENT, "flush_timeout": 0.0}

    def another(self, suffix: str) -> Truth:
        """Returns the expectations of a second run; call its `track`."""
        other = Truth(f"{self.name} {suffix}")
        self.others.append(other)
        return other

    def roll_back(self, steps: int) -> None:
        """Returns to where `steps` steps were made; what was recorded since is abandoned."""
        self.steps = steps
        for values in self.points.values():
            for step in [step for step in values if step >= steps]:
                del values[step]

    def beside(self) -> Truth:
        """Returns the expectations of another block in the same run, under another prefix."""
        other = Truth(self.name)
        self.others.append(other)
        return other

    def step(self, optimizer: Any, loss: Any = None, scale: float = 1.0, calls: int = 1) -> None:
        """Records the step to come: learning rates, norms, loss.

        Args:
            optimizer: a torch optimizer.
            loss: a number or a one-element tensor.
            scale: by what the gradients will still be divided within the step.
            calls: how many calls of `backward()` the loss is the sum of.
        """
        groups = optimizer.param_groups
        self.put(lr=float(groups[0]["lr"]))
        if len(groups) > 1:
            names = [str(group.get("name", index)) for index, group in enumerate(groups)]
            self.put({f"lr/{n}": float(g["lr"]) for n, g in zip(names, groups, strict=True)})
        self._put_norms(groups, scale)
        if loss is not None:
            self.put(loss=number(loss), **({"loss_count": float(calls)} if calls > 1 else {}))
        self.steps += 1

    def put(self, mapping: dict[str, float] | None = None, **metrics: float) -> None:
        """Records metrics of the step to come; a second value replaces the first."""
        if self.steps % self._every == 0:
            self._put(self.steps, {**(mapping or {}), **metrics})

    def after(self, mapping: dict[str, float] | None = None, **metrics: float) -> None:
        """Records metrics of the step just done, as `run.log` and plateau schedulers do."""
        self._put(max(0, self.steps - 1), {**(mapping or {}), **metrics})

    def _put(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.points.setdefault(self.prefix + name, {})[step] = number(value)

    def _put_norms(self, groups: list[dict[str, Any]], scale: float) -> None:
        if self._norms == "off":
            return
        gradients_of_groups = [
            [p for p in group["params"] if p.grad is not None] for group in groups
        ]
        if any(gradients_of_groups):
            self.put(
                grad_norm=norm(p.grad for gradients in gradients_of_groups for p in gradients)
                / scale
            )
        if self._norms == "group":
            for index, (group, gradients) in enumerate(
                zip(groups, gradients_of_groups, strict=True)
            ):
                if gradients:
                    name = f"grad_norm/{group.get('name', index)}"
                    self.put({name: norm(p.grad for p in gradients) / scale})
        if self._norms == "layer":
            for parameter in (p for gradients in gradients_of_groups for p in gradients):
                name = f"grad_norm/{self._layers[id(parameter)]}"
                self.put({name: norm([parameter.grad]) / scale})


def number(value: Any) -> float:
    """Returns a float, also of a one-element tensor that requires gradients."""
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)


def norm(gradients: Iterable[torch.Tensor]) -> float:
    """Returns the L2 norm over all elements, summed in double precision by Python itself."""
    numbers: list[float] = []
    for gradient in gradients:
        dense = gradient.detach().to_dense() if gradient.layout is not torch.strided else gradient
        flat = torch.view_as_real(dense.detach()) if dense.is_complex() else dense.detach()
        numbers += flat.double().flatten().tolist()
    if not all(map(math.isfinite, numbers)):
        return math.nan if any(map(math.isnan, numbers)) else math.inf
    return math.sqrt(math.fsum(number * number for number in numbers))

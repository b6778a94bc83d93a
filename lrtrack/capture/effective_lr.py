"""The learning rate that a step used, for optimizers that do not just use their groups' `"lr"`.

Such optimizers get the metric `lr_effective`. Those of well-known packages are recognized by what
their param groups hold. Others have a method `effective_lr(group)`, or are registered:

    lrtrack.register_effective_lr(MyOptimizer, lambda optimizer, group: group["lr"] * group["gain"])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from lrtrack.errors import UsageError

#: An optimizer and one of its param groups → a learning rate.
Rate = Callable[[Any, dict[str, Any]], Any]

_registered: dict[type, Rate] = {}


class EffectiveRate:
    """Reads the effective rate of one optimizer's param groups.

    Args:
        after: reads it after a step.
        before: reads what a step changes, before it; its result multiplies that of `after`.
    """

    def __init__(self, after: Rate, before: Rate | None = None) -> None:
        self._after = after
        self._before = before
        self._kept: list[Any] = []

    def begin(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep what the step will change."""
        if self._before is not None:
            groups = optimizer.param_groups
            self._kept = [_number(self._before(optimizer, group)) for group in groups]

    def rates(self, optimizer: torch.optim.Optimizer) -> list[Any]:
        """The rates that the step used, one per param group; None where there is none."""
        rates = [self._after(optimizer, group) for group in optimizer.param_groups]
        if self._before is None:
            return rates
        pairs = zip(self._kept, rates, strict=True)
        return [None if kept is None else kept * _number(rate) for kept, rate in pairs]


def register_effective_lr(optimizer: type, rate: Rate) -> None:
    """Tell lrtrack which learning rate the steps of an optimizer class use.

    Args:
        optimizer: a class of optimizers; it counts for its subclasses, too.
        rate: called after each recorded step with the optimizer and a param group. Returns a
            number, or a tensor with one element.

    Raises:
        UsageError: `optimizer` is no class, or `rate` cannot be called.
    """
    if not isinstance(optimizer, type) or not callable(rate):
        raise UsageError("register_effective_lr() takes a class and a function")
    _registered[optimizer] = rate


def effective_rate(optimizer: torch.optim.Optimizer) -> EffectiveRate | None:
    """Return what reads an optimizer's effective rates; None if it uses those of its groups."""
    for cls in type(optimizer).__mro__:
        if cls in _registered:
            return EffectiveRate(_registered[cls])
    if callable(getattr(type(optimizer), "effective_lr", None)):
        return EffectiveRate(lambda optimizer, group: optimizer.effective_lr(group))
    group = optimizer.param_groups[0] if optimizer.param_groups else {}
    if "scheduled_lr" in group:  # schedulefree, Defazio et al. (2024), with its own warm-up
        return EffectiveRate(lambda _, group: group["scheduled_lr"])
    if "weight_sum" in group and "warmup_steps" in group:  # the same in pytorch-optimizer
        return EffectiveRate(_warmed_up)
    if "d" in group and group.keys() & {"d0", "growth_rate", "k"}:
        return EffectiveRate(_scale, before=_distance)
    if "relative_step" in group or isinstance(optimizer, torch.optim.Adafactor):
        return EffectiveRate(_relative_step)
    bends = hasattr(optimizer, "warm_up_dampening") and hasattr(optimizer, "warm_down")
    if bends and not getattr(optimizer, "disable_lr_scheduler", False):  # Ranger21
        return EffectiveRate(_dampened)
    return None


def _warmed_up(_: Any, group: dict[str, Any]) -> Any:
    return group["lr"] * min(1.0, group["step"] / max(1, group["warmup_steps"]))


def _distance(_: Any, group: dict[str, Any]) -> Any:
    """The estimated distance to the solution times the rate, and Adam's correction of its means.

    D-Adaptation (Defazio and Mishchenko, 2023) and Prodigy (Mishchenko and Defazio, 2023).
    """
    rate = _number(group["d"]) * group["lr"]
    if not (group.get("use_bias_correction") or group.get("bias_correction")):
        return rate
    beta1, beta2 = group["betas"][:2]
    # the packages count from 0 under the name `k`; pytorch-optimizer's Prodigy counts from 1
    count = group["k"] + 1 if "k" in group else group["step"] + ("d_max" not in group)
    return rate * math.sqrt(1 - beta2**count) / (1 - beta1**count)


def _scale(_: Any, group: dict[str, Any]) -> Any:
    """D-Adaptation's SGD divides by the norm of the first gradient."""
    return 1.0 / _number(group["g0_norm"]) if "g0_norm" in group else 1.0


def _relative_step(optimizer: Any, group: dict[str, Any]) -> Any:
    """The relative step size of Adafactor (Shazeer and Stern, 2018), before parameters' scales."""
    if not group.get("relative_step", True):
        return group["lr"]
    states = (optimizer.state.get(parameter, {}) for parameter in group["params"])
    counts = [group.get("step"), *(state.get("step") for state in states)]
    count = next((count for count in counts if count is not None), None)
    if count is None:  # no parameter of the group has had a gradient
        return None
    count = _number(count)
    if "relative_step" not in group:  # torch's, in which `lr` bounds it
        return min(_number(group["lr"]), 1.0 / math.sqrt(count))
    bound = 1e-6 * count if group.get("warmup_init") else 1e-2
    return min(bound, 1.0 / math.sqrt(count))


def _dampened(optimizer: Any, group: dict[str, Any]) -> Any:
    # The optimizer's methods write to their object, so they are called on a stand-in.
    stand_in = SimpleNamespace(**vars(optimizer))
    rises: Callable[..., Any] = type(optimizer).warm_up_dampening
    falls: Callable[..., Any] = type(optimizer).warm_down
    rate, step = group["lr"], group["step"]
    return falls(stand_in, rises(stand_in, rate, step), step)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value

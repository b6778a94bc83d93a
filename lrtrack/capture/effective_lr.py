"""The learning rate that a step really used, where an optimizer bends its group's `"lr"` itself.

Such optimizers are known by what they carry; for all others the group's `"lr"` is what is used.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

#: A param group, after a step → the learning rate that the step used for it.
Rate = Callable[[dict[str, Any]], Any]


def own_rate(optimizer: torch.optim.Optimizer) -> Rate | None:
    """How to read the learning rates that `optimizer` makes of its groups'; None where it does not.

    Schedule-free optimizers warm up inside their steps: Meta's write down what they used, those of
    pytorch-optimizer do not. Ranger21 has a warm-up and a warm-down of its own.
    """
    group = optimizer.param_groups[0] if optimizer.param_groups else {}
    if "scheduled_lr" in group:
        return lambda group: group["scheduled_lr"]
    if "weight_sum" in group and "warmup_steps" in group:
        return lambda group: group["lr"] * min(1.0, group["step"] / max(1, group["warmup_steps"]))
    bends = hasattr(optimizer, "warm_up_dampening") and hasattr(optimizer, "warm_down")
    if bends and not getattr(optimizer, "disable_lr_scheduler", False):
        return lambda group: _dampened(optimizer, group["lr"], group["step"])
    return None


def _dampened(optimizer: Any, rate: Any, step: int) -> Any:
    # The optimizer's methods take notes on their object: on a stand-in, here.
    stand_in = SimpleNamespace(**vars(optimizer))
    rises: Callable[..., Any] = type(optimizer).warm_up_dampening
    falls: Callable[..., Any] = type(optimizer).warm_down
    return falls(stand_in, rises(stand_in, rate, step), step)


def given_rate(group: dict[str, Any]) -> Any:
    """The learning rate that a param group has."""
    return group["lr"]

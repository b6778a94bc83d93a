"""The learning rate that a step used, for optimizers that change their groups' `"lr"` themselves.

Such optimizers are recognized by their attributes. All others use the group's `"lr"`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

#: A param group, after a step → the learning rate that the step used for it.
Rate = Callable[[dict[str, Any]], Any]


def own_rate(optimizer: torch.optim.Optimizer) -> Rate | None:
    """Return a function that reads the rates `optimizer` computes itself; None if it computes none.

    Schedule-free optimizers warm up inside their steps. Meta's store the rate that they used; those
    of pytorch-optimizer do not. Ranger21 has its own warm-up and warm-down.
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
    # The optimizer's methods write to their object, so they are called on a stand-in.
    stand_in = SimpleNamespace(**vars(optimizer))
    rises: Callable[..., Any] = type(optimizer).warm_up_dampening
    falls: Callable[..., Any] = type(optimizer).warm_down
    return falls(stand_in, rises(stand_in, rate, step), step)


def given_rate(group: dict[str, Any]) -> Any:
    """Return a param group's learning rate."""
    return group["lr"]

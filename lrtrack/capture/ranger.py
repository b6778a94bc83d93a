"""The Ranger optimizer, from pytorch-optimizer."""

from __future__ import annotations

from typing import Any

import torch

from lrtrack._optional import load


def ranger(params: Any, lr: float = 1e-3, **options: Any) -> torch.optim.Optimizer:
    """Ranger: rectified Adam inside Lookahead, with gradient centralization.

    Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020); Zhang et al.,
    "Lookahead Optimizer" (2019); Yong et al., "Gradient Centralization" (2020). Its usual schedule
    is a constant rate followed by a cosine:
    `lrtrack.scheduler(opt, "flat_cosine", total_steps=…)`.

    Args:
        params: parameters or param groups, as for any optimizer.
        lr: the learning rate.
        **options: further arguments of `pytorch_optimizer.Ranger`.

    Raises:
        UsageError: pytorch-optimizer is not installed; the message says how to install it.
    """
    package: Any = load("pytorch_optimizer", extra="ranger")
    optimizer: torch.optim.Optimizer = package.Ranger(params, lr=lr, **options)
    return optimizer
